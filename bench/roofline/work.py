"""The work of an epoch, counted for each algorithm: operations, bytes, and chains of updates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from bench.records import CaseFacts

_FLOAT = 4  # bytes of a float32


class Work(NamedTuple):
    """Floating-point operations, and bytes to and from memory, per rating and epoch."""

    flops: float
    bytes: float


@dataclass(frozen=True)
class WorkModel:
    """The work of an algorithm.

    Attributes
    ----------
    name
        Name of the algorithm.
    work
        Function of rank, case and cache size in bytes.
    chains
        Function of the rank: how many chains of dependent updates a thread advances at a time; 0
        for an algorithm whose updates do not wait for each other.
    assumptions
        What the count assumes, in sentences for the report.
    """

    name: str
    work: Callable[[int, CaseFacts, float], Work]
    chains: Callable[[int], int]
    assumptions: tuple[str, ...]


def sgd_work(rank: int, facts: CaseFacts, cache: float, size: int = _FLOAT) -> Work:
    """Count per-rating SGD with one AdaGrad accumulator per row, in as few operations as possible.

    ``size`` is that of a stored factor in bytes.

    Per factor: 2 for the dot product, and 3 for decay and step of each of the two rows, together 8.
    The squared gradient for the accumulator follows from the error and the norm of the other row,
    which is updated rather than computed.
    """
    fewer, more = sorted((facts["n_users"], facts["n_items"]))
    row = size * rank  # bytes of a row
    # The ratings are grouped by the side with fewer rows. Each rating reads and writes a row of the
    # other side; a row of the grouping side is read and written once for all of its ratings.
    traffic = 2 * row * _uncached(row * more, cache)
    traffic += 2 * row * fewer / facts["n_train"] * _uncached(row * (fewer + more), cache)
    return Work(8.0 * rank, 2 * _FLOAT + traffic)


def sgd_chains(rank: int) -> int:
    """Return how many ratings this project's kernel processes at a time, each of another row."""
    return 4 if rank <= 64 else 2


def descent_work(rank: int, facts: CaseFacts, cache: float) -> Work:
    """Count one iteration of momentum gradient descent.

    Per rating and factor: 2 for the dot product and 2 for each of the two gradients. Per row and
    factor: 2 for the penalty, 1 for the scale, 2 for the momentum and 2 for the step.
    """
    n_users, n_items, n_ratings = facts["n_users"], facts["n_items"], facts["n_train"]
    row, n_rows = _FLOAT * rank, n_users + n_items  # bytes of a row; rows of both sides
    # Every rating reads its item's row, and reads and writes the gradient of that row.
    per_rating = 3 * row * _uncached(2 * row * n_items, cache)
    # A user's row and gradient are moved once per user. The update reads point, gradient and
    # velocity of every row, and writes velocity and point.
    per_row = (2 * row * n_users + 5 * row * n_rows) * _uncached(4 * row * n_rows, cache)
    flops = 6.0 * rank + 7.0 * rank * n_rows / n_ratings
    return Work(flops, 2 * _FLOAT + per_rating + per_row / n_ratings)


def adam_work(rank: int, facts: CaseFacts, cache: float) -> Work:
    """Count an epoch of mini-batch Adam with as many batches as the torch backends make.

    Per rating the products are those of gradient descent. Per batch, row and factor: 2 for the
    penalty, 1 for the scale, 6 for the two running means and 5 for the step.
    """
    n_users, n_items, n_ratings = facts["n_users"], facts["n_items"], facts["n_train"]
    row, n_rows = _FLOAT * rank, n_users + n_items
    batches = adam_batches(n_ratings, n_rows)
    # Every rating reads its item's row, and reads and writes the gradient of that row.
    per_rating = 3 * row * _uncached(2 * row * n_items, cache)
    # In each batch, a row's point, gradient and both means are read, and all four are written.
    per_row = 8 * row * n_rows * batches * _uncached(4 * row * n_rows, cache)
    flops = 6.0 * rank + 14.0 * rank * n_rows * batches / n_ratings
    return Work(flops, 2 * _FLOAT + per_rating + per_row / n_ratings)


def adam_batches(n_ratings: int, n_rows: int) -> int:
    """Return the number of mini-batches of an epoch: four ratings per row, at least 16."""
    return -(-n_ratings // min(4 * n_rows, -(-n_ratings // 16)))


def alternating_work(rank: int, facts: CaseFacts, cache: float) -> Work:
    """Count one epoch of alternating least squares by Cholesky, both sides, in multiply-adds.

    Per rating and side: the upper triangle of the Gram matrix, and 1 per factor for the right-hand
    side. Per row: rank^3 / 6 for the factorisation.
    """
    n_users, n_items, n_ratings = facts["n_users"], facts["n_items"], facts["n_train"]
    row = _FLOAT * rank  # bytes of a row
    per_rating = rank * (rank + 1) / 2 + rank
    per_row = rank**3 / 6
    multiply_adds = 2 * per_rating + per_row * (n_users + n_items) / n_ratings
    # Each rating reads its item's row in one half-epoch, and its user's in the other.
    traffic = row * (_uncached(row * n_items, cache) + _uncached(row * n_users, cache))
    return Work(2 * multiply_adds, 2 * 2 * _FLOAT + traffic)


def _uncached(size: float, cache: float) -> float:
    """Return the share of a table of ``size`` bytes that does not fit into the cache."""
    return max(0.0, 1 - cache / size)


_READ_ONCE = "Each rating is read from memory once per epoch: item id and value, 8 bytes."

_COMMON = (
    "Rows of factors count as memory traffic only for the share of their tables that does not fit "
    "into the last-level cache.",
    "Work that does not grow with the number of factors (biases, roots, loop overhead) is not "
    "counted, so that the limit remains a lower bound.",
)

_SGD = WorkModel(
    "per-rating SGD",
    sgd_work,
    chains=sgd_chains,
    assumptions=(
        "Per-rating SGD with one AdaGrad accumulator per row: 8 operations per factor and rating "
        "(2 for the dot product, 3 for decay and step of each of the two rows). A row of the side "
        "with fewer rows stays in registers while its ratings are processed. Each thread processes "
        "four such rows at a time for up to 64 factors, and two for more, so that many chains of "
        "updates overlap.",
        _READ_ONCE,
        *_COMMON,
    ),
)

_DESCENT = WorkModel(
    "gradient descent",
    descent_work,
    chains=lambda rank: 0,
    assumptions=(
        "Gradient descent: 6 operations per factor and rating (2 for the dot product, 2 for each "
        "of the two gradients), and 7 per factor and row for the update. Tables: point, gradient, "
        "velocity, next point.",
        _READ_ONCE,
        *_COMMON,
    ),
)

_HALF_SGD = WorkModel(
    "per-rating SGD in half precision",
    partial(sgd_work, size=2),
    chains=lambda rank: 0,
    assumptions=(
        "Per-rating SGD in half precision: at least the operations and traffic of per-rating SGD, "
        "with 2 bytes a stored factor. Each of many programs visits one rating after the other; "
        "how long it waits for each is not counted.",
        _READ_ONCE,
        *_COMMON,
    ),
)

_ADAM = WorkModel(
    "mini-batch Adam",
    adam_work,
    chains=lambda rank: 0,
    assumptions=(
        "Mini-batch Adam: per factor and rating 6 operations, as in gradient descent; in each "
        "batch, 14 per factor and row for penalty, running means and step. Tables: point, "
        "gradient and both running means, all of which a batch reads and writes. A batch has four "
        "ratings per row, but an epoch at least 16 batches.",
        _READ_ONCE,
        *_COMMON,
    ),
)

_ALTERNATING = WorkModel(
    "alternating least squares",
    alternating_work,
    chains=lambda rank: 0,
    assumptions=(
        "Alternating least squares: for each rating and side, 2 operations per number of the upper "
        "triangle of the Gram matrix and 2 per factor for the right-hand side; rank^3 / 3 per row "
        "for the Cholesky factorisation.",
        "Each rating is read from memory twice per epoch, once by user and once by item: id and "
        "value, 8 bytes.",
        *_COMMON,
    ),
)

# By name, which is in the backend's row of the registry.
WORK_MODELS = {model.name: model for model in (_ADAM, _ALTERNATING, _DESCENT, _HALF_SGD, _SGD)}
