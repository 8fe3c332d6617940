"""The reference of a case: the scores at which exact ALS converges in float64, over several seeds.

References of the built-in data are stored in ``references.json`` next to this file. Others are
computed once and stored in the user's cache folder, by the hash of the data. ``python -m
bench.reference`` computes one and prints it.
"""

from __future__ import annotations

import json
import math
import statistics
import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import numpy as np

from backends import (
    BackendUnavailable,
    Factorizer,
    FactorModel,
    Objective,
    Progress,
    Ratings,
    get_backend,
)
from bench.datasets.public.download import cache_folder
from bench.records import Reference
from bench.text.files import write_whole
from bench.text.progress import Notify
from bench.text.wording import words

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

# A search takes steps of so many points on both grids, first the longest. A quick one takes only
# those.
_STRIDES = (4, 2, 1)
_QUICK_STRIDES = (4,)
_QUICK_SECONDS = 15.0  # after which a quick search tries no further point

_KEPT = Path(__file__).with_name("references.json")
# To be raised whenever references are computed in another way, so that stored ones are not used.
_METHOD = 6
_TOLERANCE = 1e-5  # relative decrease of J in an epoch below which ALS has converged
_COARSE = 2e-4  # the same, less strict: enough to compare values of reg
_MAX_EPOCHS = 300
_VANISHED = 1e-4  # size of p . q in units of the ratings, per factor


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
    quick: bool = False,
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
    quick
        Whether to search with longer steps and for 15 seconds at most, and to use a single seed,
        unless a better reference is stored.
    notify
        Called with progress messages.
    """
    entries = [_entry(key, rank, reg, damping, quick=False)]
    if quick:
        entries.append(_entry(key, rank, reg, damping, quick=True))
    entry = entries[-1]
    cached = _cached(entry)
    for path, stored_entry in [*((_KEPT, e) for e in entries), *((_cached(e), e) for e in entries)]:
        stored = _stored(path, stored_entry)
        if stored is not None:
            objective = Objective(rank, stored["reg"], damping=stored["damping"])
            return objective, cast("Reference", stored["reference"])
    objective = best_objective(
        train, validation, rank, notify, reg=reg, damping=damping, quick=quick
    )
    reference = compute_reference(
        train, validation, test, objective, notify, seeds=SEEDS[:1] if quick else SEEDS
    )
    searched = [name for name, given in (("reg", reg), ("damping", damping)) if given is None]
    notes = _edges(objective, searched)
    if quick and searched:
        how = f"with long steps and in {_QUICK_SECONDS:g} s at most"
        notes.append(f"{words(searched)} chosen by a quick search, {how}")
    reference["note"] = "; ".join(notes)
    try:
        _write(cached, _content(entry, objective, reference))
    except OSError as error:
        with warnings.catch_warnings():
            # Where warnings are errors, this one would fail every backend of a run.
            warnings.simplefilter("always")
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
    quick: bool = False,
) -> Objective:
    """Return the objective with the lowest validation MSE of ALS, over the parameters not given.

    First all of `DAMPINGS` are tried with one reg. A local search alone could not escape from a
    damping that is too strong: the factors vanish there, and for its neighbours as well. From the
    best damping a local search on both grids follows, with long steps first. Each fit starts from
    the best one so far, unless its factors have vanished.

    Raises
    ------
    ValueError
        When the ratings are all equal.
    """
    if train.summary.low == train.summary.high:
        raise ValueError("all training ratings are equal: there is nothing to factorise")
    regs = REGS if reg is None else (reg,)
    dampings = DAMPINGS if damping is None else (damping,)

    start = time.perf_counter()
    scores: dict[tuple[int, ...], float] = {}
    best_model: FactorModel | None = None

    def score(point: tuple[int, ...]) -> float:
        """Return the validation MSE for the indices of a reg and a damping."""
        nonlocal best_model
        if (
            point not in scores
            and quick
            and scores
            and time.perf_counter() > start + _QUICK_SECONDS
        ):
            return math.inf
        if point not in scores:
            tried = Objective(rank, regs[point[0]], damping=dampings[point[1]])
            label = f"choosing reg {tried.reg:g}, damping {tried.damping:g}"
            fit = _fitted(tried, train, Converged(_COARSE, notify, label), initial=best_model)
            found = _score(fit.model_, validation)
            if found < min(scores.values(), default=math.inf):
                best_model = None if _has_vanished(fit.model_, train) else fit.model_
            scores[point] = found
        return scores[point]

    usual_reg = min(range(len(regs)), key=lambda i: abs(regs[i] - Objective.reg))
    first_damping = min(range(len(dampings)), key=lambda i: score((usual_reg, i)))
    point: tuple[int, ...] = (usual_reg, first_damping)
    for stride in _QUICK_STRIDES if quick else _STRIDES:
        point = walk_downhill(score, point, [len(regs), len(dampings)], stride)
    return Objective(rank, regs[point[0]], damping=dampings[point[1]])


def _has_vanished(model: FactorModel, train: Ratings) -> bool:
    """Return whether factors are so small that ALS would stay there under a weaker penalty too."""
    x, unit = model.parameters, Objective().unit(train)
    size = math.sqrt(np.square(x.user_factors).mean() * np.square(x.item_factors).mean())
    return bool(size < _VANISHED * unit)


def _edges(objective: Objective, searched: Sequence[str]) -> list[str]:
    """Return notes on parameters at the edge of their grid, beyond which better ones may lie."""
    notes = []
    for name, grid in (("reg", REGS), ("damping", DAMPINGS)):
        for value, which in ((grid[0], "smallest"), (grid[-1], "largest")):
            # There is no damping below 0.
            if name in searched and getattr(objective, name) == value > 0:
                notes.append(f"{name} is the {which} tried")
    return notes


def compute_reference(
    train: Ratings,
    validation: Ratings,
    test: Ratings | None,
    objective: Objective,
    notify: Notify,
    *,
    seeds: Sequence[int] = SEEDS,
) -> Reference:
    """Run ALS to convergence from each seed; return medians, and the spread of the seeds."""
    validation_scores, test_scores, objectives = [], [], []
    for seed in seeds:
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
        seeds=len(seeds),
    )


def as_stored(key: str, rank: int, objective: Objective, reference: Reference) -> dict[str, Any]:
    """Return the entry of ``references.json`` for a reference whose reg and damping were chosen."""
    return _content(_entry(key, rank, None, None, quick=False), objective, reference)


def keep(stored: dict[str, Any]) -> None:
    """Add entries in the form of `as_stored` to ``references.json``."""
    kept = json.loads(_KEPT.read_text("utf-8")) if _KEPT.is_file() else {}
    _write(_KEPT, kept | stored)


def _fitted(
    objective: Objective,
    train: Ratings,
    callback: Converged,
    seed: int = 0,
    initial: FactorModel | None = None,
) -> Factorizer:
    """Fit ALS in float64 until it has converged: in numba, or else in NumPy, to the same model."""
    options = asdict(objective) | {"dtype": "float64"}
    try:
        als = get_backend("numba-als", **options)
    except BackendUnavailable:
        als = get_backend("numpy-als", **options)
    als.fit(
        train,
        epochs=_MAX_EPOCHS,
        seed=seed,
        initial=initial,
        callback=callback,
        keep="last",
        patience=None,
        evaluate=True,
    )
    if als.status_ == "interrupted":  # by a Ctrl-C: there is a model, but it has not converged
        raise KeyboardInterrupt
    return als


def _entry(key: str, rank: int, reg: float | None, damping: float | None, *, quick: bool) -> str:
    """Return the name under which a reference is stored, made of everything that it depends on."""
    facts = asdict(Objective(rank)) | {"method": _METHOD}
    facts["reg"] = "best" if reg is None else reg
    facts["damping"] = "best" if damping is None else damping
    if quick:
        facts["search"] = "quick"
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
