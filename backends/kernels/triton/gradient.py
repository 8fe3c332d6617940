"""The gradient of the squared error for one side, in one pass over its ratings grouped by row."""

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
    """Sum the errors times the opposite rows over the ratings of each row.

    The error of a rating is row . opposite + row_bias + opposite_bias - target. All sums are in
    float32, whatever the precision of the tables. There is one program per row, so no two programs
    write to the same element.

    Parameters
    ----------
    rows, opposites
        Tables of factors, row-major, shapes (n_rows, RANK) and (n_opposite, RANK).
    row_bias, opposite_bias
        Biases, shapes (n_rows,) and (n_opposite,).
    offsets
        Where the ratings of each row start, and where the last row's end; shape (n_rows + 1,).
    others, targets
        Opposite row and target of each rating, grouped by row, shape (n,).
    sums, bias_sums
        Output: ``scale`` times the sum of error times opposite row, shape (n_rows, RANK), and
        ``scale`` times the sum of errors, shape (n_rows,).
    squared_errors
        Output: the sum of squared errors of each row, shape (n_rows,).
    scale
        A factor of the sums.
    RANK
        Number of factors, a power of two.
    BLOCK
        Number of ratings processed at a time, a power of two.
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
        # Vectors of shape (BLOCK,), of which the last block of a row fills only a part.
        at = start + tl.arange(0, BLOCK)
        there = at < last
        other = tl.load(others + at, mask=there, other=0)
        # Rows of the opposite side, shape (BLOCK, RANK).
        cells = opposites + other[:, None] * RANK + k[None, :]
        q = tl.load(cells, mask=there[:, None], other=0.0).to(tl.float32)
        known = bias + tl.load(opposite_bias + other, mask=there, other=0.0)
        error = tl.sum(p[None, :] * q, 1) + known - tl.load(targets + at, mask=there, other=0.0)
        # Lanes without a rating have the error of the row's bias.
        error = tl.where(there, error, 0.0)
        total += tl.sum(error[:, None] * q, 0)
        bias_total += tl.sum(error)
        squares += tl.sum(error * error)
    tl.store(sums + row * RANK + k, total * scale)
    tl.store(bias_sums + row, bias_total * scale)
    tl.store(squared_errors + row, squares)
