"""Half-epochs of alternating least squares: the normal equations of each row, by Cholesky.

With the other side fixed, the objective is a sum over rows, and each row's factors and bias are a
ridge regression of its targets on the factors of the opposite rows that it rated (Zhou et al. 2008,
with biases). `plain_solution` is the definition of what happens for one row: read it first.

Most of the time goes into the Gram matrix, rank^2 / 2 multiply-adds per rating. So the opposite
rows are copied next to each other, a chunk that fits the first level of the cache at a time, and
the Gram matrix of a chunk is a matrix product, of which only the upper triangle is computed, in
tiles that stay in registers (see `llvm.tiles`). The Cholesky factorisation subtracts products of
earlier rows in the same tiles.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from backends.kernels.llvm.ratings import opposites_at, times_weights
from backends.kernels.llvm.tables import first_rating, load, prefetch_vector, store
from backends.kernels.llvm.tiles import add_tile, plus_products, zero_tile
from backends.kernels.llvm.traced import traced
from backends.kernels.llvm.vectors import (
    after_lane,
    align_stack,
    square_root,
    total,
    with_lane,
    zeros_like,
)

from ._jit import inlined, kernel
from .layout import LINE

# Ratings whose opposite rows are gathered at a time.
CHUNK = 64

# Rows of a tile. Eight sums, of one vector each, keep two multiply-add units busy: a unit starts
# one per cycle, and its result can be added to four cycles later.
TILE_ROWS = 8

# How many ratings ahead an opposite row is requested from memory.
_PREFETCH_DISTANCE = 8

_ONE_STREAM = (0,)  # positions in the stream are positions in the array; see `gradient`

_SIDES = (0, 0)  # a tile for the first two of the sides below

Table = tuple[NDArray[Any], NDArray[Any]]  # factors and biases of one side


class Rule(NamedTuple):
    """What is the same for all rows; numbers are in the precision of the tables."""

    rank: int  # number of factors; those beyond it are padding
    with_bias: bool  # whether biases are solved for
    fixed_bias: bool  # whether they stay what they are
    with_errors: bool  # whether squared errors are wanted
    # A pivot may be rounding error if it is not above this share of its diagonal and the smallest.
    pivot_share: float
    smallest_pivot: float
    rounding: float  # relative size of rounding errors
    one: float  # 1, so that no constant of another precision widens the arithmetic
    tile_rows: tuple[int, ...]  # with `TILE_ROWS` entries, of which only the number is used


class Workspace(NamedTuple):
    """What one thread works on, in the precision of the tables; aligned to cache lines."""

    gathered: NDArray[Any]  # opposite rows, shape (CHUNK, padded rank)
    numbers: NDArray[Any]  # what goes with each of them, see `gather`; shape (CHUNK, 2)
    gram: NDArray[Any]  # shape (padded rank, padded rank)
    # Shape (5, padded rank). `als_cg` names its rows; here they are
    # 0: the sum of weight times opposite row;
    # 1: the sum of these times the target, and then the solution;
    # 2: the diagonal of the Gram matrix, and then the reciprocals of that of U;
    # 3: z of `_substitute`.
    sides: NDArray[Any]


def plain_solution(
    opposites: NDArray[np.float64],
    targets: NDArray[np.float64],
    weights: NDArray[np.float64],
    penalty: float,
    bias_penalty: float,
) -> tuple[NDArray[np.float64], float]:
    """Return the factors and the bias of a row that minimise its part of the objective.

    This is the definition of what the kernel computes. No solver calls it; the tests compare the
    kernel with it, row by row.

    Parameters
    ----------
    opposites
        Factors of the opposite row of each rating, shape (n, rank).
    targets
        The ratings minus the mean and the opposite rows' biases, shape (n,).
    weights
        Shape (n,).
    """
    a = np.column_stack([np.ones(len(targets)), opposites])
    penalties = np.diag([bias_penalty, *[penalty] * opposites.shape[1]])
    solution = np.linalg.solve(a.T @ (weights[:, None] * a) + penalties, a.T @ (weights * targets))
    return np.asarray(solution[1:], np.float64), float(solution[0])


@inlined
def vectors_of(table: NDArray[Any]) -> tuple[int, int]:
    """Return how many numbers a vector has, and how many vectors a row of the table has."""
    lanes = LINE // table.itemsize
    return lanes, table.shape[1] // lanes


@inlined
def gather(
    first: int,
    last: int,
    ratings: NDArray[Any],
    opposites: Table,
    own_bias: float,
    workspace: Workspace,
    rule: Rule,
) -> tuple[float, float]:
    """Copy the opposite rows of the ratings ``first:last`` into the workspace.

    Each is multiplied by the root of its rating's weight, and so are 1 and the target minus the
    biases that stay fixed, which go beside it: a product of any two of these has the weight.

    Parameters
    ----------
    own_bias
        The row's bias if it stays fixed, or 0.

    Returns
    -------
    weight, weighted_target
        Sums over these ratings: of the weights, and of weight times target.
    """
    factors, gathered = opposites[0], workspace.gathered
    _, n_vectors = vectors_of(gathered)
    weight, weighted_target = rule.one - rule.one, rule.one - rule.one
    for n in range(first, last):
        row = n - first
        soon, opposite, root, target = _gather_numbers(
            n, row, ratings, opposites, own_bias, workspace, rule
        )
        weight += root * root
        weighted_target += root * target
        for vector in range(n_vectors):
            prefetch_vector(factors, soon, vector)
            store(gathered, row, vector, root * load(factors, opposite, vector))
    return weight, weighted_target


@traced
def _gather_numbers(
    n: Any,
    row: Any,
    ratings: Any,
    opposites: Any,
    own_bias: Any,
    workspace: Any,
    rule: Any,
) -> Any:
    """Write what goes beside the opposite row of the n-th rating.

    Returns
    -------
    soon, opposite, root, target
        The opposite rows of a rating to come and of this one; the root of this one's weight, and
        that times its target, which were written.
    """
    _, bias = opposites
    soon = opposites_at(ratings, _ONE_STREAM, n + _PREFETCH_DISTANCE)[0]
    opposite = opposites_at(ratings, _ONE_STREAM, n)[0]
    root = square_root(times_weights(rule.one, ratings, _ONE_STREAM, n))
    target = root * (ratings[n].target - bias[opposite] - own_bias)
    numbers = workspace.numbers
    numbers[row, 0], numbers[row, 1] = root, target
    return soon, opposite, root, target


@inlined
def _add_product(
    left: NDArray[Any],
    column: int,
    right: NDArray[Any],
    vector: int,
    n: int,
    table: NDArray[Any],
    row: int,
    factor: float,
    tile_rows: tuple[int, ...],
) -> None:
    """Add to a table factor times left^T right, over the first ``n`` rows of both.

    Of the product one tile is computed: columns of ``left`` from ``column``, and one vector of
    ``right``. It is added to that vector of the rows of ``table`` from ``row``.
    """
    tile = zero_tile(table, tile_rows)
    for k in range(n):
        tile = plus_products(tile, left, column, right, vector, k)
    add_tile(table, row, vector, tile, factor)


@inlined
def _accumulate(
    first: int,
    last: int,
    ratings: NDArray[Any],
    opposites: Table,
    own_bias: float,
    workspace: Workspace,
    rule: Rule,
) -> tuple[float, float]:
    """Add the ratings ``first:last`` of a row to its Gram matrix and right-hand sides.

    Returns
    -------
    weight, weighted_target
        As in `gather`.
    """
    gathered, numbers, gram, sides = workspace
    weight, weighted_target = rule.one - rule.one, rule.one - rule.one
    lanes, n_vectors = vectors_of(gathered)
    zero = np.int64(0)  # numba compiles a function anew for a constant
    for start in range(first, last, CHUNK):
        n = CHUNK if last - start > CHUNK else last - start
        sums = gather(start, start + n, ratings, opposites, own_bias, workspace, rule)
        weight += sums[0]
        weighted_target += sums[1]
        for vector in range(n_vectors):
            _add_product(numbers, zero, gathered, vector, n, sides, zero, rule.one, _SIDES)
            # The upper triangle, and what is left of the diagonal in the tiles that it crosses.
            for row in range(0, (vector + 1) * lanes, len(rule.tile_rows)):
                _add_product(
                    gathered, row, gathered, vector, n, gram, row, rule.one, rule.tile_rows
                )
    return weight, weighted_target


@inlined
def _factorise(workspace: Workspace, rule: Rule) -> bool:
    """Overwrite the Gram matrix by its Cholesky factor U, which has U^T U = G.

    U is in the upper triangle without the diagonal, of which the reciprocals go to the third row of
    the sides. Before, that row is the diagonal without the elimination of the bias.

    Returns
    -------
    bool
        Whether G is positive definite: no pivot may be rounding error, see `Rule`. If not, the
        contents of the workspace are undefined.
    """
    gram, sides = workspace.gram, workspace.sides
    lanes, n_vectors = vectors_of(gram)
    for block in range(n_vectors):
        # From the rows of this block, subtract what the rows above contribute.
        first = block * lanes
        for row in range(first, first + lanes, len(rule.tile_rows)):
            for vector in range(block, n_vectors):
                _add_product(gram, row, gram, vector, first, gram, row, -rule.one, rule.tile_rows)
        # Then the rows of the block itself, one by one.
        for row in range(first, first + lanes):
            pivot = gram[row, row]
            # Written so that NaN counts as singular.
            if not (pivot > rule.pivot_share * sides[2, row] and pivot > rule.smallest_pivot):
                return False
            inverse = rule.one / math.sqrt(pivot)
            sides[2, row] = inverse
            diagonal = after_lane(load(gram, row, block), row - first)
            store(gram, row, block, inverse * diagonal)
            for vector in range(block + 1, n_vectors):
                store(gram, row, vector, inverse * load(gram, row, vector))
            for below in range(row + 1, first + lanes):
                factor = gram[row, below]
                for vector in range(block, n_vectors):
                    rest = load(gram, below, vector) - factor * load(gram, row, vector)
                    store(gram, below, vector, rest)
    return True


@inlined
def _substitute(workspace: Workspace) -> None:
    """Solve U^T U x = b with the result of `_factorise`; b and then x are side 1."""
    gram, sides = workspace.gram, workspace.sides
    lanes, n_vectors = vectors_of(gram)
    # U^T z = b, from the first unknown to the last: each is subtracted from the others' equations.
    # The unknowns go to a place of their own, since reading a vector waits for numbers in it that
    # have just been written.
    for row in range(gram.shape[1]):
        z = sides[1, row] * sides[2, row]
        sides[3, row] = z
        for vector in range(row // lanes, n_vectors):
            store(sides, 1, vector, load(sides, 1, vector) - z * load(gram, row, vector))
    # U x = z, from the last unknown to the first. Those of a block are collected in a register.
    for k in range(n_vectors):
        block = n_vectors - 1 - k
        x = zeros_like(load(gram, 0, 0))
        for j in range(lanes):
            lane = lanes - 1 - j
            row = block * lanes + lane
            sums = load(gram, row, block) * x
            for vector in range(block + 1, n_vectors):
                sums = sums + load(gram, row, vector) * load(sides, 1, vector)
            x = with_lane(x, lane, (sides[3, row] - total(sums)) * sides[2, row])
        store(sides, 1, block, x)


@inlined
def squared_error_of(
    first: int,
    last: int,
    ratings: NDArray[Any],
    opposites: Table,
    own_bias: float,
    bias: float,
    are_gathered: bool,
    workspace: Workspace,
    rule: Rule,
) -> float:
    """Return the weighted sum of squared errors of a row's ratings, which are ``first:last``.

    The row's factors are side 1.

    Parameters
    ----------
    are_gathered
        Whether just these ratings, a single chunk, are in the workspace already.
    """
    gathered, numbers, sides = workspace.gathered, workspace.numbers, workspace.sides
    _, n_vectors = vectors_of(gathered)
    squared_error = 0.0
    for start in range(first, last, CHUNK):
        n = CHUNK if last - start > CHUNK else last - start
        if not are_gathered:
            gather(start, start + n, ratings, opposites, own_bias, workspace, rule)
        for row in range(n):
            products = load(gathered, row, 0) * load(sides, 1, 0)
            for vector in range(1, n_vectors):
                products = products + load(gathered, row, vector) * load(sides, 1, vector)
            error = numbers[row, 1] - numbers[row, 0] * bias - total(products)
            squared_error += error * error
    return squared_error


@inlined
def _clear(workspace: Workspace, penalty: float, rule: Rule) -> None:
    """Set the Gram matrix to the penalty and the right-hand sides to zero.

    Columns beyond the rank are padding, where factors are zero: there the diagonal is 1.
    """
    gram, sides = workspace.gram, workspace.sides
    zeros = zeros_like(load(gram, 0, 0))
    lanes, n_vectors = vectors_of(gram)
    for row in range(gram.shape[1]):
        for vector in range(row // lanes, n_vectors):
            store(gram, row, vector, zeros)
        gram[row, row] = penalty if row < rule.rank else rule.one
    for side in range(2):
        for vector in range(n_vectors):
            store(sides, side, vector, zeros)


@inlined
def _solve(
    workspace: Workspace,
    weight: float,
    weighted_target: float,
    rule: Rule,
) -> tuple[bool, float]:
    """Solve the normal equations that `_accumulate` has set up; the factors become side 1.

    The bias is eliminated first. Its equation is weight bias + s . x = weighted_target, where s is
    side 0; ``weight`` includes the penalty of the bias.

    Returns
    -------
    regular, bias
        Whether the equations have a single solution, and the bias in it, or 0 without biases. If
        not, the factors are undefined.
    """
    gram, sides = workspace.gram, workspace.sides
    lanes, n_vectors = vectors_of(gram)
    for row in range(gram.shape[1]):
        sides[2, row] = gram[row, row]
    share = mean = rule.one - rule.one
    if rule.with_bias:
        if not weight > rule.smallest_pivot:
            return False, mean
        share = rule.one / weight
        mean = share * weighted_target
        one = np.int64(1)  # numba compiles a function anew for a constant
        for vector in range(n_vectors):
            rest = load(sides, 1, vector) - mean * load(sides, 0, vector)
            store(sides, 1, vector, rest)
            for row in range(0, (vector + 1) * lanes, len(rule.tile_rows)):
                _add_product(sides, row, sides, vector, one, gram, row, -share, rule.tile_rows)
    # Once for both cases, since each call of an inlined function is a copy of it.
    regular = _factorise(workspace, rule)
    if regular:
        _substitute(workspace)
    if not (regular and rule.with_bias):
        return regular, rule.one - rule.one
    products = load(sides, 0, 0) * load(sides, 1, 0)
    for vector in range(1, n_vectors):
        products = products + load(sides, 0, vector) * load(sides, 1, vector)
    return True, mean - share * total(products)


@inlined
def _store_solution(workspace: Workspace, row: int, row_bias: float, rows: Table) -> None:
    factors, bias = rows
    _, n_vectors = vectors_of(factors)
    for vector in range(n_vectors):
        store(factors, row, vector, load(workspace.sides, 1, vector))
    bias[row] = row_bias


@kernel
def solve_rows(
    first: int,
    last: int,
    ends: NDArray[np.int64],
    ratings: NDArray[Any],
    opposites: Table,
    penalty: NDArray[Any],
    bias_penalty: NDArray[Any],
    workspace: Workspace,
    rule: Rule,
    rows: Table,
    singular: NDArray[np.bool_],
    squared_errors: NDArray[np.float64],
) -> None:
    """Solve for the factors and the biases of the rows ``first:last``; see `plain_solution`.

    Rows without ratings are left as they are.

    Parameters
    ----------
    ends
        Where the ratings of each row end, shape (n_rows,).
    ratings
        Grouped by row, shape (n_ratings,); see `layout`.
    opposites
        Factors of the other side, shape (n_opposite, padded rank), and its biases.
    penalty, bias_penalty
        Of each row, shape (n_rows,).
    workspace
        Of this thread, overwritten.
    rows
        Output: factors, shape (n_rows, padded rank), and biases, shape (n_rows,).
    singular
        Output: which rows have no single solution, shape (n_rows,). These are left as they are.
    squared_errors
        Output, if the rule wants errors: the weighted sum of the squared errors of each row's
        ratings, shape (n_rows,).
    """
    align_stack()
    for row in range(first, last):
        start, end = first_rating(ends, row), ends[row]
        if start == end:
            continue
        own_bias = rows[1][row] if rule.fixed_bias else rule.one - rule.one
        _clear(workspace, penalty[row], rule)
        weight, weighted_target = _accumulate(
            start, end, ratings, opposites, own_bias, workspace, rule
        )
        weight += bias_penalty[row]
        regular, row_bias = _solve(workspace, weight, weighted_target, rule)
        singular[row] = not regular
        if regular:
            _store_solution(workspace, row, own_bias + row_bias, rows)
        if regular and rule.with_errors:
            squared_errors[row] = squared_error_of(
                start,
                end,
                ratings,
                opposites,
                own_bias,
                row_bias,
                end - start <= CHUNK,
                workspace,
                rule,
            )


@kernel
def add_ratings(
    first: int,
    last: int,
    ratings: NDArray[Any],
    opposites: Table,
    own_bias: float,
    penalty: float,
    workspace: Workspace,
    rule: Rule,
) -> tuple[float, float]:
    """Set up the normal equations of a part of a row's ratings, which are ``first:last``.

    For rows with so many ratings that several threads share them. See `solve_rows` for the
    parameters, and `gather` for what is returned.
    """
    align_stack()
    _clear(workspace, penalty, rule)
    sums: tuple[float, float] = _accumulate(
        first, last, ratings, opposites, own_bias, workspace, rule
    )
    return sums


@kernel
def solve_row(
    row: int,
    weight: float,
    weighted_target: float,
    own_bias: float,
    workspace: Workspace,
    rule: Rule,
    rows: Table,
) -> bool:
    """Solve the equations in the workspace; return whether they have a single solution.

    See `_solve` and `solve_rows` for the parameters.
    """
    align_stack()
    regular, row_bias = _solve(workspace, weight, weighted_target, rule)
    if regular:
        _store_solution(workspace, row, own_bias + row_bias, rows)
    solved: bool = regular
    return solved


@kernel
def squared_error(
    first: int,
    last: int,
    ratings: NDArray[Any],
    opposites: Table,
    own_bias: float,
    row_bias: float,
    workspace: Workspace,
    rule: Rule,
) -> float:
    """Return the weighted sum of squared errors of a part of a row's ratings; see `add_ratings`.

    The row's factors are side 1 of the workspace.
    """
    align_stack()
    error: float = squared_error_of(
        first, last, ratings, opposites, own_bias, row_bias, False, workspace, rule
    )
    return error
