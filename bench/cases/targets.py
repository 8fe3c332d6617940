"""Does a model reach the matching validation MSE? The error, the fitted baselines, the ladder of targets."""

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

DAMPINGS = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0)  # that are tried for users, and for items
_FIRST_DAMPINGS = (5.0, 2.0)  # of users and items: few data sets want others by far


def mse(model: FactorModel, ratings: Ratings | None) -> float | None:
    """Return the mean squared error of a model on rows, unclipped, in float64; None without ratings."""
    if ratings is None or not len(ratings):
        return None
    return mean_squared_error(model.parameters, ratings)


def baselines(train: Ratings, validation: Ratings, test: Ratings | None) -> dict[str, Score]:
    """Fit the global mean, and biases alone with the dampings that validate best."""
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
    score: Callable[[tuple[int, ...]], float], start: Sequence[int], sizes: Sequence[int]
) -> tuple[int, ...]:
    """Walk on a grid to a point that no neighbour is better than, along one axis after the other.

    Parameters
    ----------
    score
        What is to be small, of a point's indices; asked for once per point.
    start, sizes
        Index to start from, and number of points, of each axis.
    """
    known, at = cache(score), tuple(start)
    while True:
        began = at
        for axis, size in enumerate(sizes):
            for step in (1, -1):
                while 0 <= at[axis] + step < size:
                    there = (*at[:axis], at[axis] + step, *at[axis + 1 :])
                    if not known(there) < known(at):
                        break
                    at = there
        if at == began:
            return at


def meets(score: float, target: float) -> bool:
    """Whether a validation MSE matches a target: the rule of every calibration and of every timed round."""
    return score <= target


def ladder(reference: Reference, scores: dict[str, Score]) -> list[Target]:
    """Return the rungs, loosest first, with the reason for each that is no target on this data."""
    rungs = []
    ours, biases = reference["validation_mse"], scores["biases alone"]["validation_mse"]
    for factor in FACTORS:
        target, dropped = ours * factor, ""
        if target >= biases:
            dropped = f"not below the biases alone ({biases:.4f})"
        elif target - ours < reference["spread"]:
            dropped = f"tighter than the spread of the reference over its seeds ({reference['spread']:.4f})"
        rungs.append(Target(factor=factor, mse=target, dropped=dropped))
    return rungs


def matching_target(rungs: Iterable[Target]) -> Target | None:
    """Return the tightest rung that is kept, but none tighter than `MATCHING`; None where none is left."""
    kept = [rung for rung in rungs if not rung["dropped"] and rung["factor"] >= MATCHING]
    return min(kept, key=lambda rung: rung["factor"]) if kept else None


def _at_the_edge(user_damping: float | None, item_damping: float | None) -> str:
    """Say which damping is the first or last of all, so that a better one may lie beyond."""
    ends = {DAMPINGS[0]: "smallest", DAMPINGS[-1]: "largest"}
    chosen = {"user damping": user_damping, "item damping": item_damping}
    found = [f"{name} is the {ends[one]} tried" for name, one in chosen.items() if one in ends]
    return "; ".join(found)


def bias_mse(mean: float, b: NDArray[Any], c: NDArray[Any], ratings: Ratings) -> float:
    """Return the mean squared error of a mean and biases without factors."""
    no_factors = np.zeros((len(b), 0)), np.zeros((len(c), 0))
    return mean_squared_error(Parameters(mean, b, c, *no_factors), ratings)
