"""Does a model reach the matching validation MSE? The error, the fitted baselines, the ladder of targets."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backends import FactorModel, Ratings

from .records import Reference, Rung, Score

FACTORS = (1.05, 1.01, 1.001)
MATCHING = 1.01

_BIAS_REGS = (0.0, 0.005, 0.01, 0.02, 0.04, 0.07, 0.12, 0.2)
_BIAS_SWEEPS = 20


def mse(model: FactorModel, ratings: Ratings | None) -> float | None:
    """Mean squared error of ``model.predict``, unclipped, in float64; None without ratings."""
    if ratings is None or not len(ratings):
        return None
    return float(np.mean(np.square(model.predict(ratings.users, ratings.items) - ratings.ratings)))


def baselines(train: Ratings, validation: Ratings, test: Ratings | None) -> dict[str, Score]:
    """Fit the global mean, and biases alone with the reg that serves them best on the validation set."""
    mean = float(train.ratings.mean(dtype=np.float64))
    zeros = np.zeros(train.n_users), np.zeros(train.n_items)
    candidates = []
    for reg in _BIAS_REGS:
        biases = _fit_biases(train, mean, reg)
        candidates.append((_bias_mse(mean, *biases, validation), reg, biases))
    _, reg, biases = min(candidates, key=lambda candidate: candidate[0] or 0.0)
    return {
        "global mean": _score(mean, *zeros, None, validation, test),
        "biases alone": _score(mean, *biases, reg, validation, test),
    }


def ladder(reference: Reference, scores: dict[str, Score]) -> list[Rung]:
    """Return the rungs, loosest first, with the reason for each that is no target on this data."""
    rungs = []
    ours, biases = reference["validation_mse"], scores["biases alone"]["validation_mse"]
    for factor in FACTORS:
        target, dropped = ours * factor, ""
        if target >= biases:
            dropped = f"not below the biases alone ({biases:.4f})"
        elif target - ours < reference["spread"]:
            dropped = f"tighter than the spread of the reference over its seeds ({reference['spread']:.4f})"
        rungs.append(Rung(factor=factor, mse=target, dropped=dropped))
    return rungs


def matching_rung(rungs: Iterable[Rung]) -> Rung | None:
    """Return the tightest rung that is kept, but none tighter than `MATCHING`; None where none is left."""
    kept = [rung for rung in rungs if not rung["dropped"] and rung["factor"] >= MATCHING]
    return min(kept, key=lambda rung: rung["factor"]) if kept else None


def _fit_biases(train: Ratings, mean: float, reg: float) -> tuple[NDArray[Any], NDArray[Any]]:
    """Minimise sum (r - m - b_u - c_i)^2 + reg (n_u b_u^2 + n_i c_i^2) by alternating."""
    residual = train.ratings.astype(np.float64) - mean
    users, items = np.maximum(train.user_counts(), 1), np.maximum(train.item_counts(), 1)
    b, c = np.zeros(train.n_users), np.zeros(train.n_items)
    for _ in range(_BIAS_SWEEPS):
        c = np.bincount(train.items, residual - b[train.users], train.n_items) / (items * (1 + reg))
        b = np.bincount(train.users, residual - c[train.items], train.n_users) / (users * (1 + reg))
    return b, c


def _bias_mse(mean: float, b: NDArray[Any], c: NDArray[Any], ratings: Ratings | None) -> float | None:
    if ratings is None or not len(ratings):
        return None
    return float(np.mean(np.square(mean + b[ratings.users] + c[ratings.items] - ratings.ratings)))


def _score(
    mean: float, b: NDArray[Any], c: NDArray[Any], reg: float | None, validation: Ratings, test: Ratings | None
) -> Score:
    on_validation = _bias_mse(mean, b, c, validation)
    assert on_validation is not None  # a case has validation ratings
    return Score(validation_mse=on_validation, test_mse=_bias_mse(mean, b, c, test), reg=reg)
