"""The PyTorch embedding model on any device by mini-batch Adam.

The device is an argument. The gradient of a batch is that of `_engine.torch_products`, which on a
device with sparse products never makes a row per rating.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, get_args

import numpy as np
import torch
from torch import Tensor

from backends._engine.adam import adam_step, has_fused_step
from backends._engine.embedding import (
    EmbeddingModel,
    ProductKind,
    fit_threads,
    kind_of,
    make_gradient,
    make_products,
    synchronize,
)
from backends._engine.graphs import Graphs, Recorder
from backends._engine.processes import Processes
from backends._engine.threads import Threads
from backends._engine.torch_products import Gradient, Products
from backends._engine.torch_tables import RowRanges, Tables, widest

from ._validation import check_choice, check_count, check_fits, check_number
from .factorizer import Factorizer, State
from .objective import Parameters, rating_unit
from .ratings import Ratings


@dataclass(kw_only=True)
class AdamState(State):
    """The model in training, and its tables after the last whole epoch.

    Attributes
    ----------
    batches
        Each with what records its step.
    gradient, first, second
        The gradient of a batch, and the running means of it and of its square.
    learning_rate, n_steps
        Of the epoch, and number of steps so far; shape (), float32, as torch's fused step wants.
    fused
        Whether torch makes the step in one pass.
    squared_error
        Of the batches of an epoch so far, in the `widest` type; shape ().
    rng
        Draws the order of the batches.
    done
        The tables of the last whole epoch.
    """

    model: EmbeddingModel
    objective: Gradient
    batches: list[tuple[Products, Recorder]]
    rows: RowRanges
    gradient: Tables
    first: Tables
    second: Tables
    learning_rate: Tensor
    n_steps: Tensor
    fused: bool
    squared_error: Tensor
    rng: np.random.Generator
    processes: Processes
    done: Tables


@dataclass(kw_only=True, eq=False)
class TorchAdam(Factorizer):
    """Adam (Kingma and Ba 2015) on J, by mini-batches.

    The ratings are dealt into batches once per fit, and the order of the batches is drawn in each
    epoch; both depend on the seed of ``fit``. In the gradient of a batch its ratings stand for all:
    the sum over them is multiplied by the number of batches, and the penalty counts in full. So the
    mean over the batches is the gradient of J, even if they differ in weight. Every row moves in
    every step, by its penalty and by Adam's running means, whether or not the batch has ratings of
    it. The learning rate falls with the square root of the epoch, as in the paper's analysis: with
    a constant one the parameters keep fluctuating around a minimum of J.

    Parameters
    ----------
    learning_rate
        In units of the ratings, so that it is independent of their scale: in a step of the first
        epoch a bias moves by up to about learning_rate * unit, and a factor by learning_rate *
        sqrt(unit), where the unit is the root mean square of r - m.
    batch_size
        Ratings in a mini-batch, at most. None for four times the number of users and items, so that
        moving all rows takes less time than the products of the batch, but no fewer than 16
        batches. Each batch takes 4 bytes per row beside its ratings, and about a millisecond to
        prepare, so many small ones take much memory and time.
    device
        The torch device to compute on, such as "cpu".
    products
        How the sums over ratings are computed: "fused", by kernels in Triton; "sparse", by sparse
        matrix products; "gather", from gathered rows; or "auto": "fused" on a device that Triton
        compiles for; otherwise "sparse" if the device has sparse products and no pair is rated
        twice; otherwise "gather". Sparse products sort the ratings before they are dealt, the
        others do not, so their batches differ.
    sharded
        Whether the ratings are shared among the processes of the default group of
        ``torch.distributed``, of which each must call ``fit`` with the same arguments; see
        `backends.torch_distributed`.
    """

    patience: ClassVar[int] = 30  # as for `MomentumGD`, since it starts as slowly
    search_space: ClassVar[dict[str, tuple[float, float]]] = {
        **Factorizer.search_space,
        "learning_rate": (0.02, 0.2),
    }

    epochs: int = 100
    learning_rate: float = 0.06  # chosen together with the batch size
    batch_size: int | None = None
    device: str = "cpu"
    products: ProductKind = "auto"
    sharded: bool = False

    def check_params(self) -> None:
        """Check the hyper-parameters; see the base class."""
        super().check_params()
        check_number("learning_rate", self.learning_rate, positive=True)
        check_fits("learning_rate", self.learning_rate, self.dtype)
        check_choice("products", self.products, get_args(ProductKind))
        check_count("batch_size", self.batch_size, optional=True)
        Processes.check(self.sharded)

    def prepare(self, train: Ratings, initial: Parameters, *, seed: int) -> AdamState:
        """Deal the ratings into batches, and copy them and the model to the device."""
        n, unit = len(train), rating_unit(train, initial.mean)
        device, threads = torch.device(self.device), Threads(self.n_threads)
        processes = Processes.of(self.sharded)
        size = self.batch_size or min(4 * (train.n_users + train.n_items), -(-n // 16))
        # Each process must have a rating in every batch.
        n_batches = min(-(-n // size), n // processes.n)
        row_weights = train.user_weights(), train.item_weights()
        sides = self.objective.penalties_of(train, *row_weights)
        penalties = []
        for rows, weights in zip(sides, row_weights, strict=True):
            limited = rows.limited(weights, unit, self.dtype)
            penalties.append((limited.factors / unit, limited.biases))
        with torch.no_grad():
            model = EmbeddingModel(initial, device, unit)
            tables = model.tables
            with processes.together(tables.rows):
                batches = make_products(
                    self.products,
                    train,
                    model,
                    n_batches,
                    seed,
                    threads,
                    shard=processes.shard,
                )
            graphs = Graphs(device, len(batches), enabled=processes.shard is None)
            numbers = torch.zeros(2, dtype=torch.float32, device=device)
            return AdamState(
                row_weights=row_weights,
                model=model,
                objective=make_gradient(
                    model, train.summary.weight, len(batches), penalties, self.bias
                ),
                batches=[(batch, Recorder(graphs)) for batch in batches],
                rows=RowRanges(tables, threads),
                gradient=tables.zeros(),
                first=tables.zeros(),
                second=tables.zeros(),
                learning_rate=numbers[0],
                n_steps=numbers[1],
                fused=has_fused_step(tables.rows),
                squared_error=torch.zeros((), dtype=widest(device), device=device),
                # Another stream than that of the initial model, which is drawn from the seed alone.
                rng=np.random.default_rng([seed, 1]),
                processes=processes,
                done=tables.clone(),
                facts={"products": kind_of(batches[0])},
            )

    def step(self, state: AdamState, n_epochs: int) -> float:
        """Train ``n_epochs`` epochs; return the MSE over the last, each batch before its step."""
        with torch.no_grad():
            for _ in range(n_epochs):
                self._epoch(state)
        unit = state.model.unit
        return float(state.squared_error) * unit * unit / state.objective.n

    def synchronize(self, state: AdamState) -> None:
        """Wait until the device has finished all work it was given."""
        synchronize(self.device)

    def parameters(self, state: AdamState) -> Parameters:
        """Return a copy of the last whole epoch's parameters on the host."""
        return state.model.parameters_of(state.done)

    def threads(self) -> AbstractContextManager[None]:
        """Limit torch to one thread, since the fit has threads of its own, and pick the device."""
        return fit_threads(device=self.device)

    def _epoch(self, state: AdamState) -> None:
        """Take a step for each batch, in random order."""
        rate = self.learning_rate / math.sqrt(state.epochs + 1)
        state.squared_error.zero_()
        state.learning_rate.fill_(rate)
        for number in state.rng.permutation(len(state.batches)):
            state.n_steps.add_(1)
            batch, recorder = state.batches[number]
            recorder.run(partial(self._move, state, batch))
        # Only now does the epoch take effect: a Ctrl-C before leaves `done` as it was.
        state.done.rows.copy_(state.model.tables.rows)
        state.epochs += 1

    def _move(self, state: AdamState, batch: Products) -> None:
        """Take the step for a batch."""
        tables, gradient = state.model.tables, state.gradient
        squared_error = state.objective.sums(tables, batch, gradient)
        state.squared_error.add_(state.processes.added_up(gradient, squared_error))
        moving = tables.rows, gradient.rows, state.first.rows, state.second.rows

        def work(rows: slice) -> None:
            # What is no parameter has a gradient of zero: its running means stay zero.
            state.objective.add_penalties(tables, gradient, rows)
            parts = [table[rows] for table in moving]
            adam_step(parts, state.n_steps, state.learning_rate, fused=state.fused)

        state.rows.run(work)
