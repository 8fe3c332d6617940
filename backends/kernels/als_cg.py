"""Half-epochs of alternating least squares by a few steps of conjugate gradients for each row.

For many factors the Gram matrices of `als` take most of the time. Conjugate gradients need only
products with them, which are computed from the gathered rows: 2 rank multiply-adds per rating and
step in place of rank^2 / 2 per rating. Each row starts from its last solution, so that a few steps
suffice (Takacs, Pilaszy and Tikk 2011, "Applications of the conjugate gradient method for implicit
feedback collaborative filtering"). The result is not the exact minimum of a half-epoch.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from backends.kernels.llvm.tables import load, store
from backends.kernels.llvm.vectors import align_stack, total, zeros_like

from ._jit import inlined, kernel
from .als import CHUNK, Rule, Table, Workspace, gather, squared_error_of, vectors_of

# Rows of the workspace's sides. The second is the solution, as for `squared_error_of`.
_PRODUCT, _X, _RESIDUAL, _DIRECTION, _SCALE = range(5)


@inlined
def _dot(sides: NDArray[Any], a: int, b: int) -> float:
    _, n_vectors = vectors_of(sides)
    products = load(sides, a, 0) * load(sides, b, 0)
    for vector in range(1, n_vectors):
        products = products + load(sides, a, vector) * load(sides, b, vector)
    result: float = total(products)
    return result


@inlined
def _scaled_square(sides: NDArray[Any], residual_bias: float, bias_scale: float) -> float:
    """Return r . (r / diagonal), the bias included."""
    _, n_vectors = vectors_of(sides)
    residual = load(sides, _RESIDUAL, 0)
    products = residual * residual * load(sides, _SCALE, 0)
    for vector in range(1, n_vectors):
        residual = load(sides, _RESIDUAL, vector)
        products = products + residual * residual * load(sides, _SCALE, vector)
    result: float = total(products) + residual_bias * residual_bias * bias_scale
    return result


@inlined
def _multiply(
    first: int,
    last: int,
    ratings: NDArray[Any],
    opposites: Table,
    own_bias: float,
    penalty: float,
    bias_penalty: float,
    direction_bias: float,
    workspace: Workspace,
    rule: Rule,
) -> float:
    """Multiply the direction by the matrix of a row's normal equations, into the product.

    Returns
    -------
    float
        The product's entry for the bias.
    """
    gathered, numbers, sides = workspace.gathered, workspace.numbers, workspace.sides
    _, n_vectors = vectors_of(sides)
    for vector in range(n_vectors):
        store(sides, _PRODUCT, vector, penalty * load(sides, _DIRECTION, vector))
    product_bias = bias_penalty * direction_bias
    for start in range(first, last, CHUNK):
        n = min(CHUNK, last - start)
        if last - first > CHUNK:  # otherwise they are there from the start
            gather(start, start + n, ratings, opposites, own_bias, workspace, rule)
        for row in range(n):
            products = load(gathered, row, 0) * load(sides, _DIRECTION, 0)
            for vector in range(1, n_vectors):
                products = products + load(gathered, row, vector) * load(sides, _DIRECTION, vector)
            share = total(products) + numbers[row, 0] * direction_bias
            for vector in range(n_vectors):
                sums = load(sides, _PRODUCT, vector) + share * load(gathered, row, vector)
                store(sides, _PRODUCT, vector, sums)
            product_bias += share * numbers[row, 0]
    return product_bias


@inlined
def _start(
    first: int,
    last: int,
    ratings: NDArray[Any],
    opposites: Table,
    own_bias: float,
    penalty: float,
    bias_penalty: float,
    bias: float,
    workspace: Workspace,
    rule: Rule,
) -> tuple[float, float, float]:
    """Compute the residual at x, and the reciprocal of the diagonal, by which steps are scaled.

    The direction becomes zero.

    Returns
    -------
    residual_bias, bias_scale
        Their entries for the bias.
    sum_of_squares
        Of the targets, weighted.
    """
    gathered, numbers, sides = workspace.gathered, workspace.numbers, workspace.sides
    lanes, n_vectors = vectors_of(sides)
    zeros = zeros_like(load(sides, 0, 0))
    for vector in range(n_vectors):
        store(sides, _RESIDUAL, vector, zeros - penalty * load(sides, _X, vector))
        store(sides, _SCALE, vector, zeros)
        store(sides, _DIRECTION, vector, zeros)
    residual_bias, weight = -bias_penalty * bias, bias_penalty
    sum_of_squares = rule.one - rule.one
    for start in range(first, last, CHUNK):
        n = min(CHUNK, last - start)
        gather(start, start + n, ratings, opposites, own_bias, workspace, rule)
        for row in range(n):
            products = load(gathered, row, 0) * load(sides, _X, 0)
            for vector in range(1, n_vectors):
                products = products + load(gathered, row, vector) * load(sides, _X, vector)
            error = numbers[row, 1] - numbers[row, 0] * bias - total(products)
            for vector in range(n_vectors):
                q = load(gathered, row, vector)
                store(sides, _RESIDUAL, vector, load(sides, _RESIDUAL, vector) + error * q)
                store(sides, _SCALE, vector, load(sides, _SCALE, vector) + q * q)
            residual_bias += error * numbers[row, 0]
            weight += numbers[row, 0] * numbers[row, 0]
            sum_of_squares += numbers[row, 1] * numbers[row, 1]
    for column in range(n_vectors * lanes):
        diagonal = sides[_SCALE, column] + penalty
        # In the padding, and where nothing is known, everything stays at zero.
        inside = column < rule.rank and diagonal > rule.smallest_pivot
        sides[_SCALE, column] = rule.one / diagonal if inside else rule.one - rule.one
    bias_scale = rule.one - rule.one
    if rule.with_bias and weight > rule.smallest_pivot:
        bias_scale = rule.one / weight
    return residual_bias, bias_scale, sum_of_squares


@inlined
def _descend(sides: NDArray[Any], length: float) -> None:
    """Go so many times the direction, to the minimum along it."""
    _, n_vectors = vectors_of(sides)
    for vector in range(n_vectors):
        step = length * load(sides, _DIRECTION, vector)
        store(sides, _X, vector, load(sides, _X, vector) + step)
        step = length * load(sides, _PRODUCT, vector)
        store(sides, _RESIDUAL, vector, load(sides, _RESIDUAL, vector) - step)


@inlined
def _turn(sides: NDArray[Any], share: float) -> None:
    """Make the scaled residual plus a share of the last direction the next direction."""
    _, n_vectors = vectors_of(sides)
    for vector in range(n_vectors):
        scaled = load(sides, _SCALE, vector) * load(sides, _RESIDUAL, vector)
        store(sides, _DIRECTION, vector, scaled + share * load(sides, _DIRECTION, vector))


@inlined
def _improve(
    first: int,
    last: int,
    ratings: NDArray[Any],
    opposites: Table,
    own_bias: float,
    penalty: float,
    bias_penalty: float,
    n_steps: int,
    bias: float,
    workspace: Workspace,
    rule: Rule,
) -> float:
    """Make steps of conjugate gradients from x and the bias; return the bias reached."""
    sides = workspace.sides
    residual_bias, bias_scale, sum_of_squares = _start(
        first,
        last,
        ratings,
        opposites,
        own_bias,
        penalty,
        bias_penalty,
        bias,
        workspace,
        rule,
    )
    # r . (r / diagonal) is at most the squared error times the number of unknowns. If it is
    # rounding error in comparison, r points into directions in which the ratings say nothing.
    square = _scaled_square(sides, residual_bias, bias_scale)
    smallest = max(rule.rounding * rule.rounding * sum_of_squares, rule.smallest_pivot)
    share, direction_bias = rule.one - rule.one, rule.one - rule.one
    for _ in range(n_steps):
        if not square > smallest:  # so that it ends at NaN
            break
        _turn(sides, share)
        direction_bias = bias_scale * residual_bias + share * direction_bias
        product_bias = _multiply(
            first,
            last,
            ratings,
            opposites,
            own_bias,
            penalty,
            bias_penalty,
            direction_bias,
            workspace,
            rule,
        )
        curvature = _dot(sides, _DIRECTION, _PRODUCT) + direction_bias * product_bias
        if not curvature > 0:
            break
        length = square / curvature
        _descend(sides, length)
        bias += length * direction_bias
        residual_bias -= length * product_bias
        last_square = square
        square = _scaled_square(sides, residual_bias, bias_scale)
        share = square / last_square
    return bias


@kernel
def improve_rows(
    first: int,
    last: int,
    ends: NDArray[np.int64],
    ratings: NDArray[Any],
    opposites: Table,
    penalty: NDArray[Any],
    bias_penalty: NDArray[Any],
    n_steps: int,
    workspace: Workspace,
    rule: Rule,
    before: Table,
    rows: Table,
    squared_errors: NDArray[np.float64],
) -> None:
    """Make ``n_steps`` steps of conjugate gradients from ``before`` in the rows ``first:last``.

    See `als.solve_rows` for the other parameters.
    """
    align_stack()
    sides = workspace.sides
    _, n_vectors = vectors_of(sides)
    for row in range(first, last):
        start, end = ends[row - 1] if row > 0 else 0, ends[row]
        if start == end:
            continue
        own_bias = before[1][row] if rule.fixed_bias else rule.one - rule.one
        bias = before[1][row] if rule.with_bias else rule.one - rule.one
        for vector in range(n_vectors):
            store(sides, _X, vector, load(before[0], row, vector))
        bias = _improve(
            start,
            end,
            ratings,
            opposites,
            own_bias,
            penalty[row],
            bias_penalty[row],
            n_steps,
            bias,
            workspace,
            rule,
        )
        for vector in range(n_vectors):
            store(rows[0], row, vector, load(sides, _X, vector))
        rows[1][row] = own_bias + bias
        if rule.with_errors:
            squared_errors[row] = squared_error_of(
                start,
                end,
                ratings,
                opposites,
                own_bias,
                bias,
                end - start <= CHUNK,
                workspace,
                rule,
            )
