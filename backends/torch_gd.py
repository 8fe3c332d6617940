"""The PyTorch embedding model on any device by full-batch momentum descent.

The device is an argument. The gradient of J is that of `_engine.torch_products`, which on a device
with sparse products never makes a row per rating. The numbers of the safeguard stay on the device:
the host reads one number per call of `step`, however many epochs that is, and where the device can,
an epoch is recorded once and launched as a whole (`_engine.graphs`).
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, get_args

import torch
from torch import Tensor

from backends._engine.embedding import (
    EmbeddingModel,
    ProductKind,
    column,
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
from backends._engine.torch_tables import SIDES, RowRanges, Tables, weighted_sum, widest

from ._validation import check_choice
from .momentum_gd import Course, DescentState, MomentumGD, Rates
from .objective import Parameters
from .ratings import Ratings

# As `momentum_gd._RISE`, for a device without float64: above the rounding errors of sums of sums.
_RISE_IN_FLOAT32 = 1e-5


@dataclass(kw_only=True)
class TorchDescent(DescentState):
    """Tables on the device.

    Attributes
    ----------
    model
        Has the current point.
    weight
        n_row, shape (n_users + n_items, 1).
    gradient
        Of the current point; ``trial_gradient`` is that of the trial point.
    squares
        |row|^2 of the factors at the current point and at the trial point, shape (n_rows, 1).
    processes
        With which processes the ratings are shared.
    """

    model: EmbeddingModel
    products: Products
    objective: Gradient
    rows: RowRanges
    weight: Tensor
    trial: Tables
    gradient: Tables
    trial_gradient: Tables
    velocity: Tables
    squares: list[Tensor]
    processes: Processes
    recorder: Recorder

    def where(self, condition: Any, yes: Any, no: Any) -> Any:
        """Return ``yes`` where a tensor holds, else ``no``, without asking what it is."""
        return torch.where(condition, self.number(yes), self.number(no))

    def number(self, value: Any) -> Tensor:
        """Return a number as a tensor of shape (), in the `widest` type."""
        if isinstance(value, Tensor):
            return value
        device = self.weight.device
        return torch.full((), value, dtype=widest(device), device=device)

    def sweep(self, at_trial: bool) -> tuple[Tensor, Tensor]:
        """Compute residuals, gradient, squared error and penalty at a point."""
        x = self.trial if at_trial else self.model.tables
        gradient = self.trial_gradient if at_trial else self.gradient
        squares = self.squares[at_trial]
        squared_error = self.objective.sums(x, self.products, gradient)
        squared_error = self.processes.added_up(gradient, squared_error)

        def work(rows: slice) -> None:
            self.objective.add_penalties(x, gradient, rows)
            torch.linalg.vector_norm(x.factors[rows], dim=1, keepdim=True, out=squares[rows])
            squares[rows].square_()

        self.rows.run(work)
        penalties = self.objective.penalties
        penalty = weighted_sum(penalties.of_factors, squares)
        for side in SIDES if self.bias else ():
            penalty = penalty + weighted_sum(penalties.biases(side), x.biases(side).square())
        return squared_error, penalty

    def curvature(self) -> tuple[Tensor, Tensor]:
        """Return the weighted means of |q_i|^2 and |p_u|^2 at the current point."""
        user, item = (
            weighted_sum(self.weight[places], self.squares[0][places]) / self.n
            for places in map(self.model.tables.places, SIDES)
        )
        return item, user

    def move(self, rates: Rates, momentum: Tensor, gradient_weight: Tensor) -> None:
        """Step to the trial point; see the base class."""
        x, velocity, trial = self.model.tables, self.velocity, self.trial
        penalties, factor_rates = self.objective.penalties, torch.empty_like(self.weight)
        for side in SIDES:
            places = x.places(side)
            rate = rates.of_factors(side, self.weight[places], penalties.of_factors[places])
            factor_rates[places] = rate
        momentum, gradient_weight = (
            number.to(factor_rates.dtype) for number in (momentum, gradient_weight)
        )

        def work(rows: slice) -> None:
            v = velocity.rows[rows].mul_(momentum)
            v.addcmul_(self.gradient.rows[rows], gradient_weight)
            torch.addcmul(x.rows[rows], factor_rates[rows], v, value=-1.0, out=trial.rows[rows])

        self.rows.run(work)
        # Over what was just written there: biases have rates of their own.
        for side in SIDES if self.bias else ():
            rate = rates.of_biases(self.weight[x.places(side)][:, 0], penalties.biases(side))
            torch.addcmul(
                x.biases(side), rate, velocity.biases(side), value=-1.0, out=trial.biases(side)
            )

    def accept(self, fell: Any) -> None:
        """Copy the trial point and its gradient to the current ones where J fell."""
        pairs = [
            (self.model.tables.rows, self.trial.rows),
            (self.gradient.rows, self.trial_gradient.rows),
            tuple(self.squares),
        ]

        def work(rows: slice) -> None:
            for now, trial in pairs:
                if fell is True:  # without a safeguard
                    now[rows].copy_(trial[rows])
                else:
                    torch.where(fell, trial[rows], now[rows], out=now[rows])

        self.rows.run(work)


@dataclass(kw_only=True, eq=False)
class TorchGD(MomentumGD):
    """Momentum gradient descent on embedding tables; see `MomentumGD` for the other parameters.

    Parameters
    ----------
    device
        The torch device to compute on, such as "cpu".
    products
        How the sums over ratings are computed: "fused", by kernels in Triton; "sparse", by sparse
        matrix products; "gather", from gathered rows; or "auto": "fused" on a device that Triton
        compiles for; otherwise "sparse" if the device has sparse products and no pair is rated
        twice; otherwise "gather".
    sharded
        Whether the ratings are shared among the processes of the default group of
        ``torch.distributed``, of which each must call ``fit`` with the same arguments; see
        `backends.torch_distributed`.
    """

    device: str = "cpu"
    products: ProductKind = "auto"
    sharded: bool = False

    def check_params(self) -> None:
        """Check the hyper-parameters; see the base class."""
        super().check_params()
        check_choice("products", self.products, get_args(ProductKind))
        Processes.check(self.sharded)

    def prepare(self, train: Ratings, initial: Parameters, *, seed: int) -> TorchDescent:
        """Copy the ratings and the model to the device, in the form that the products need."""
        device, threads = torch.device(self.device), Threads(self.n_threads)
        processes = Processes.of(self.sharded)
        options = self.descent_options(train)
        sides = options["users"], options["items"]
        penalties = [(rows.penalty, rows.bias_penalty) for rows in sides]
        with torch.no_grad():
            model = EmbeddingModel(initial, device)
            tables = model.tables
            with processes.together(tables.rows):
                [products] = make_products(
                    self.products,
                    train,
                    model,
                    1,
                    seed,
                    threads,
                    shard=processes.shard,
                )
            weight = torch.cat([column(rows.weight, tables.rows) for rows in sides])
            state = TorchDescent(
                model=model,
                products=products,
                objective=make_gradient(model, options["n"], 1, penalties, self.bias),
                rows=RowRanges(tables, threads),
                weight=weight,
                trial=tables.clone(),
                gradient=tables.zeros(),
                trial_gradient=tables.zeros(),
                velocity=tables.zeros(),
                squares=[torch.zeros_like(weight), torch.zeros_like(weight)],
                processes=processes,
                recorder=Recorder(Graphs(device, enabled=processes.shard is None)),
                facts={"products": kind_of(products)},
                **options,
            )
            state.course = Course(*map(state.number, state.course))
        if widest(device) == torch.float32:
            state.rise = _RISE_IN_FLOAT32
        return state

    def step(self, state: DescentState, n_epochs: int) -> float:
        """Make ``n_epochs`` iterations; return the training MSE at the point reached."""
        assert isinstance(state, TorchDescent)
        with torch.no_grad():
            for _ in range(n_epochs):
                epochs = state.epochs
                # The first one computes the gradient at the initial point too.
                if epochs:
                    state.recorder.run(lambda: self._iterate_in_place(state))
                else:
                    self._iterate_in_place(state)
                state.epochs = epochs + 1
        return float(state.course.train_mse)

    def synchronize(self, state: TorchDescent) -> None:
        """Wait until the device has finished all work it was given."""
        synchronize(self.device)

    def parameters(self, state: TorchDescent) -> Parameters:
        """Return a copy of the current point on the host."""
        return state.model.parameters_of(state.model.tables)

    def threads(self) -> AbstractContextManager[None]:
        """Limit torch to one thread, since the fit has threads of its own, and pick the device."""
        return fit_threads(device=self.device)

    def _iterate_in_place(self, state: TorchDescent) -> None:
        """Make one iteration, whose numbers stay where they are in memory."""
        course = state.course
        try:
            self._iterate(state)
            for number, value in zip(course, state.course, strict=True):
                number.copy_(value)
        finally:
            state.course = course
