"""The reference of a case: where exact alternating least squares ends, in float64, from several seeds.

References of the embedded data are kept in ``references.json`` beside this file; others are computed once and
remembered in the user's cache folder, under the hash of the data. ``python -m bench.reference`` computes one and
prints it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np

from backends import Factorizer, FactorModel, Objective, Progress, Ratings, get_backend

from .datasets.download import cache_folder
from .gate import mse
from .records import Reference

# Values of reg that are tried, in standard deviations of the ratings: its best value grows with their scale.
REGS = (
    *(0.005, 0.01, 0.015, 0.02, 0.025, 0.03, 0.035, 0.04, 0.045, 0.05, 0.06, 0.07, 0.08, 0.09, 0.1),
    *(0.12, 0.14, 0.17, 0.2, 0.25, 0.3, 0.4),
)
SEEDS = (0, 1, 2)

_KEPT = Path(__file__).with_name("references.json")
_METHOD = 4  # raised whenever references come out otherwise: stored ones are then computed anew
_TOLERANCE = 1e-5  # relative fall of J in an epoch at which ALS counts as converged
_COARSE = 2e-4  # enough to compare values of reg
_MAX_EPOCHS = 300

Say = Callable[[str], None]


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
    key: str,
    say: Say = lambda text: None,
) -> tuple[float, Reference]:
    """Return reg and the reference: kept with the project, remembered from before, or computed now.

    Parameters
    ----------
    reg
        None for the one that minimises the validation MSE of ALS on the grid `REGS`.
    key
        Hash of the data and its split.
    say
        Is told about the progress, a line at a time.
    """
    entry = _entry(key, rank, reg)
    for stored in (_KEPT, _remembered(entry)):
        if known := _stored(stored, entry):
            return known["reg"], cast("Reference", known["reference"])
    best = reg if reg is not None else best_reg(train, validation, rank, say)
    reference = compute_reference(train, validation, test, Objective(rank, best), say)
    try:
        _write(_remembered(entry), {entry: {"reg": best, "reference": reference}})
    except OSError as error:
        warnings.warn(f"the reference cannot be remembered ({error}); set FACTORBENCH_CACHE", stacklevel=2)
    return best, reference


def best_reg(train: Ratings, validation: Ratings, rank: int, say: Say) -> float:
    """Walk downhill on the grid `REGS` from its middle; the validation MSE of ALS is what counts.

    Raises
    ------
    ValueError
        When the ratings are all equal, so that no scale is known.
    """
    scale = float(np.std(train.ratings, dtype=np.float64))
    if not scale > 0:
        raise ValueError("all training ratings are equal: there is nothing to factorise")
    regs = [float(f"{scale * reg:.3g}") for reg in REGS]
    scores: dict[int, float] = {}

    def score(at: int) -> float:
        if at not in scores:
            callback = Converged(_COARSE, say, f"choosing reg, {regs[at]:g}")
            als = _fitted(Objective(rank, regs[at]), train, callback)
            scores[at] = _score(als.model_, validation)
        return scores[at]

    at = REGS.index(0.07)
    while True:
        neighbours = [n for n in (at - 1, at + 1) if 0 <= n < len(regs)]
        best = min(neighbours, key=score)
        if score(best) >= score(at):
            return regs[at]
        at = best


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


def _fitted(objective: Objective, train: Ratings, callback: Converged, seed: int = 0) -> Factorizer:
    als = get_backend("numpy-als", rank=objective.rank, reg=objective.reg)
    als.fit(train, epochs=_MAX_EPOCHS, seed=seed, callback=callback)
    if als.status_ == "interrupted":  # by Ctrl-C: there is a model, but it is no reference
        raise KeyboardInterrupt
    return als


def _entry(key: str, rank: int, reg: float | None) -> str:
    """Name what a reference depends on: the data, the objective, and how references are computed."""
    return f"{key} rank={rank} reg={'best' if reg is None else repr(reg)} method={_METHOD}"


def _stored(path: Path, entry: str) -> dict[str, Any] | None:
    """Return what a file holds of an entry; None also for a damaged file, which is as good as none."""
    try:
        known = json.loads(path.read_text("utf-8"))[entry]
        return {"reg": float(known["reg"]), "reference": dict(known["reference"])}
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
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part")
    partial.write_text(json.dumps(content, indent=1) + "\n", "utf-8")
    os.replace(partial, path)


def main() -> None:
    """Compute the reference of a data set anew; with --keep, store it with the project."""
    from .cases import encode
    from .datasets import load_dataset

    parser = argparse.ArgumentParser(prog="python -m bench.reference", description=main.__doc__)
    parser.add_argument("--dataset", default="twin")
    parser.add_argument("--scale", type=float, default=0.2, help="size of the twin")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0, help="seed of data and split")
    parser.add_argument("--keep", action="store_true", help="store it in references.json beside this module")
    options = parser.parse_args()

    data = encode(load_dataset(options.dataset, seed=options.seed, scale=options.scale))
    say: Say = lambda text: print(f"\r{text:<78}", end="", flush=True)  # noqa: E731  # one line that is rewritten
    reg = best_reg(data.train, data.validation, options.rank, say)
    reference = compute_reference(data.train, data.validation, data.test, Objective(options.rank, reg), say)
    entry = {_entry(data.hash, options.rank, None): {"reg": reg, "reference": reference}}
    print("\r" + json.dumps(entry, indent=1))
    if options.keep:
        kept = json.loads(_KEPT.read_text("utf-8")) if _KEPT.is_file() else {}
        _write(_KEPT, kept | entry)


if __name__ == "__main__":
    main()
