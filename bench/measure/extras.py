"""What is measured beside the timed rounds: fits of unseen ratings, cold starts, and the memory of a fit."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Literal

from bench.records import Calibration, Cold, Memory, Round

from .fair_play import slower
from .session import Session, Setting, epochs_of
from .worker_process import Ended

_LONG_FIT = 5.0  # seconds; of fits that take longer, one of unseen ratings has to do
_UNSEEN_FITS, _SUSPECT_FITS = 3, 5  # of ratings that are new; and in turns with known ones, before a verdict
_LEAST_SAMPLES = 10  # of a process, that show how many of its threads run at once


def refit_unseen(session: Session, calibration: Calibration, rounds: Sequence[Round]) -> None:
    """Time fits of the same problem with contents that are new, beside the rounds of one seed.

    A backend that keeps results from one fit to the next, in the process or on disk, cannot have these. Where they are
    slower, known and new ones are timed in turns: other load that came up meanwhile slows both.

    Raises
    ------
    Ended
        When it keeps something from fit to fit.
    """
    epochs = epochs_of(calibration)
    fits = 1 if rounds[0]["seconds"] > _LONG_FIT else _UNSEEN_FITS
    seeds = iter(range(session.seed + 1, session.seed + 1 + fits + _SUSPECT_FITS))
    try:
        if not slower([session.time_unseen(epochs, next(seeds)) for _ in range(fits)], rounds):
            return
        pairs = [(session.time_unseen(epochs, seed), session.time_again(epochs)) for seed in seeds]
    except Ended as end:
        if end.status == "diverged":  # of other contents: says nothing
            return
        raise
    new, known = zip(*pairs, strict=True)
    if slower(new, known):
        took = [median(one["seconds"] for one in fits) for fits in (new, known)]
        told = f"a fit takes {took[0]:.3g} s with ratings that it has not met, and {took[1]:.3g} s with those it has"
        raise Ended("inconsistent", f"{told}: it keeps something from fit to fit")


def empty_caches(setting: Setting) -> Path:
    """Return an empty folder for compiled kernels; what the backend before this one left there is gone."""
    caches = setting.folder / "caches"
    shutil.rmtree(caches, ignore_errors=True)
    caches.mkdir()
    return caches


def start_cold(setting: Setting, calibration: Calibration, *, caches: Path, state: Literal["empty", "filled"]) -> Cold:
    """Fit in a fresh process that keeps its compiled kernels in ``caches``, which are in that state.

    Raises
    ------
    Ended
        When it goes wrong.
    """
    setting.say(f"cold start, caches {state}")
    try:
        with setting.start("stderr-apart.txt", caches) as process:
            session = Session(setting, process, calibration["seed"])
            timed = session.time_again(epochs_of(calibration))
    except Ended as end:
        raise Ended(end.status, f"in a cold start, caches {state}: {end.reason}", end.seconds) from None
    importing, compiling = session.opened.import_seconds, session.warmed.compile_seconds
    return Cold(
        caches=state,
        import_seconds=importing,
        compile_seconds=compiling,
        prepare_seconds=timed["prepare_seconds"],
        fit_seconds=timed["seconds"],
        total_seconds=importing + compiling + timed["seconds"],
    )


def watch_memory(setting: Setting, calibration: Calibration) -> Memory:
    """Fit once more in a fresh process, untimed, and watch its memory and threads.

    Raises
    ------
    Ended
        When it goes wrong.
    """
    setting.say("watching the memory of a fit")
    try:
        with setting.start("stderr-apart.txt") as process:
            session = Session(setting, process, calibration["seed"])
            fit, samples = session.watch_memory(epochs_of(calibration))
    except Ended as end:
        raise Ended(end.status, f"while its memory was watched: {end.reason}", end.seconds) from None
    running = sorted(one.running for one in samples)
    seen = [one.resident_mb for one in samples]  # its child processes included
    peak = max(filter(None, [fit.peak_mb, *seen]), default=None)
    return Memory(
        peak_mb=peak,
        fit_mb=None if fit.before_mb is None or peak is None else max(peak - fit.before_mb, 0.0),
        device_mb=fit.device_mb,
        running_threads=float(running[int(0.9 * len(running))]) if len(running) >= _LEAST_SAMPLES else None,
    )
