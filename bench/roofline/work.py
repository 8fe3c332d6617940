"""The work of an epoch, counted by hand for each algorithm: operations, bytes, and chains of updates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from bench.records import CaseFacts

_FLOAT = 4  # bytes of a number


class Work(NamedTuple):
    """Per rating and epoch: floating-point operations, and bytes to and from memory."""

    flops: float
    bytes: float


@dataclass(frozen=True)
class WorkModel:
    """An algorithm's work as a function of rank, data and cache size in bytes, with what it assumes.

    ``chains``: by rank, how many independent rows a thread updates in turn, where the next rating of a row has to wait
    for the update of the last; 0 where none waits.
    """

    name: str
    work: Callable[[int, CaseFacts, float], Work]
    chains: Callable[[int], int]
    assumptions: tuple[str, ...]


def sgd_work(rank: int, facts: CaseFacts, cache: float) -> Work:
    """Count per-rating SGD with row-wise AdaGrad steps, in the fewest operations in which one pass can compute it.

    Per factor: dot product 2, decay and step 3 for either row, 8 in all. The mean squared step follows from the dot
    product and the rows' norms, which the pass carries along.
    """
    fewer, more = sorted((facts["n_users"], facts["n_items"]))
    row = _FLOAT * rank
    traffic = 2 * row * _uncached(row * more, cache)  # the row of the side that has more of them, there and back
    traffic += 2 * row * fewer / facts["n_train"] * _uncached(row * (fewer + more), cache)
    return Work(8.0 * rank, 2 * _FLOAT + traffic)


def sgd_chains(rank: int) -> int:
    """Return how many rows of one side this project's kernel takes in turn."""
    return 4 if rank <= 64 else 2


def descent_work(rank: int, facts: CaseFacts, cache: float) -> Work:
    """Count one iteration of momentum gradient descent.

    Per rating and factor: dot product 2, both gradients 2 each. Per row and factor: penalty 2, scale 1, momentum 2,
    step 2.
    """
    n_users, n_items, n = facts["n_users"], facts["n_items"], facts["n_train"]
    row, rows = _FLOAT * rank, n_users + n_items
    # The item's row, and its gradient there and back; then the user's row and gradient, once per user.
    sweep = 3 * row * _uncached(2 * row * n_items, cache)
    # The update reads point, gradient and velocity, and writes velocity and point.
    per_row = (2 * row * n_users + 5 * row * rows) * _uncached(4 * row * rows, cache)
    return Work(6.0 * rank + 7.0 * rank * rows / n, 2 * _FLOAT + sweep + per_row / n)


def _uncached(size: float, cache: float) -> float:
    """Return the share of a table that the last-level cache cannot hold."""
    return max(0.0, 1 - cache / size)


_COMMON = (
    "Each rating is streamed from memory once per epoch: item id and value, 8 bytes. Rows count as memory traffic "
    "only for the share of their tables that the last-level cache cannot hold.",
    "Work that does not grow with the rank (biases, roots, loop overhead) is left out, which keeps a limit a limit.",
)


_SGD = WorkModel(
    "per-rating SGD",
    sgd_work,
    chains=sgd_chains,
    assumptions=(
        "Per-rating SGD with row-wise AdaGrad steps: 8 operations per factor and rating (dot product 2, decay and step "
        "3 for either row). A row of the side that has fewer stays in registers while its ratings are handled. Four "
        "of them up to rank 64, two beyond, are taken in turn: as many chains of updates are under way in each thread.",
        *_COMMON,
    ),
)


_DESCENT = WorkModel(
    "gradient descent",
    descent_work,
    chains=lambda rank: 0,
    assumptions=(
        "Gradient descent: 6 operations per factor and rating (dot product 2, both gradients 2 each), 7 per factor and "
        "row for the update. Tables: point, gradient, velocity, next point.",
        *_COMMON,
    ),
)


# By name, as a backend's registry row has it.
WORK_MODELS = {model.name: model for model in (_DESCENT, _SGD)}
