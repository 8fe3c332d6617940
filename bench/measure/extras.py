"""What is measured apart from the timed rounds: fits of unseen ratings, cold starts, memory.

- `refit_unseen` finds backends that keep results from one fit to the next, by their times.
- `refit_relabelled` finds backends that start from the model of an earlier fit, by their errors.
- `start_cold` times a first fit in a fresh process, import and compilation included.
- `watch_memory` samples memory and threads during a fit that nobody times, because the sampling
  costs time.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Literal

from bench.machine.processes import ProcessSample
from bench.records import Calibration, Cold, Memory, Round
from bench.text.wording import plural

from .fair_play import slower
from .session import Session, Setting, epochs_of
from .worker_process import Ended

_LONG_FIT = 1.0  # seconds; where fits take longer, a single fit of unseen ratings has to suffice
_UNSEEN_FITS = 3  # for a first comparison with the rounds
_PAIRS = 5  # fits of unseen and of known ratings in turn, where the first comparison is suspicious
# Times the largest error of known rows. After few epochs, honest fits from different starts differ
# by some per cent; six of either kind are apart by chance once in a thousand times.
_WORSE = 1.012
_SCORE_PAIRS = 5  # fits of relabelled and of known rows, where the first comparison is suspicious
_LEAST_SAMPLES = 10  # fewer looks at a process do not show how many of its threads run at once


def refit_unseen(session: Session, calibration: Calibration, rounds: Sequence[Round]) -> None:
    """Check that fits of ratings the backend cannot have seen take no longer than the rounds.

    A backend that keeps results from one fit to the next, in memory or on disk, has none for these.
    The rounds were timed earlier, though, and another program may have slowed the machine since. So
    if the unseen ratings take longer, unseen and known ones are timed in turn: other load slows
    both.

    Parameters
    ----------
    session
        The worker in which ``rounds`` were timed.
    calibration
        Of the session's seed.
    rounds
        Timed rounds of the same seed, at least one.

    Raises
    ------
    Ended
        When the backend keeps results from fit to fit.
    """
    epochs = epochs_of(calibration)
    n_fits = 1 if rounds[0]["seconds"] > _LONG_FIT else _UNSEEN_FITS
    # Every fit draws its initial model from a seed that was not used before.
    seeds = range(session.seed + 1, session.seed + 1 + n_fits + _PAIRS)
    unseen, known = [], []
    try:
        fits = [session.fit(epochs, seed=seed, ratings="reversed") for seed in seeds[:n_fits]]
        if not slower(fits, rounds):
            return
        for seed in seeds[n_fits:]:
            unseen.append(session.fit(epochs, seed=seed, ratings="reversed"))
            known.append(session.fit(epochs))
    except Ended as end:
        if end.status == "diverged":  # with other ratings, which says nothing about the case
            return
        raise
    if slower(unseen, known) and not _by_order_alone(session, epochs, known, slower):
        unseen_seconds = median(fit["seconds"] for fit in unseen)
        known_seconds = median(fit["seconds"] for fit in known)
        raise Ended(
            "inconsistent",
            f"a fit takes {unseen_seconds:.3g} s with ratings that it has not seen, and "
            f"{known_seconds:.3g} s with those it has: it keeps something from fit to fit",
        )


def refit_relabelled(session: Session, calibration: Calibration, rounds: Sequence[Round]) -> None:
    """Check that fits reach the same error if users and items have other row numbers.

    A fit that starts from the factors of an earlier one, which a backend may keep in memory or on
    disk, needs fewer epochs than it would alone. Those factors are of no use where the rows have
    other numbers, so as many epochs then end at a larger error. If a first fit does, that may be
    the seed's: more fits decide. All with other numbers must be worse than all of known rows.

    Parameters
    ----------
    session, calibration, rounds
        As in `refit_unseen`.

    Raises
    ------
    Ended
        When the backend starts from an earlier fit.
    """
    epochs = epochs_of(calibration)
    first, *seeds = range(session.seed + 101, session.seed + 102 + _SCORE_PAIRS)
    known = list(rounds)
    unseen = []
    try:
        unseen.append(session.fit(epochs, seed=first, ratings="relabelled"))
        for seed in seeds:
            if not _worse(unseen, known):
                return
            known.append(session.fit(epochs, seed=seed))
            unseen.append(session.fit(epochs, seed=seed, ratings="relabelled"))
        if not _worse(unseen, known) or _by_order_alone(session, epochs, known, _worse):
            return
    except Ended as end:
        if end.status == "diverged":
            return
        raise
    verb = "ends" if epochs == 1 else "end"
    known_mse, unseen_mse = median(map(_score, known)), median(map(_score, unseen))
    raise Ended(
        "inconsistent",
        f"{plural(epochs, 'epoch')} {verb} at a validation MSE of {unseen_mse:.4f} with users "
        f"and items in another order, and of {known_mse:.4f} as they are: it starts from an "
        "earlier fit",
    )


def _by_order_alone(
    session: Session,
    epochs: int,
    known: Sequence[Round],
    is_worse: Callable[[Sequence[Round], Sequence[Round]], bool],
) -> bool:
    """Return whether it is the order of the ratings by which fits of unseen ones differ.

    Unseen ratings come in another order. Some solvers take ratings in theirs, and are fast, or end
    well, if it is by user. Then known ratings in another order are worse too, and unseen ones in
    the order of the known are not. A backend that recognises known ratings by their order fails the
    second test: it has not seen these either.
    """
    seeds = range(session.seed + 201, session.seed + 201 + _UNSEEN_FITS)
    shuffled = [session.fit(epochs, seed=seed, ratings="shuffled") for seed in seeds]
    if not is_worse(shuffled, known):
        return False
    renamed = [session.fit(epochs, seed=seed, ratings="renamed") for seed in seeds]
    return not is_worse(renamed, known)


def _worse(fits: Sequence[Round], known: Sequence[Round]) -> bool:
    """Return whether all fits end at a clearly larger error than all of the known ratings."""
    return min(map(_score, fits)) > _WORSE * max(map(_score, known))


def _score(timed: Round) -> float:
    return timed["validation_mse"]


def empty_caches(folder: Path) -> Path:
    """Return an empty folder for compiled kernels, without those of the backend before."""
    caches = folder / "caches"
    shutil.rmtree(caches, ignore_errors=True)
    caches.mkdir(parents=True)
    return caches


def start_cold(
    setting: Setting, calibration: Calibration, *, caches: Path, state: Literal["empty", "filled"]
) -> Cold:
    """Time a fit in a fresh process, including import and compilation.

    Parameters
    ----------
    setting, calibration
        What to fit, and for how many epochs.
    caches
        Folder for compiled kernels.
    state
        State of this folder, for the record.

    Raises
    ------
    Ended
        When the fit fails.
    """
    setting.notify(f"cold start, caches {state}")
    try:
        with setting.start("stderr-apart.txt", caches) as process:
            session = Session(setting, process, calibration["seed"])
            timed = session.fit(epochs_of(calibration))
    except Ended as end:
        reason = f"in a cold start, caches {state}: {end.reason}"
        raise Ended(end.status, reason, end.seconds) from None
    import_seconds = session.opened.import_seconds
    compile_seconds = session.warmed.compile_seconds
    return Cold(
        seed=calibration["seed"],
        caches=state,
        import_seconds=import_seconds,
        compile_seconds=compile_seconds,
        prepare_seconds=timed["prepare_seconds"],
        fit_seconds=timed["seconds"],
        total_seconds=import_seconds + compile_seconds + timed["seconds"],
    )


def watch_memory(setting: Setting, calibration: Calibration) -> Memory:
    """Fit once more in a fresh process, untimed, and watch its memory and threads.

    Raises
    ------
    Ended
        When the fit fails.
    """
    setting.notify("watching the memory of a fit")
    try:
        with setting.start("stderr-apart.txt") as process:
            session = Session(setting, process, calibration["seed"])
            fit, samples = session.watch_memory(epochs_of(calibration))
    except Ended as end:
        reason = f"while its memory was watched: {end.reason}"
        raise Ended(end.status, reason, end.seconds) from None
    # The worker reads its own peak, which misses no moment but knows nothing of child processes.
    # The samples include these but may miss a short peak. Both are lower bounds.
    peaks = [seen.resident_mb for seen in samples]
    if fit.peak_mb is not None:
        peaks.append(fit.peak_mb)
    peak_mb = max(peaks, default=None)
    fit_mb = None
    if peak_mb is not None and fit.before_mb is not None:
        fit_mb = max(peak_mb - fit.before_mb, 0.0)
    return Memory(
        peak_mb=peak_mb,
        fit_mb=fit_mb,
        device_mb=fit.device_mb,
        running_threads=_running_threads(samples),
    )


def _running_threads(samples: Sequence[ProcessSample]) -> float | None:
    """Return the 75th percentile of the threads that ran at once; None if that is not seen.

    Those that wait for a core count as well. More than allowed may run for a moment, as when
    helpers wake while the caller is not asleep yet.
    """
    running = sorted(seen.running for seen in samples if seen.running is not None)
    if len(samples) < _LEAST_SAMPLES or len(running) < len(samples):
        return None
    return float(running[int(0.75 * len(running))])
