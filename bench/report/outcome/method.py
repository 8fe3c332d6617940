"""How the numbers of a case come to be, in words: a paragraph a step, all of them in `METHOD`.

A figure that has a paragraph of its own keeps it in its module, in `bench.report.figures.kinds`.
"""

from __future__ import annotations

OBJECTIVE = (
    "The objective is J = (1/N) [sum over the ratings of (r - m - b_u - c_i - p_u . q_i)^2 "
    "+ sum over the rows of p and q of reg unit (n + damping) |row|^2 "
    "+ sum over the users of (bias_reg n + user_bias_damping) b_u^2 + the same over the items]. "
    "N is the number of training ratings, n that of a row's, and m their mean. The unit is the "
    "root mean square of r - m, so that reg means the same on any rating scale; where a case says "
    "that reg is in units of ratings it is 1: releases before 0.2 had bias_reg = reg, and no damping."
)
CALIBRATION = (
    "Each backend is calibrated first, untimed: validation MSE is evaluated after each epoch, and the first epoch at "
    "or under the target fixes the number of epochs."
)
TIMING = (
    "Then exactly that number of epochs is timed, with nothing evaluated inside, in several rounds. The clock runs "
    "from ratings in random order to the model on the host: sorting, copying to the device, the epochs, copying back. "
    "Import, compilation and the draw of the start, which all share, are outside."
)
GATE = (
    "Each round is gated: the suite itself computes the validation MSE of the model it left, and a round over the "
    "target takes the backend out of the ranking. So does a backend whose rounds are faster than fits of the same size "
    "and work whose ratings it has not met."
)
SEEDS = (
    "Each backend is fitted with several seeds, each calibrated and timed in a process of its own, and is ranked only "
    "where all of them match. Figures are medians over seeds of the medians over their rounds."
)
INTERVALS = (
    "Intervals are Student's 95 % intervals of the ratio of two backends' seconds, with one observation per seed: they "
    "hold what differs between rounds, processes and starts. Where one contains 1, no difference is claimed; with one "
    "seed there is none. Unless backends took turns (python -m bench.duel), they do not cover how the machine's speed "
    "changes from one minute to another."
)
THREADS = (
    "One budget of threads holds for every library. It is read back after each fit; CPU-seconds, threads that run at "
    "once and threads that stay behind are counted, and a backend that exceeds the budget is not ranked."
)
COLD = (
    "Cold starts are fits in fresh processes, first with empty caches of compiled kernels, then with filled ones; the "
    "system's cache of files stays warm. Warm is the median of the timed rounds."
)
MEMORY = "Memory is of a fit of its own in a fresh process, watched from outside."
CENSORED = "A backend that is given up for time has a time that is longer than that: it is shown as > seconds."
CHOICE = (
    "The target is chosen, and the number of epochs fixed, on the validation set; the test set is reported beside it."
)

RUNGS = (
    "The ladder of targets lies 5 %, 1 % and 0.1 % above the reference. Each rung that is in use is timed in fits of "
    "its own, of as many epochs as the calibration took to it, and gated in the same way."
)

METHOD = (
    *(OBJECTIVE, CALIBRATION, TIMING, GATE, SEEDS, INTERVALS, THREADS, COLD, MEMORY),
    *(CENSORED, CHOICE),
)
