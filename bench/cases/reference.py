"""The reference of a case: where exact alternating least squares ends, in float64, from several seeds.

References of the embedded data are kept in ``references.json`` beside this file; others are computed once and
remembered in the user's cache folder, under the hash of the data. ``python -m bench.reference`` computes one and
prints it.
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
from bench.text.progress import Say

from .targets import mse, walk_downhill

# Values of reg that are tried: pure numbers, whatever the scale of the ratings.
REGS = (
    *(0.005, 0.01, 0.015, 0.02, 0.025, 0.03, 0.035, 0.04, 0.045, 0.05, 0.06, 0.07, 0.08, 0.09, 0.1),
    *(0.12, 0.14, 0.17, 0.2, 0.25, 0.3, 0.4),
)
DAMPINGS = (0.0, 10.0, 30.0, 100.0, 280.0, 800.0)
SEEDS = (0, 1, 2)

_KEPT = Path(__file__).with_name("references.json")
_METHOD = 5  # raised whenever references come out otherwise: stored ones are then computed anew
_TOLERANCE = 1e-5  # relative fall of J in an epoch at which ALS counts as converged
_COARSE = 2e-4  # enough to compare values of reg
_MAX_EPOCHS = 300


class Converged:
    """A callback that stops a fit when J falls by less than a relative tolerance."""

    def __init__(self, tolerance: float, say: Say, label: str) -> None:
        self.tolerance, self.say, self.label = tolerance, say, label
        self.last = float("inf")

    def __call__(self, progress: Progress) -> bool:
        """Return whether to stop."""
        now = progress.record.objective
        self.say(f"{self.label}: epoch {progress.record.epoch}, J {now:.5f}")
        done = self.last - now < self.tolerance * now
        self.last = now
        return done


def find_reference(
    train: Ratings,
    validation: Ratings,
    test: Ratings | None,
    *,
    rank: int,
    reg: float | None,
    damping: float | None = None,
    key: str,
    say: Say = lambda text: None,
) -> tuple[Objective, Reference]:
    """Return the objective and its reference: kept with the project, remembered, or computed now.

    Parameters
    ----------
    reg, damping
        None for the one on the grids `REGS` and `DAMPINGS` that minimises the validation MSE of ALS.
    key
        Hash of the data and its split.
    say
        Is told about the progress, a line at a time.
    """
    entry = _entry(key, rank, reg, damping)
    for stored in (_KEPT, _remembered(entry)):
        if known := _stored(stored, entry):
            objective = Objective(rank, known["reg"], damping=known["damping"])
            return objective, cast("Reference", known["reference"])
    best = best_objective(train, validation, rank, say, reg=reg, damping=damping)
    reference = compute_reference(train, validation, test, best, say)
    try:
        _write(_remembered(entry), _content(entry, best, reference))
    except OSError as error:
        warnings.warn(f"the reference cannot be remembered ({error}); set FACTORBENCH_CACHE", stacklevel=2)
    return best, reference


def best_objective(
    train: Ratings,
    validation: Ratings,
    rank: int,
    say: Say,
    *,
    reg: float | None = None,
    damping: float | None = None,
) -> Objective:
    """Return the objective whose ALS validates best, on the grids of what is not given.

    The damping is tried first, all of `DAMPINGS`: where it is too strong the factors vanish, and nothing near it is any
    better. From the best one on, it walks downhill on both grids.

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
    def score(at: tuple[int, ...]) -> float:
        tried = Objective(rank, regs[at[0]], damping=dampings[at[1]])
        callback = Converged(_COARSE, say, f"choosing reg {tried.reg:g}, damping {tried.damping:g}")
        return _score(_fitted(tried, train, callback).model_, validation)

    first = min(range(len(regs)), key=lambda at: abs(regs[at] - Objective.reg))
    start = first, min(range(len(dampings)), key=lambda at: score((first, at)))
    best = walk_downhill(score, start, [len(regs), len(dampings)])
    return Objective(rank, regs[best[0]], damping=dampings[best[1]])


def compute_reference(
    train: Ratings, validation: Ratings, test: Ratings | None, objective: Objective, say: Say
) -> Reference:
    """Run ALS to convergence from each of `SEEDS`; the medians, and the spread of the validation MSE."""
    results = []
    for seed in SEEDS:
        als = _fitted(objective, train, Converged(_TOLERANCE, say, f"reference, seed {seed}"), seed)
        results.append((_score(als.model_, validation), mse(als.model_, test), als.history_[-1].objective))
    on_validation, on_test, objectives = zip(*results, strict=True)
    return Reference(
        validation_mse=statistics.median(on_validation),
        test_mse=None if on_test[0] is None else statistics.median(on_test),
        objective=statistics.median(objectives),
        spread=max(on_validation) - min(on_validation),
        seeds=len(SEEDS),
    )


def as_stored(key: str, rank: int, objective: Objective, reference: Reference) -> dict[str, Any]:
    """Return a reference whose reg and damping were chosen, in the form in which it is kept."""
    return _content(_entry(key, rank, None, None), objective, reference)


def keep(stored: dict[str, Any]) -> None:
    """Keep references with the project, in the form of `as_stored`."""
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
    if als.status_ == "interrupted":  # by Ctrl-C: there is a model, but it is no reference
        raise KeyboardInterrupt
    return als


def _entry(key: str, rank: int, reg: float | None, damping: float | None) -> str:
    """Name what a reference depends on: the data, the objective, and how references are computed."""
    facts = asdict(Objective(rank)) | {"method": _METHOD}
    facts |= {name: "best" if given is None else given for name, given in (("reg", reg), ("damping", damping))}
    return " ".join([key, *(f"{name}={value}" for name, value in facts.items())])


def _content(entry: str, objective: Objective, reference: Reference) -> dict[str, Any]:
    return {entry: {"reg": objective.reg, "damping": objective.damping, "reference": reference}}


def _stored(path: Path, entry: str) -> dict[str, Any] | None:
    """Return what a file holds of an entry; None also for a damaged file, which is as good as none."""
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


def _remembered(entry: str) -> Path:
    return cache_folder() / "references" / f"{entry.replace(' ', '_')}.json"


def _write(path: Path, content: dict[str, Any]) -> None:
    write_whole(path, json.dumps(content, indent=1) + "\n")
