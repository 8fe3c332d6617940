"""Solving for the rows of one side in numba, when the other side is fixed.

It is what a half-epoch of alternating least squares does: see `kernels.als` for what happens in a
row, and `kernels.als_cg` for conjugate gradients. The rows do not depend on each other, so the
threads share them, and the result does not depend on the number of threads. Rows that look singular
are solved for in float64, and by `least_squares` if they are.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backends._arrays import Float
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
from backends.kernels.layout import LINE, LOOK_AHEAD, aligned_zeros, padded_table, ratings_dtype

from .interrupt import checkpoint
from .least_squares import Equations, pivot_tolerance, rounding_error
from .sorting import Blocks, balanced_bounds
from .threads import WORK_PER_CALL, Threads

# Pieces of work per thread in a half-epoch, at least: the last to end keeps the others waiting.
_PIECES_PER_THREAD = 16

# What a row costs beside its multiply-adds, in multiply-adds: mostly divisions, one after another.
_ROW_COST = 20_000
_CG_ROW_COST = 2_000


@dataclass
class Table:
    """One side of a model, in units.

    Ratings and biases are in units of the ratings' size, and factors in units of its square root.
    """

    factors: Float  # shape (n_rows, padded rank)
    bias: Float  # shape (n_rows,)

    def copy(self) -> Table:
        """Return a copy."""
        return Table(padded_table(self.factors, self.factors.shape[1]), self.bias.copy())


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
class RowSolver:
    """Solves for rows, exactly or by some steps of conjugate gradients.

    Attributes
    ----------
    rank
        Number of factors.
    dtype
        Precision of the tables.
    solves_for_biases, fixed_bias
        Whether rows' biases are solved for, and whether they stay what they are; at most one.
    cg_steps
        Steps of conjugate gradients from each row's last solution; 0 to solve exactly.
    threads
        Among which rows are shared.
    """

    rank: int
    dtype: np.dtype[Any]
    solves_for_biases: bool
    fixed_bias: bool
    cg_steps: int
    threads: Threads
    workspaces: list[Workspace] = field(init=False)  # one per thread

    def __post_init__(self) -> None:
        self.workspaces = [_workspace(self.width, self.dtype) for _ in range(self.threads.n)]

    @property
    def width(self) -> int:
        """Columns of a table of factors: rows need no more padding than to whole vectors."""
        lanes = LINE // self.dtype.itemsize
        return -(-self.rank // lanes) * lanes

    def table(self, factors: Float, bias: Float) -> Table:
        """Return a copy of a side's factors, shape (n_rows, rank), and biases, (n_rows,)."""
        return Table(padded_table(factors, self.width), bias)

    def _rule(self, dtype: np.dtype[Any], with_errors: bool) -> Rule:
        number: Any = dtype.type
        return Rule(
            rank=self.rank,
            with_bias=self.solves_for_biases,
            fixed_bias=self.fixed_bias,
            with_errors=with_errors,
            pivot_share=number(pivot_tolerance(dtype)),
            smallest_pivot=number(np.finfo(number).tiny),
            rounding=number(rounding_error(self.rank + 1, dtype)),
            one=number(1),
            tile_rows=(0,) * TILE_ROWS,
        )

    def side(self, ratings: Blocks, penalty: Float, bias_penalty: Float) -> Side:
        """Return a side whose ratings are sorted by row, with the penalties of its rows."""
        size = self.width
        n_ratings = np.diff(ratings.ends[0], prepend=0)
        work = n_ratings * (size * size / 2) + (n_ratings > 0) * (size**3 / 6 + _ROW_COST)
        if self.cg_steps:
            work = n_ratings * (2 * size * (self.cg_steps + 2.0)) + (n_ratings > 0) * _CG_ROW_COST
            # Squares of penalised factors must not overflow.
            largest = float(np.finfo(self.dtype).max) ** 0.4
            penalty, bias_penalty = np.minimum(penalty, largest), np.minimum(bias_penalty, largest)
        long_rows = np.flatnonzero((work > WORK_PER_CALL) & (n_ratings > _ratings_per_part(size)))
        pieces = _pieces(work, long_rows, self.threads.n)
        return Side(ratings, penalty, bias_penalty, pieces, long_rows.tolist())

    def solve(
        self, side: Side, opposites: Table, before: Table, rows: Table, *, with_errors: bool
    ) -> float:
        """Solve for all rows of one side.

        Parameters
        ----------
        side
            Its ratings.
        opposites
            The other side, which is fixed.
        before
            What the rows were: where conjugate gradients start.
        rows
            Where the solution goes. Rows without ratings stay what they are, and so do biases that
            are not solved for.
        with_errors
            Whether the squared errors are wanted.

        Returns
        -------
        squared_error
            The weighted sum of the squared errors, in units; 0 unless ``with_errors``.
        """
        rule = self._rule(self.dtype, with_errors)
        squared_errors = np.zeros(len(rows.bias))
        if self.cg_steps:
            start, n_steps = (before.factors, before.bias), self.cg_steps

            def improve(piece: tuple[int, int], workspace: Workspace) -> None:
                shared = side.arguments(opposites)
                table = rows.factors, rows.bias
                improve_rows(
                    *piece, *shared, n_steps, workspace, rule, start, table, squared_errors
                )

            self._in_pieces(side.pieces, improve, self.workspaces)
            singular = np.zeros(len(rows.bias), np.bool_)
        else:
            singular = self._solve_pieces(
                side, opposites, rows, self.workspaces, rule, squared_errors
            )
        for row in side.long_rows:
            regular, error = self._solve_long_row(rule, side, opposites, rows, row)
            singular[row], squared_errors[row] = not regular, error
        found = np.flatnonzero(singular)
        if len(found) and self.dtype != np.float64:
            found = self._solve_in_float64(side, opposites, rows, found, squared_errors)
        if len(found):
            self._solve_singular(side, opposites, rows, found, squared_errors)
        return float(squared_errors.sum())

    def _solve_in_float64(
        self,
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
        names = ratings.dtype.names or ()
        copies = np.zeros(
            len(positions) + LOOK_AHEAD, ratings_dtype(double, weighted=len(names) > 2)
        )
        for name in names:
            copies[name][: len(positions)] = ratings[name][positions]
        size = rows.factors.shape[1]
        cells = Blocks(np.array([[0, len(positions)]]), ends[None], copies[: len(positions)])
        work = counts * (size * size / 2) + size**3 / 6 + _ROW_COST
        part = Side(
            cells,
            side.penalty[wanted].astype(double),
            side.bias_penalty[wanted].astype(double),
            _pieces(work, np.empty(0, np.int64), self.threads.n),
            [],
        )
        table = Table(np.zeros((len(wanted), size)), rows.bias[wanted].astype(double))
        errors = np.zeros(len(wanted))
        workspaces = [_workspace(size, double) for _ in self.workspaces]
        singular = self._solve_pieces(
            part,
            Table(opposites.factors.astype(double), opposites.bias.astype(double)),
            table,
            workspaces,
            self._rule(double, with_errors=True),
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
            own_bias=rows.bias if self.fixed_bias else None,
        )
        for batch in equations.batches(wanted):
            solved, squared_errors[batch] = equations.solve(batch, np.float64)
            rows.factors[batch, : self.rank] = solved[:, -self.rank :]
            if self.solves_for_biases:
                rows.bias[batch] = solved[:, 0]

    def _solve_long_row(
        self,
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
        workspace = self.workspaces[0]
        gram, sides = np.zeros_like(workspace.gram), np.zeros_like(workspace.sides)
        gram[np.arange(self.rank), np.arange(self.rank)] = side.penalty[row]
        weight, weighted_target = side.bias_penalty[row], number(0)
        own_bias = rows.bias[row] if self.fixed_bias else number(0)
        for calls in self._rounds(parts, (*ratings, own_bias, number(0)), rule):
            checkpoint()
            sums = self.threads.run(add_ratings, calls)
            for part, (part_weight, part_target) in zip(self.workspaces, sums, strict=False):
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
        for other in self.workspaces[1:]:
            other.sides[:] = workspace.sides
        error = 0.0
        row_bias = rows.bias[row] - own_bias
        for calls in self._rounds(parts, (*ratings, own_bias, row_bias), rule):
            checkpoint()
            error += sum(self.threads.run(squared_error, calls))
        return regular, error

    def _solve_pieces(
        self,
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

        self._in_pieces(side.pieces, solve, workspaces)
        return singular

    def _in_pieces(
        self,
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

        self.threads.run(work, [(thread,) for thread in range(self.threads.n)], waiting.clear)

    def _rounds(
        self, parts: list[tuple[int, int]], shared: tuple[Any, ...], rule: Rule
    ) -> Iterator[list[tuple[Any, ...]]]:
        """Yield the calls for as many parts as there are threads at a time."""
        for start in range(0, len(parts), self.threads.n):
            yield [
                (*part, *shared, workspace, rule)
                for part, workspace in zip(parts[start:], self.workspaces, strict=False)
            ]


def _workspace(size: int, dtype: np.dtype[Any]) -> Workspace:
    return Workspace(
        gathered=aligned_zeros(CHUNK, size, dtype),
        numbers=np.zeros((CHUNK, 2), dtype),
        gram=aligned_zeros(size, size, dtype),
        sides=aligned_zeros(5, size, dtype),
    )


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
