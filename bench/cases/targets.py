"""Targets: which validation MSE a backend has to reach, and whether a model reaches it.

The reference is the validation MSE at which exact ALS converges. Targets are multiples of it, the
`FACTORS`. Two kinds of targets are dropped because reaching them would prove nothing: those that
the mean or biases without any factors reach, and those within the spread of the reference over its
seeds. Of the others, the tightest up to `MATCHING` is the one that backends are timed to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backends import FactorModel, Parameters, Ratings, damped_biases, mean_squared_error
from bench.records import Reference, Score, Target

FACTORS = (1.05, 1.01, 1.001)
MATCHING = 1.01

DAMPINGS = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0)  # tried for users and for items
# Of users and of items, to start the search from: the best ones are rarely far from these.
_FIRST_DAMPINGS = (5.0, 2.0)


def mse(model: FactorModel, ratings: Ratings | None) -> float | None:
    """Return a model's mean squared error, unclipped, in float64; None if there are no ratings."""
    if ratings is None or not len(ratings):
        return None
    return mean_squared_error(model.parameters, ratings)


def baselines(train: Ratings, validation: Ratings, test: Ratings | None) -> dict[str, Score]:
    """Return the scores of models without factors, by name.

    "global mean" predicts the mean of the training ratings. "biases alone" adds user and item
    biases, with the dampings that are best on the validation ratings.
    """
    mean = train.summary.mean
    zeros = np.zeros(train.n_users), np.zeros(train.n_items)

    @cache
    def biases(user: int, item: int) -> tuple[NDArray[Any], NDArray[Any]]:
        return damped_biases(train, user_damping=DAMPINGS[user], item_damping=DAMPINGS[item])

    def score(at: tuple[int, ...]) -> float:
        return bias_mse(mean, *biases(*at), validation)

    start = [DAMPINGS.index(damping) for damping in _FIRST_DAMPINGS]
    user, item = walk_downhill(score, start, [len(DAMPINGS)] * 2)

    def scored(
        b: NDArray[Any],
        c: NDArray[Any],
        user_damping: float | None = None,
        item_damping: float | None = None,
    ) -> Score:
        return Score(
            validation_mse=bias_mse(mean, b, c, validation),
            test_mse=bias_mse(mean, b, c, test) if test else None,
            reg=None,
            user_damping=user_damping,
            item_damping=item_damping,
            note=_at_the_edge(user_damping, item_damping),
        )

    return {
        "global mean": scored(*zeros),
        "biases alone": scored(*biases(user, item), DAMPINGS[user], DAMPINGS[item]),
    }


def walk_downhill(
    score: Callable[[tuple[int, ...]], float],
    start: Sequence[int],
    sizes: Sequence[int],
    stride: int = 1,
) -> tuple[int, ...]:
    """Return a local minimum on a grid, found by walking along one axis after the other.

    Parameters
    ----------
    score
        The function to minimise, of the indices of a point; called once per point.
    start
        Indices of the first point, one per axis.
    sizes
        Number of points on each axis.
    stride
        How many points a step goes.

    Returns
    -------
    tuple of int
        Indices of a point from which no step along any axis leads to a better one.
    """
    cached_score, point = cache(score), tuple(start)
    while True:
        before = point
        for axis, size in enumerate(sizes):
            for step in (stride, -stride):
                while True:
                    # A step that would go beyond the grid goes to its edge.
                    there = min(max(point[axis] + step, 0), size - 1)
                    neighbour = (*point[:axis], there, *point[axis + 1 :])
                    # Not written as >=, with which a NaN would count as an improvement.
                    if not cached_score(neighbour) < cached_score(point):
                        break
                    point = neighbour
        if point == before:
            return point


def meets(score: float, target: float) -> bool:
    """Return whether a validation MSE reaches a target, in calibrations as in timed rounds."""
    return score <= target


def ladder(reference: Reference, scores: dict[str, Score]) -> list[Target]:
    """Return all targets, loosest first; those to drop contain the reason."""
    targets = []
    best = reference["validation_mse"]
    simplest = min(scores, key=lambda name: scores[name]["validation_mse"])
    without_factors = scores[simplest]["validation_mse"]
    spread = reference["spread"]
    for factor in FACTORS:
        target, dropped = best * factor, ""
        if target >= without_factors:
            dropped = f"not below the {simplest} ({without_factors:.4f})"
        elif target - best < spread:
            dropped = f"tighter than the spread of the reference over its seeds ({spread:.4f})"
        targets.append(Target(factor=factor, mse=target, dropped=dropped))
    return targets


def matching_target(targets: Iterable[Target]) -> Target | None:
    """Return the tightest target that was not dropped, but none tighter than `MATCHING`.

    None if there is no such target.
    """
    candidates = [
        target for target in targets if not target["dropped"] and target["factor"] >= MATCHING
    ]
    return min(candidates, key=lambda target: target["factor"], default=None)


def _at_the_edge(user_damping: float | None, item_damping: float | None) -> str:
    """Return a note if a damping is the first or last tried: a better one may lie beyond."""
    notes = []
    for name, damping in (("user damping", user_damping), ("item damping", item_damping)):
        if damping == DAMPINGS[0]:
            notes.append(f"{name} is the smallest tried")
        if damping == DAMPINGS[-1]:
            notes.append(f"{name} is the largest tried")
    return "; ".join(notes)


def bias_mse(mean: float, b: NDArray[Any], c: NDArray[Any], ratings: Ratings) -> float:
    """Return the mean squared error of a model without factors.

    Parameters
    ----------
    mean
        Global mean.
    b, c
        Biases of the users, shape (n_users,), and of the items, shape (n_items,).
    ratings
        What to predict.
    """
    no_factors = np.zeros((len(b), 0)), np.zeros((len(c), 0))
    return mean_squared_error(Parameters(mean, b, c, *no_factors), ratings)
