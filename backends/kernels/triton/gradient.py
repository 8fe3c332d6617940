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
    """Sum error times opposite row over the ratings of each row; one program per row, no atomics.

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
        Output: ``scale`` times the sums of error times opposite row, shape (n_rows, RANK), and of
        errors, shape (n_rows,).
    squared_errors
        Output: the sum of squared errors of each row, shape (n_rows,).
    RANK, BLOCK
        Number of factors, and of ratings processed at a time; powers of two.
    """
    # The row and its sums stay in registers for all of its ratings.
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
        # BLOCK ratings at a time. Those beyond the row's last one are masked: they load zeros, and
        # their error is set to zero.
        at = start + tl.arange(0, BLOCK)
        exists = at < last
        opposite = tl.load(others + at, mask=exists, other=0)
        cells = opposites + opposite[:, None] * RANK + k[None, :]
        q = tl.load(cells, mask=exists[:, None], other=0.0).to(tl.float32)  # (BLOCK, RANK)
        biases = bias + tl.load(opposite_bias + opposite, mask=exists, other=0.0)
        target = tl.load(targets + at, mask=exists, other=0.0)
        error = tl.sum(p[None, :] * q, 1) + biases - target
        error = tl.where(exists, error, 0.0)
        total += tl.sum(error[:, None] * q, 0)
        bias_total += tl.sum(error)
        squares += tl.sum(error * error)
    tl.store(sums + row * RANK + k, total * scale)
    tl.store(bias_sums + row, bias_total * scale)
    tl.store(squared_errors + row, squares)
