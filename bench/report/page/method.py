"""How numbers come to be, in words: all of it for the end of the page, and what belongs to a figure beside it."""

from __future__ import annotations

_OBJECTIVE = (
    "The objective is J = (1/N) [sum over the ratings of (r - m - b_u - c_i - p_u . q_i)^2 "
    "+ sum over the rows of p and q of reg unit (n + damping) |row|^2 "
    "+ sum over the users of (bias_reg n + user_bias_damping) b_u^2 + the same over the items]. "
    "N is the number of training ratings, n that of a row's, and m their mean. The unit is the "
    "root mean square of r - m, so that reg means the same on any rating scale; where a case says "
    "that reg is in units of ratings it is 1: releases before 0.2 had bias_reg = reg, and no damping."
)
_CALIBRATION = (
    "Each backend is calibrated first, untimed: validation MSE is evaluated after each epoch, and the first epoch at "
    "or under the target fixes the number of epochs."
)
_TIMING = (
    "Then exactly that number of epochs is timed, with nothing evaluated inside, in several rounds. The clock runs "
    "from ratings in random order to the model on the host: sorting, copying to the device, the epochs, copying back. "
    "Import, compilation and the draw of the start, which all share, are outside."
)
_GATE = (
    "Each round is gated: the suite itself computes the validation MSE of the model it left, and a round over the "
    "target takes the backend out of the ranking. So does a backend whose rounds are faster than fits of the same size "
    "and work whose ratings it has not met."
)
_SEEDS = (
    "Each backend is fitted with several seeds, each calibrated and timed in a process of its own, and is ranked only "
    "where all of them match. Figures are medians over seeds of the medians over their rounds."
)
_INTERVALS = (
    "Intervals are Student's 95 % intervals of the ratio of two backends' seconds, with one observation per seed: they "
    "hold what differs between rounds, processes and starts. Where one contains 1, no difference is claimed; with one "
    "seed there is none. Unless backends took turns (python -m bench.duel), they do not cover how the machine's speed "
    "changes from one minute to another."
)
_THREADS = (
    "One budget of threads holds for every library. It is read back after each fit; CPU-seconds, threads that run at "
    "once and threads that stay behind are counted, and a backend that exceeds the budget is not ranked."
)
_COLD = (
    "Cold starts are fits in fresh processes, first with empty caches of compiled kernels, then with filled ones; the "
    "system's cache of files stays warm. Warm is the median of the timed rounds."
)
_MEMORY = "Memory is of a fit of its own in a fresh process, watched from outside."
_CENSORED = "A backend that is given up for time has a time that is longer than that: it is shown as > seconds."
_CHOICE = (
    "The target is chosen, and the number of epochs fixed, on the validation set; the test set is reported beside it."
)

METHOD = (
    *(_OBJECTIVE, _CALIBRATION, _TIMING, _GATE, _SEEDS, _INTERVALS, _THREADS, _COLD, _MEMORY),
    *(_CENSORED, _CHOICE),
)

_RUNGS = (
    "The ladder of targets lies 5 %, 1 % and 0.1 % above the reference. Each rung that is in use is timed in fits of "
    "its own, of as many epochs as the calibration took to it, and gated in the same way."
)
_CONVERGENCE = (
    "The lines are those of the calibration. Its clock stands still while the validation set is scored, so that "
    "seconds are of training alone."
)
_PROFILE = (
    "For each case, the seconds of a backend are divided by those of the fastest there; the profile counts the cases "
    "in which the ratio is at most so large (Dolan and More 2002). A backend that did not match is within no factor."
)
_SIZE = "Only cases that differ in nothing but the number of ratings are joined by a line."
_OF_FIGURES = {
    "convergence": (_CALIBRATION, _CONVERGENCE),
    "seconds": (_TIMING, _GATE, _SEEDS, _CENSORED),
    "speedup": (_TIMING, _SEEDS, _INTERVALS),
    "rungs": (_RUNGS, _TIMING, _SEEDS),
    "cold": (_COLD, _TIMING),
    "memory": (_MEMORY,),
    "pareto": (_RUNGS, _GATE, _SEEDS),
    "accuracy": (_GATE, _CHOICE),
    "threads": (_THREADS, _TIMING, _SEEDS),
    "profile": (_PROFILE, _SEEDS),
    "size": (_SIZE, _TIMING, _SEEDS),
}


def method_of(stem: str) -> tuple[str, ...]:
    """Return how the numbers of a figure were made, by the name of its files."""
    return _OF_FIGURES.get(stem.replace("-", "_").split("_")[0], (_CALIBRATION, _TIMING, _SEEDS))
