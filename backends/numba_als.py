"""Alternating least squares in numba, row by row.

The rows of a side do not depend on each other, so the threads share them, and the result does not
depend on the number of threads. See `kernels.als` for what happens in a row, and `kernels.als_cg`
for conjugate gradients. Rows that look singular are solved for in float64, and by
`_engine.least_squares` if they are.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from backends._engine.interrupt import checkpoint
from backends._engine.least_squares import Equations, pivot_tolerance, rounding_error
from backends._engine.sorting import (
    Blocks,
    balanced_bounds,
    blocked,
    counted,
    row_weights,
    transposed,
)
from backends._engine.threads import WORK_PER_CALL, Threads, one_blas_thread
from backends.kernels.als import (
    CHUNK,
    TILE_ROWS,
    Rule,
    Workspace,
    add_ratings,
    solve_row,
    solve_rows,
    squared_error,
)
from backends.kernels.als_cg import improve_rows
from backends.kernels.layout import (
    LINE,
    LOOK_AHEAD,
    aligned_zeros,
    padded_table,
    ratings_dtype,
)

from ._arrays import Float
from ._validation import check_choice, check_count
from .alternating import AlternatingLeastSquares, penalties_in_units
from .factorizer import State
from .objective import Parameters, Penalties, rating_unit
from .ratings import Ratings

# Pieces of work per thread in a half-epoch, at least: the last to end keeps the others waiting.
_PIECES_PER_THREAD = 16

# What a row costs beside its multiply-adds, in multiply-adds: mostly divisions, one after another.
_ROW_COST = 20_000
_CG_ROW_COST = 2_000


@dataclass
class Table:
    """One side of a model, in units: see `AlternatingState`."""

    factors: Float  # shape (n_rows, padded rank)
    bias: Float  # shape (n_rows,)


@dataclass
class Side:
    """The ratings by row of one side, and what its rows' equations take.

    Attributes
    ----------
    ratings
        In a single cell.
    penalty, bias_penalty
        Of each row, shape (n_rows,), in units.
    pieces
        Ranges of rows, each about as much work as any other and at most `WORK_PER_CALL`.
    long_rows
        Rows that are more work than that; they are in none of the pieces.
    """

    ratings: Blocks
    penalty: Float
    bias_penalty: Float
    pieces: list[tuple[int, int]]
    long_rows: list[int]

    def arguments(self, opposites: Table) -> tuple[Any, ...]:
        """Return what kernels take of this side and of the other one."""
        return (
            self.ratings.ends[0],
            self.ratings.ratings,
            (opposites.factors, opposites.bias),
            self.penalty,
            self.bias_penalty,
        )


@dataclass(kw_only=True)
class AlternatingState(State):
    """The ratings by user and by item, and two sets of tables, each for (users, items).

    Ratings and biases are in units of ``unit``, and factors in units of its square root, so that
    nothing overflows whatever the rating scale is. Weights are in units of their mean.
    """

    threads: Threads
    workspaces: list[Workspace]  # one per thread
    rule: Rule
    mean: float
    unit: float
    sides: tuple[Side, Side]
    done: tuple[Table, Table]  # of the last whole epoch
    working: tuple[Table, Table]  # in which the next one is computed


@dataclass(kw_only=True, eq=False)
class NumbaALS(AlternatingLeastSquares):
    """Alternating least squares in numba kernels; an epoch updates both sides.

    An epoch takes rank^2 multiply-adds per rating and rank^3 / 6 per row, or with conjugate
    gradients about 4 rank (cg_steps + 2) per rating. Memory, beside the factors, which are held
    three times and by ``fit`` itself: 20 bytes per rating in float32 while ratings are sorted and
    16 afterwards; weights add 8 bytes while they are sorted and 8 afterwards. Where rows look
    singular in float32, float64 copies of theirs and of the other side's factors.

    Parameters
    ----------
    method
        "cholesky": each row is solved for exactly. "cg": a few steps of conjugate gradients from
        the row's last solution, which with many factors is faster.
    cg_steps
        Steps of conjugate gradients per row and half-epoch.
    """

    method: Literal["cholesky", "cg"] = "cholesky"
    cg_steps: int = 3

    def check_params(self) -> None:
        """Check the hyper-parameters; see the base class."""
        super().check_params()
        check_choice("method", self.method, ("cholesky", "cg"))
        check_count("cg_steps", self.cg_steps)

    def prepare(self, train: Ratings, initial: Parameters, *, seed: int) -> AlternatingState:
        """Sort the ratings by user and by item."""
        threads = Threads(self.n_threads)
        unit = rating_unit(train, initial.mean)
        weight_unit = train.summary.weight / len(train)
        users, items = counted(threads, (train.users, train.n_users), (train.items, train.n_items))
        weights = row_weights(train, users, items)
        by_user = blocked(
            threads,
            users,
            items,
            train,
            self.dtype,
            initial.mean,
            unit=unit,
            weight_unit=weight_unit,
        )
        by_item = transposed(threads, by_user, train.n_items)
        user_penalties, item_penalties = self.objective.penalties_of(train, *weights)
        start = initial.in_units(unit)
        tables = (
            self._table(start.user_factors, start.user_bias),
            self._table(start.item_factors, start.item_bias),
        )
        size = tables[0].factors.shape[1]
        return AlternatingState(
            threads=threads,
            row_weights=weights,
            workspaces=[_workspace(size, np.dtype(self.dtype)) for _ in range(threads.n)],
            rule=self._rule(np.dtype(self.dtype)),
            mean=initial.mean,
            unit=unit,
            sides=(
                self._side(by_user, user_penalties, unit, weight_unit, size, threads.n),
                self._side(by_item, item_penalties, unit, weight_unit, size, threads.n),
            ),
            done=tables,
            working=(_copied(tables[0]), _copied(tables[1])),
        )

    def step(self, state: AlternatingState, n_epochs: int) -> float:
        """Alternate ``n_epochs`` times; return the training MSE after the last."""
        without_errors = state.rule._replace(with_errors=False)
        for _ in range(n_epochs):
            users, items = state.working
            self._half_epoch(
                state, without_errors, state.sides[0], state.done[1], state.done[0], users
            )
            squared_error = self._half_epoch(
                state, state.rule, state.sides[1], users, state.done[1], items
            )
            # Only now does the epoch take effect: a Ctrl-C before leaves the last whole one.
            state.done, state.working = state.working, state.done
            state.epochs += 1
        return squared_error * state.unit * state.unit / len(state.sides[0].ratings.ratings)

    def parameters(self, state: AlternatingState) -> Parameters:
        """Return a copy of the last whole epoch's parameters, in rating units."""
        users, items = state.done
        in_units = Parameters(
            state.mean,
            users.bias,
            items.bias,
            users.factors[:, : self.rank],
            items.factors[:, : self.rank],
        )
        return in_units.from_units(state.unit)

    def threads(self) -> AbstractContextManager[None]:
        """Limit BLAS to one thread; the kernels run on the threads of the state."""
        return one_blas_thread()

    def _rule(self, dtype: np.dtype[Any]) -> Rule:
        number: Any = dtype.type
        return Rule(
            rank=self.rank,
            with_bias=self.solves_for_biases,
            fixed_bias=self.bias == "fixed",
            with_errors=True,
            pivot_share=number(pivot_tolerance(dtype)),
            smallest_pivot=number(np.finfo(number).tiny),
            rounding=number(rounding_error(self.rank + 1, dtype)),
            one=number(1),
            tile_rows=(0,) * TILE_ROWS,
        )

    def _table(self, factors: Float, bias: Float) -> Table:
        # Rows need no more padding than to whole vectors: no kernel is compiled for their length.
        lanes = LINE // factors.itemsize
        n_columns = -(-self.rank // lanes) * lanes
        return Table(padded_table(factors, n_columns), bias)

    def _side(
        self,
        ratings: Blocks,
        penalties: Penalties,
        unit: float,
        weight_unit: float,
        size: int,
        n_threads: int,
    ) -> Side:
        penalty, bias_penalty = penalties_in_units(penalties, unit, weight_unit, self.dtype)
        n_ratings = np.diff(ratings.ends[0], prepend=0)
        work = n_ratings * (size * size / 2) + (n_ratings > 0) * (size**3 / 6 + _ROW_COST)
        if self.method == "cg":
            work = n_ratings * (2 * size * (self.cg_steps + 2.0)) + (n_ratings > 0) * _CG_ROW_COST
            # Squares of penalised factors must not overflow.
            largest = float(np.finfo(self.dtype).max) ** 0.4
            penalty, bias_penalty = np.minimum(penalty, largest), np.minimum(bias_penalty, largest)
        long_rows = np.flatnonzero((work > WORK_PER_CALL) & (n_ratings > _ratings_per_part(size)))
        pieces = _pieces(work, long_rows, n_threads)
        return Side(ratings, penalty, bias_penalty, pieces, long_rows.tolist())

    def _half_epoch(
        self,
        state: AlternatingState,
        rule: Rule,
        side: Side,
        opposites: Table,
        before: Table,
        rows: Table,
    ) -> float:
        """Solve for all rows of one side; return the sum of squared errors, in units.

        The sum is 0 if the rule wants no errors.
        """
        squared_errors = np.zeros(len(rows.bias))
        if self.method == "cg":
            start, n_steps = (before.factors, before.bias), self.cg_steps

            def improve(piece: tuple[int, int], workspace: Workspace) -> None:
                shared = side.arguments(opposites)
                table = rows.factors, rows.bias
                improve_rows(
                    *piece, *shared, n_steps, workspace, rule, start, table, squared_errors
                )

            _in_pieces(state, side.pieces, improve, state.workspaces)
            singular = np.zeros(len(rows.bias), np.bool_)
        else:
            singular = _solve_pieces(
                state, side, opposites, rows, state.workspaces, rule, squared_errors
            )
        for row in side.long_rows:
            regular, error = self._solve_long_row(state, rule, side, opposites, rows, row)
            singular[row], squared_errors[row] = not regular, error
        found = np.flatnonzero(singular)
        if len(found) and np.dtype(self.dtype) != np.float64:
            found = self._solve_in_float64(state, side, opposites, rows, found, squared_errors)
        if len(found):
            self._solve_singular(side, opposites, rows, found, squared_errors)
        return float(squared_errors.sum())

    def _solve_in_float64(
        self,
        state: AlternatingState,
        side: Side,
        opposites: Table,
        rows: Table,
        wanted: NDArray[np.int64],
        squared_errors: NDArray[np.float64],
    ) -> NDArray[np.int64]:
        """Solve for some rows by copies in float64; return those that are singular there too.

        So are long rows returned, which `_solve_singular` solves for in float64 and in parts: a
        Ctrl-C would have to wait for a kernel to do the whole row.
        """
        is_long = np.isin(wanted, side.long_rows)
        wanted, long_rows = wanted[~is_long], wanted[is_long]
        if not len(wanted):
            return long_rows
        double = np.dtype(np.float64)
        ratings = side.ratings.ratings
        start = np.append(0, side.ratings.ends[0])[wanted]
        counts = side.ratings.ends[0][wanted] - start
        ends = np.cumsum(counts)
        positions = np.repeat(start - (ends - counts), counts) + np.arange(ends[-1])
        fields = ratings.dtype.names or ()
        copies = np.zeros(
            len(positions) + LOOK_AHEAD, ratings_dtype(double, weighted=len(fields) > 2)
        )
        for field in fields:
            copies[field][: len(positions)] = ratings[field][positions]
        size = rows.factors.shape[1]
        cells = Blocks(np.array([[0, len(positions)]]), ends[None], copies[: len(positions)])
        work = counts * (size * size / 2) + size**3 / 6 + _ROW_COST
        part = Side(
            cells,
            side.penalty[wanted].astype(double),
            side.bias_penalty[wanted].astype(double),
            _pieces(work, np.empty(0, np.int64), state.threads.n),
            [],
        )
        table = Table(np.zeros((len(wanted), size)), rows.bias[wanted].astype(double))
        errors = np.zeros(len(wanted))
        workspaces = [_workspace(size, double) for _ in state.workspaces]
        singular = _solve_pieces(
            state,
            part,
            Table(opposites.factors.astype(double), opposites.bias.astype(double)),
            table,
            workspaces,
            self._rule(double),
            errors,
        )
        regular = wanted[~singular]
        rows.factors[regular] = table.factors[~singular]
        rows.bias[regular] = table.bias[~singular]
        squared_errors[regular] = errors[~singular]
        return np.concatenate([wanted[singular], long_rows])

    def _solve_singular(
        self,
        side: Side,
        opposites: Table,
        rows: Table,
        wanted: NDArray[np.int64],
        squared_errors: NDArray[np.float64],
    ) -> None:
        """Solve for rows that have no single solution; see `least_squares`."""
        ratings = side.ratings.ratings
        equations = Equations(
            offsets=np.append(0, side.ratings.ends[0]),
            opposites=ratings["opposite"],
            targets=ratings["target"],
            weights=ratings["weight"] if "weight" in (ratings.dtype.names or ()) else None,
            penalty=side.penalty,
            bias_penalty=side.bias_penalty if self.solves_for_biases else None,
            factors=opposites.factors[:, : self.rank],
            bias=opposites.bias,
            own_bias=rows.bias if self.bias == "fixed" else None,
        )
        for batch in equations.batches(wanted):
            solved, squared_errors[batch] = equations.solve(batch, np.float64)
            rows.factors[batch, : self.rank] = solved[:, -self.rank :]
            if self.solves_for_biases:
                rows.bias[batch] = solved[:, 0]

    def _solve_long_row(
        self,
        state: AlternatingState,
        rule: Rule,
        side: Side,
        opposites: Table,
        rows: Table,
        row: int,
    ) -> tuple[bool, float]:
        """Solve for a row whose ratings all threads share.

        Returns
        -------
        regular, squared_error
            Whether there is a single solution, and the weighted sum of squared errors with it; or
            0.
        """
        number = rows.factors.dtype.type
        ratings = side.ratings.ratings, (opposites.factors, opposites.bias)
        # The parts do not depend on the number of threads, nor does the order of their sums.
        parts = _parts(side, row, rows.factors.shape[1])
        workspace = state.workspaces[0]
        gram, sides = np.zeros_like(workspace.gram), np.zeros_like(workspace.sides)
        gram[np.arange(self.rank), np.arange(self.rank)] = side.penalty[row]
        weight, weighted_target = side.bias_penalty[row], number(0)
        own_bias = rows.bias[row] if self.bias == "fixed" else number(0)
        for calls in _rounds(parts, (*ratings, own_bias, number(0)), state):
            checkpoint()
            sums = state.threads.run(add_ratings, calls)
            for part, (part_weight, part_target) in zip(state.workspaces, sums, strict=False):
                weight, weighted_target = weight + part_weight, weighted_target + part_target
                gram += part.gram
                sides += part.sides
        workspace.gram[:], workspace.sides[:] = gram, sides
        regular = solve_row(
            row,
            weight,
            weighted_target,
            own_bias,
            workspace,
            rule,
            (rows.factors, rows.bias),
        )
        if not rule.with_errors:
            return regular, 0.0
        for other in state.workspaces[1:]:
            other.sides[:] = workspace.sides
        error = 0.0
        row_bias = rows.bias[row] - own_bias
        for calls in _rounds(parts, (*ratings, own_bias, row_bias), state):
            checkpoint()
            error += sum(state.threads.run(squared_error, calls))
        return regular, error


def _solve_pieces(
    state: AlternatingState,
    side: Side,
    opposites: Table,
    rows: Table,
    workspaces: list[Workspace],
    rule: Rule,
    squared_errors: NDArray[np.float64],
) -> NDArray[np.bool_]:
    """Solve for the rows of all pieces; return which of them are singular."""
    singular = np.zeros(len(rows.bias), np.bool_)
    shared, table = side.arguments(opposites), (rows.factors, rows.bias)

    def solve(piece: tuple[int, int], workspace: Workspace) -> None:
        solve_rows(*piece, *shared, workspace, rule, table, singular, squared_errors)

    _in_pieces(state, side.pieces, solve, workspaces)
    return singular


def _in_pieces(
    state: AlternatingState,
    pieces: list[tuple[int, int]],
    do: Callable[[tuple[int, int], Workspace], None],
    workspaces: list[Workspace],
) -> None:
    """Have the threads work off pieces, each with a workspace of its own."""
    waiting = deque(pieces)

    def work(thread: int) -> None:
        while True:
            if thread == 0:
                checkpoint()
            try:
                piece = waiting.popleft()
            except IndexError:
                return
            do(piece, workspaces[thread])

    state.threads.run(work, [(thread,) for thread in range(state.threads.n)], waiting.clear)


def _workspace(size: int, dtype: np.dtype[Any]) -> Workspace:
    return Workspace(
        gathered=aligned_zeros(CHUNK, size, dtype),
        numbers=np.zeros((CHUNK, 2), dtype),
        gram=aligned_zeros(size, size, dtype),
        sides=aligned_zeros(5, size, dtype),
    )


def _copied(table: Table) -> Table:
    return Table(padded_table(table.factors, table.factors.shape[1]), table.bias.copy())


def _ratings_of(side: Side, row: int) -> tuple[int, int]:
    """Return where the ratings of a row start, and where they end."""
    ends = side.ratings.ends[0]
    return (int(ends[row - 1]) if row else 0), int(ends[row])


def _ratings_per_part(size: int) -> int:
    """Return how many ratings of one row a call takes at most, whole chunks."""
    return max(1, int(WORK_PER_CALL / (size * size / 2)) // CHUNK) * CHUNK


def _parts(side: Side, row: int, size: int) -> list[tuple[int, int]]:
    """Cut the ratings of a long row."""
    first, last = _ratings_of(side, row)
    length = _ratings_per_part(size)
    return [(start, min(start + length, last)) for start in range(first, last, length)]


def _rounds(
    parts: list[tuple[int, int]], shared: tuple[Any, ...], state: AlternatingState
) -> Iterator[list[tuple[Any, ...]]]:
    """Yield the calls for as many parts as there are threads at a time."""
    for start in range(0, len(parts), state.threads.n):
        yield [
            (*part, *shared, workspace, state.rule)
            for part, workspace in zip(parts[start:], state.workspaces, strict=False)
        ]


def _pieces(
    work: NDArray[np.float64], long_rows: NDArray[np.int64], n_threads: int
) -> list[tuple[int, int]]:
    """Cut the rows into ranges of about as much work each, leaving out the long rows."""
    work[long_rows] = 0
    n_pieces = max(_PIECES_PER_THREAD * n_threads, math.ceil(2 * work.sum() / WORK_PER_CALL))
    cuts = balanced_bounds(np.cumsum(work).astype(np.int64), n_pieces)
    bounds = np.unique(np.concatenate([cuts, long_rows, long_rows + 1])).tolist()
    left_out = set(long_rows.tolist())
    return [(first, last) for first, last in pairwise(bounds) if first not in left_out]
