"""The gradient of the squared error for one side, in one pass over its ratings grouped by row.

The ratings of a row are cut into segments of a limited length, so that a row with very many takes
no longer than others. A program sums up a segment (`segment_sums`), another one the segments of a
row (`row_sums`). Nothing is added up by two programs at a time, so the result is always the same.
"""

import triton
import triton.language as tl


@triton.jit
def segment_sums(
    rows: tl.tensor,
    opposites: tl.tensor,
    segment_rows: tl.tensor,
    starts: tl.tensor,
    ends: tl.tensor,
    others: tl.tensor,
    targets: tl.tensor,
    weights: tl.tensor,
    sums: tl.tensor,
    squared_errors: tl.tensor,
    WIDTH: tl.constexpr,
    MAIN: tl.constexpr,
    TAIL: tl.constexpr,
    BLOCK: tl.constexpr,
    WEIGHTED: tl.constexpr,
) -> None:
    """Sum weight times error times opposite row over the ratings of a segment.

    The error of a rating is row . opposite - target. All is computed in the precision of the
    tables.

    Parameters
    ----------
    rows, opposites
        Tables, row-major, shapes (n_rows, WIDTH) and (n_opposite, WIDTH).
    segment_rows, starts, ends
        Row of each segment, its first rating and one past its last, shape (n_segments,).
    others, targets, weights
        Opposite row, target and weight of each rating, grouped by row, shape (n,). Weights are not
        read unless WEIGHTED.
    sums, squared_errors
        Output, shapes (n_segments, WIDTH) and (n_segments,).
    MAIN, TAIL
        Powers of two, or TAIL is 0: a row is read as MAIN numbers and TAIL further ones. Those
        beyond WIDTH are masked.
    BLOCK
        Ratings processed at a time; a power of two.
    """
    segment = tl.program_id(0)
    row = tl.load(segment_rows + segment).to(tl.int64)
    first = tl.load(starts + segment)
    last = tl.load(ends + segment)
    k = tl.arange(0, MAIN)
    inside = k < WIDTH
    # The row and its sums stay in registers.
    p = tl.load(rows + row * WIDTH + k, mask=inside, other=0.0)
    total = tl.zeros_like(p)
    squares = tl.sum(total)
    if TAIL > 0:
        tail = MAIN + tl.arange(0, TAIL)
        p_tail = tl.load(rows + row * WIDTH + tail)
        tail_total = tl.zeros_like(p_tail)
    for start in range(first, last, BLOCK):
        # Those beyond the last one load zeros, and their error is set to zero.
        at = start + tl.arange(0, BLOCK)
        exists = at < last
        opposite = tl.load(others + at, mask=exists, other=0).to(tl.int64) * WIDTH
        cells = opposites + opposite[:, None] + k[None, :]
        q = tl.load(cells, mask=exists[:, None] & inside[None, :], other=0.0)  # (BLOCK, MAIN)
        error = tl.sum(p[None, :] * q, 1) - tl.load(targets + at, mask=exists, other=0.0)
        if TAIL > 0:
            tail_cells = opposites + opposite[:, None] + tail[None, :]
            q_tail = tl.load(tail_cells, mask=exists[:, None], other=0.0)
            error += tl.sum(p_tail[None, :] * q_tail, 1)
        error = tl.where(exists, error, 0.0)
        weighted = error
        if WEIGHTED:
            weighted = error * tl.load(weights + at, mask=exists, other=0.0)
        total += tl.sum(weighted[:, None] * q, 0)
        if TAIL > 0:
            tail_total += tl.sum(weighted[:, None] * q_tail, 0)
        squares += tl.sum(weighted * error)
    tl.store(sums + segment.to(tl.int64) * WIDTH + k, total, mask=inside)
    if TAIL > 0:
        tl.store(sums + segment.to(tl.int64) * WIDTH + tail, tail_total)
    tl.store(squared_errors + segment, squares)


@triton.jit
def row_sums(
    sums: tl.tensor,
    row_segments: tl.tensor,
    out: tl.tensor,
    scale: tl.tensor,
    WIDTH: tl.constexpr,
    PADDED: tl.constexpr,
) -> None:
    """Add up the segments of a row.

    Parameters
    ----------
    sums
        Of the segments, shape (n_segments, WIDTH).
    row_segments
        The first segment of each row, and one past the last one's last; shape (n_rows + 1,).
    out
        Output: ``scale`` times the sum of the row's segments, shape (n_rows, WIDTH).
    scale
        Shape (1,), in the precision of ``out``. An argument that is a number would be rounded to
        float32.
    PADDED
        The power of two that WIDTH fits into.
    """
    row = tl.program_id(0)
    k = tl.arange(0, PADDED)
    inside = k < WIDTH
    total = tl.zeros((PADDED,), out.dtype.element_ty)
    for segment in range(tl.load(row_segments + row), tl.load(row_segments + row + 1)):
        total += tl.load(sums + segment * WIDTH + k, mask=inside, other=0.0)
    tl.store(out + row.to(tl.int64) * WIDTH + k, total * tl.load(scale), mask=inside)
