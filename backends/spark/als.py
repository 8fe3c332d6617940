"""Alternating least squares on a Spark cluster: the half-epochs of `numba_als`, in Spark's tasks.

The ratings are packed once, by user and by item, into records that Spark keeps (see `tasks`). In a
half-epoch the other side's rows are broadcast, each task solves for the rows of its part, and the
driver gathers what they found. The parts depend on nothing but the ratings and what is broadcast,
so Spark can run a task again wherever an executor is lost.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from zipfile import BadZipFile

import numpy as np

from backends._arrays import Float
from backends._files import written_whole
from backends._validation import check_count
from backends.alternating import AlternatingLeastSquares
from backends.factorizer import Factorizer, State
from backends.model import FactorModel
from backends.objective import Parameters, rating_unit
from backends.ratings import Ratings

from . import tasks
from .on_cluster import (
    RatingsOnCluster,
    Side,
    broadcast_blocks,
    damped_biases_on,
    fingerprint_of,
    frame_of,
    packed_side,
    shared,
)
from .session import destroyed, run_job
from .solver import SparkSolver

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_BLOCK_BYTES = 2**28  # of the other side's rows, that a task holds at a time beside its own


@dataclass
class Rows:
    """One side of a model on the driver, in units; see `Parameters.in_units`."""

    factors: Float  # shape (n_rows, rank)
    bias: Float  # shape (n_rows,)


@dataclass(kw_only=True)
class SparkState(State):
    """The packed ratings of both sides, and the model of the last whole epoch."""

    session: SparkSession
    sides: tuple[Side, Side]
    mean: float
    unit: float
    n_ratings: int
    done: tuple[Rows, Rows]
    checkpoint: Path | None


@dataclass(kw_only=True, eq=False)
class SparkALS(AlternatingLeastSquares, SparkSolver):
    """Alternating least squares on a Spark cluster; an epoch updates both sides.

    It solves for every row exactly, as `numba-als` does, in the executors' Python processes. The
    driver holds the model up to four times, and the executors 12 bytes per rating and side in
    float32.

    ``fit`` takes `Ratings`, or the path of a Parquet file that all executors can read. Then no
    rating comes to the driver, and rows are numbered by ascending id; a model of such a fit does
    not know which items a user has rated.

    Parameters
    ----------
    parts
        Into how many parts the rows of each side are cut; None for two for each task that can run
        at once, or more so that none has over four million ratings.
    checkpoint
        Folder on the driver for the model after each epoch. If the driver is killed, the same fit
        goes on from there. The file is removed at the end of a fit.
    """

    parts: int | None = None
    checkpoint: str | None = None

    def check_params(self) -> None:
        """Check the hyper-parameters; see the base class."""
        super().check_params()
        check_count("parts", self.parts, optional=True)

    def fit(
        self,
        train: Ratings | str | os.PathLike[str],
        validation: Ratings | float | None = None,
        **options: Any,
    ) -> Self:
        """Fit ``model_`` to ratings, or to the Parquet file of a path; see the base class.

        Raises
        ------
        ValueError
            Also for a checkpoint where the best of all epochs is kept, which it does not hold.
        """
        if self.checkpoint is None:
            return super().fit(train, validation, **options)
        if validation is not None and options.get("keep", "best") == "best":
            raise ValueError(
                'keep must be "last" with a checkpoint and validation ratings, since the '
                "checkpoint holds the last epoch and not the best"
            )
        start = options.get("initial")
        given = start.parameters if isinstance(start, FactorModel) else start
        arrays = given.arrays().values() if isinstance(given, Parameters) else ()
        digest = hashlib.blake2b(digest_size=16)
        for array in arrays:
            digest.update(np.ascontiguousarray(array).data)
        self._same_fit = (options.get("epochs") or self.epochs, digest.hexdigest())
        super().fit(train, validation, **options)
        if self.status_ != "interrupted":
            self._checkpoint_file.unlink(missing_ok=True)
        return self

    def initial_parameters(self, train: Ratings, seed: int = 0) -> Parameters:
        """Return the parameters that ``fit(train, seed=seed)`` starts from; see the base class."""
        if self.bias != "fixed" or not isinstance(train, RatingsOnCluster):
            return super().initial_parameters(train, seed)
        start = Factorizer.initial_parameters(self, train, seed)
        session, mean = self._session(), train.summary.mean
        users, items = self._sides(session, train, mean, rating_unit(train, mean))
        b, c = damped_biases_on(session, users, items, float(np.sqrt(train.summary.variance)))
        start.user_bias, start.item_bias = b.astype(self.dtype), c.astype(self.dtype)
        return start

    def prepare(self, train: Ratings, initial: Parameters, *, seed: int) -> SparkState:
        """Pack the ratings by user and by item on the executors."""
        session = self._session()
        unit = rating_unit(train, initial.mean)
        sides = self._sides(session, train, initial.mean, unit)
        start = initial.in_units(unit)
        state = SparkState(
            session=session,
            sides=sides,
            row_weights=(sides[0].weights, sides[1].weights),
            mean=initial.mean,
            unit=unit,
            n_ratings=len(train),
            done=(
                Rows(start.user_factors, start.user_bias),
                Rows(start.item_factors, start.item_bias),
            ),
            checkpoint=None,
        )
        if self.checkpoint is not None:
            settings = {**self.get_params(), "seed": seed, "fit": self._same_fit}
            for name in ("master", "conf", "parts", "checkpoint", "columns", "n_jobs", "epochs"):
                del settings[name]
            words = repr(sorted(settings.items())) + fingerprint_of(train)
            name = hashlib.blake2b(words.encode(), digest_size=16).hexdigest()
            self._checkpoint_file = Path(self.checkpoint) / f"spark-als-{name}.npz"
            state.checkpoint = self._checkpoint_file
            load_checkpoint(state)
        return state

    def step(self, state: SparkState, n_epochs: int) -> float:
        """Alternate ``n_epochs`` times; return the training MSE after the last."""
        squared_error = 0.0
        for _ in range(n_epochs):
            users, _ = self._half(state, 0, state.done[1], with_errors=False)
            items, squared_error = self._half(state, 1, users, with_errors=True)
            # Only now does the epoch take effect: a Ctrl-C before leaves the last whole one.
            state.done = users, items
            state.epochs += 1
            if state.checkpoint is not None:
                save_checkpoint(state)
        return squared_error * state.unit * state.unit / state.n_ratings

    def parameters(self, state: SparkState) -> Parameters:
        """Return a copy of the last whole epoch's parameters, in rating units."""
        users, items = state.done
        in_units = Parameters(state.mean, users.bias, items.bias, users.factors, items.factors)
        return in_units.from_units(state.unit)

    def _sides(
        self, session: SparkSession, train: Ratings, mean: float, unit: float
    ) -> tuple[Side, Side]:
        """Return the ratings packed by user, and packed by item."""
        pack = partial(
            packed_side,
            session,
            frame_of(session, train),
            train,
            n_parts=self.parts,
            dtype=self.dtype,
            mean=mean,
            unit=unit,
            objective=self.objective,
        )
        return pack("user"), pack("item")

    def _half(
        self, state: SparkState, which: int, opposites: Rows, *, with_errors: bool
    ) -> tuple[Rows, float]:
        """Return one side solved for with the other fixed, and the weighted squared error."""
        side, before, session = state.sides[which], state.done[which], state.session
        solving = tasks.Solving(
            rank=self.rank,
            n_rows=side.packing.n_rows,
            n_parts=side.packing.n_parts,
            dtype=self.dtype,
            solves_for_biases=self.solves_for_biases,
            fixed_bias=self.bias == "fixed",
            with_errors=with_errors,
        )
        blocks = broadcast_blocks(session, opposites.factors, opposites.bias, _BLOCK_BYTES)
        own_bias = shared(session, before.bias) if solving.fixed_bias else None
        with destroyed(*blocks, *([own_bias] if own_bias else [])):
            task = partial(tasks.solve, solving=solving, blocks=blocks, own_bias=own_bias)
            solved = side.packed.mapInArrow(task, tasks.SOLVED)
            role = side.packing.side
            found = run_job(session, f"solving for the {role}s", solved.toArrow)
        rows, error = Rows(before.factors.copy(), before.bias.copy()), 0.0
        for batch in found.to_batches():
            for record in batch.to_pylist():
                factors = np.frombuffer(record["factors"], self.dtype).reshape(-1, self.rank)
                side.gather(rows.factors, record["part"], factors)
                side.gather(rows.bias, record["part"], np.frombuffer(record["bias"], self.dtype))
                error += record["squared_error"]
        return rows, error


def save_checkpoint(state: SparkState) -> None:
    """Write the epoch and the rows of a state; the file appears whole or not at all."""
    assert state.checkpoint is not None
    state.checkpoint.parent.mkdir(parents=True, exist_ok=True)
    users, items = state.done
    with written_whole(state.checkpoint) as file:
        np.savez(
            file,
            epochs=np.int64(state.epochs),
            user_factors=users.factors,
            user_bias=users.bias,
            item_factors=items.factors,
            item_bias=items.bias,
        )


def load_checkpoint(state: SparkState) -> None:
    """Go on from the file of a fit that was cut off, if there is one.

    Warns
    -----
    RuntimeWarning
        If the file is damaged; the fit starts from the beginning then.
    """
    assert state.checkpoint is not None
    if not state.checkpoint.exists():
        return
    try:
        with np.load(state.checkpoint, allow_pickle=False) as stored:
            users = Rows(stored["user_factors"], stored["user_bias"])
            items = Rows(stored["item_factors"], stored["item_bias"])
            epochs = int(stored["epochs"])
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        warnings.warn(
            f"the checkpoint {state.checkpoint} cannot be read ({error}); the fit starts from the "
            "beginning",
            RuntimeWarning,
            stacklevel=4,
        )
        return
    state.epochs, state.done = epochs, (users, items)
