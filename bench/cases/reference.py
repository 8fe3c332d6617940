"""The reference of a case: the scores at which exact ALS converges in float64, over several seeds.

References of the built-in data are stored in ``references.json`` next to this file. Others are
computed once and stored in the user's cache folder, by the hash of the data. ``python -m
bench.reference`` computes one and prints it.
"""

from __future__ import annotations

import json
import statistics
import warnings
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any, cast

from backends import Factorizer, FactorModel, Objective, Progress, Ratings, get_backend
from bench.datasets.public.download import cache_folder
from bench.records import Reference
from bench.text.files import write_whole
from bench.text.progress import Notify

from .targets import mse, walk_downhill

# Values of reg to try. They are pure numbers: the scale of the ratings does not matter.
# fmt: off
REGS = (
    0.005, 0.01, 0.015, 0.02, 0.025, 0.03, 0.035, 0.04, 0.045, 0.05, 0.06, 0.07, 0.08, 0.09, 0.1,
    0.12, 0.14, 0.17, 0.2, 0.25, 0.3, 0.4,
)
# fmt: on
DAMPINGS = (0.0, 10.0, 30.0, 100.0, 280.0, 800.0)
SEEDS = (0, 1, 2)

_KEPT = Path(__file__).with_name("references.json")
# To be raised whenever references are computed in another way, so that stored ones are not used.
_METHOD = 5
_TOLERANCE = 1e-5  # relative decrease of J in an epoch below which ALS has converged
_COARSE = 2e-4  # the same, less strict: enough to compare values of reg
_MAX_EPOCHS = 300


class Converged:
    """A callback that stops a fit when an epoch decreases J by less than a relative tolerance."""

    def __init__(self, tolerance: float, notify: Notify, label: str) -> None:
        self.tolerance, self.notify, self.label = tolerance, notify, label
        self._previous = float("inf")

    def __call__(self, progress: Progress) -> bool:
        """Return whether to stop."""
        objective = progress.record.objective
        self.notify(f"{self.label}: epoch {progress.record.epoch}, J {objective:.5f}")
        decrease = self._previous - objective
        self._previous = objective
        return decrease < self.tolerance * objective


def find_reference(
    train: Ratings,
    validation: Ratings,
    test: Ratings | None,
    *,
    rank: int,
    reg: float | None,
    damping: float | None = None,
    key: str,
    notify: Notify = lambda text: None,
) -> tuple[Objective, Reference]:
    """Return the objective of a case and its reference: stored earlier, or computed now.

    Parameters
    ----------
    train, validation, test
        Ratings; ``test`` may be None.
    rank
        Number of factors.
    reg, damping
        None for the value on the grid (`REGS`, `DAMPINGS`) with the lowest validation MSE of ALS.
    key
        Hash of the data and its split.
    notify
        Called with progress messages.
    """
    entry = _entry(key, rank, reg, damping)
    cached = _cached(entry)
    for path in (_KEPT, cached):
        stored = _stored(path, entry)
        if stored is not None:
            objective = Objective(rank, stored["reg"], damping=stored["damping"])
            return objective, cast("Reference", stored["reference"])
    objective = best_objective(train, validation, rank, notify, reg=reg, damping=damping)
    reference = compute_reference(train, validation, test, objective, notify)
    try:
        _write(cached, _content(entry, objective, reference))
    except OSError as error:
        warnings.warn(
            f"the reference cannot be stored for the next run ({error}); "
            "set FACTORBENCH_CACHE to a folder that can be written to",
            stacklevel=2,
        )
    return objective, reference


def best_objective(
    train: Ratings,
    validation: Ratings,
    rank: int,
    notify: Notify,
    *,
    reg: float | None = None,
    damping: float | None = None,
) -> Objective:
    """Return the objective with the lowest validation MSE of ALS, over the parameters not given.

    First all of `DAMPINGS` are tried with one reg. A local search alone could not escape from a
    damping that is too strong: the factors vanish there, and for its neighbours as well. From the
    best damping a local search on both grids follows.

    Raises
    ------
    ValueError
        When the ratings are all equal.
    """
    if train.summary.low == train.summary.high:
        raise ValueError("all training ratings are equal: there is nothing to factorise")
    regs = REGS if reg is None else (reg,)
    dampings = DAMPINGS if damping is None else (damping,)

    @cache
    def score(point: tuple[int, ...]) -> float:
        """Return the validation MSE for the indices of a reg and a damping."""
        tried = Objective(rank, regs[point[0]], damping=dampings[point[1]])
        label = f"choosing reg {tried.reg:g}, damping {tried.damping:g}"
        fit = _fitted(tried, train, Converged(_COARSE, notify, label))
        return _score(fit.model_, validation)

    usual_reg = min(range(len(regs)), key=lambda i: abs(regs[i] - Objective.reg))
    first_damping = min(range(len(dampings)), key=lambda i: score((usual_reg, i)))
    best_reg, best_damping = walk_downhill(
        score, (usual_reg, first_damping), [len(regs), len(dampings)]
    )
    return Objective(rank, regs[best_reg], damping=dampings[best_damping])


def compute_reference(
    train: Ratings, validation: Ratings, test: Ratings | None, objective: Objective, notify: Notify
) -> Reference:
    """Run ALS to convergence from each of `SEEDS`; return medians, and the spread of the seeds."""
    validation_scores, test_scores, objectives = [], [], []
    for seed in SEEDS:
        als = _fitted(
            objective, train, Converged(_TOLERANCE, notify, f"reference, seed {seed}"), seed
        )
        validation_scores.append(_score(als.model_, validation))
        test_score = mse(als.model_, test)
        if test_score is not None:
            test_scores.append(test_score)
        objectives.append(als.history_[-1].objective)
    return Reference(
        validation_mse=statistics.median(validation_scores),
        test_mse=statistics.median(test_scores) if test_scores else None,
        objective=statistics.median(objectives),
        spread=max(validation_scores) - min(validation_scores),
        seeds=len(SEEDS),
    )


def as_stored(key: str, rank: int, objective: Objective, reference: Reference) -> dict[str, Any]:
    """Return the entry of ``references.json`` for a reference whose reg and damping were chosen."""
    return _content(_entry(key, rank, None, None), objective, reference)


def keep(stored: dict[str, Any]) -> None:
    """Add entries in the form of `as_stored` to ``references.json``."""
    kept = json.loads(_KEPT.read_text("utf-8")) if _KEPT.is_file() else {}
    _write(_KEPT, kept | stored)


def _fitted(objective: Objective, train: Ratings, callback: Converged, seed: int = 0) -> Factorizer:
    als = get_backend("numpy-als", **asdict(objective))
    als.fit(
        train,
        epochs=_MAX_EPOCHS,
        seed=seed,
        callback=callback,
        keep="last",
        patience=None,
        evaluate=True,
    )
    if als.status_ == "interrupted":  # by a Ctrl-C: there is a model, but it has not converged
        raise KeyboardInterrupt
    return als


def _entry(key: str, rank: int, reg: float | None, damping: float | None) -> str:
    """Return the name under which a reference is stored, made of everything that it depends on."""
    facts = asdict(Objective(rank)) | {"method": _METHOD}
    facts["reg"] = "best" if reg is None else reg
    facts["damping"] = "best" if damping is None else damping
    return " ".join([key, *(f"{name}={value}" for name, value in facts.items())])


def _content(entry: str, objective: Objective, reference: Reference) -> dict[str, Any]:
    return {entry: {"reg": objective.reg, "damping": objective.damping, "reference": reference}}


def _stored(path: Path, entry: str) -> dict[str, Any] | None:
    """Return an entry of a file; None if it is not there, or the file is missing or damaged."""
    try:
        known = json.loads(path.read_text("utf-8"))[entry]
        numbers = {name: float(known[name]) for name in ("reg", "damping")}
        return {**numbers, "reference": dict(known["reference"])}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _score(model: FactorModel, ratings: Ratings) -> float:
    score = mse(model, ratings)
    if score is None:
        raise ValueError("a reference needs validation ratings, got none")
    return score


def _cached(entry: str) -> Path:
    return cache_folder() / "references" / f"{entry.replace(' ', '_')}.json"


def _write(path: Path, content: dict[str, Any]) -> None:
    write_whole(path, json.dumps(content, indent=1) + "\n")
