"""The gradient of the squared error for one side in one pass over its ratings, grouped by row."""

import triton
import triton.language as tl


@triton.jit
def gd_side(
    rows: tl.tensor,
    opposites: tl.tensor,
    row_bias: tl.tensor,
    opposite_bias: tl.tensor,
    offsets: tl.tensor,
    others: tl.tensor,
    targets: tl.tensor,
    sums: tl.tensor,
    bias_sums: tl.tensor,
    squared_errors: tl.tensor,
    scale: tl.tensor,
    RANK: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """Sum errors times opposite rows over the ratings of each row; one program per row, no atomics.

    The error of a rating is row . opposite + row_bias + opposite_bias - target. All sums are in
    float32, whatever the precision of the tables.

    Parameters
    ----------
    rows, opposites
        Tables of factors, row-major, shapes (n_rows, RANK) and (n_opposite, RANK).
    row_bias, opposite_bias
        Biases, shapes (n_rows,) and (n_opposite,).
    offsets
        Where the ratings of each row start, and the last ones end, shape (n_rows + 1,).
    others, targets
        Opposite row and target of each rating, grouped by row, shape (n,).
    sums, bias_sums
        What is written: ``scale`` times the sums of error times opposite row, and of errors,
        shapes (n_rows, RANK) and (n_rows,).
    squared_errors
        What is written: the sum of squared errors of each row, shape (n_rows,).
    RANK, BLOCK
        Number of factors, and of ratings taken at a time; powers of two.
    """
    row = tl.program_id(0)
    k = tl.arange(0, RANK)
    first = tl.load(offsets + row)
    last = tl.load(offsets + row + 1)
    p = tl.load(rows + row * RANK + k).to(tl.float32)
    bias = tl.load(row_bias + row)
    total = tl.zeros((RANK,), tl.float32)
    bias_total = 0.0
    squares = 0.0
    for start in range(first, last, BLOCK):
        at = start + tl.arange(0, BLOCK)
        there = at < last
        other = tl.load(others + at, mask=there, other=0)
        cells = opposites + other[:, None] * RANK + k[None, :]
        q = tl.load(cells, mask=there[:, None], other=0.0).to(tl.float32)
        known = bias + tl.load(opposite_bias + other, mask=there, other=0.0)
        error = tl.sum(p[None, :] * q, 1) + known - tl.load(targets + at, mask=there, other=0.0)
        error = tl.where(there, error, 0.0)
        total += tl.sum(error[:, None] * q, 0)
        bias_total += tl.sum(error)
        squares += tl.sum(error * error)
    tl.store(sums + row * RANK + k, total * scale)
    tl.store(bias_sums + row, bias_total * scale)
    tl.store(squared_errors + row, squares)
