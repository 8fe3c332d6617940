"""The texts that explain how the numbers of a case are measured; `METHOD` has them in order.

The text of a single figure stays in that figure's module in `bench.report.figures.kinds`.
"""

from __future__ import annotations

OBJECTIVE = (
    "The objective is J = (1/N) [sum over the ratings of (r - m - b_u - c_i - p_u . q_i)^2 "
    "+ sum over the rows of p and q of reg unit (n + damping) |row|^2 "
    "+ sum over the users of (bias_reg n + user_bias_damping) b_u^2 + the same over the items]. "
    "N is the number of training ratings, n the number of ratings of a row, and m their mean. The "
    "unit is the root mean square of r - m, so that reg means the same on any rating scale. If "
    "a case states that reg is in units of ratings, the unit is 1: before release 0.2, bias_reg "
    "was equal to reg, and there was no damping."
)
CALIBRATION = (
    "Each backend is calibrated first, untimed: the validation MSE is evaluated after each epoch, "
    "and the first epoch at or below the target fixes the number of epochs. A backend that is not "
    "deterministic is calibrated three times, and has the largest number."
)
TIMING = (
    "Then exactly that number of epochs is timed in several rounds, without any evaluation. The "
    "clock starts with the ratings in random order and stops with the model on the host, so it "
    "includes sorting, copying to the device, the epochs and copying back. It excludes imports, "
    "compilation and drawing the initial model, which is the same for all backends. A fit of less "
    "than a second follows one that does not count, so that the processor's caches are those of a "
    "loop of fits."
)
GATE = (
    "Each round is checked: the benchmark itself computes the validation MSE of the resulting "
    "model. A round above the target removes the backend from the ranking, but for one that is not "
    "deterministic: its epochs are raised by a tenth, and its rounds of that seed are dropped and "
    "timed anew, at most twice; how many had missed is among its warnings. So do rounds that are "
    "clearly faster than fits of the same size on ratings that the backend has not seen before."
)
SEEDS = (
    "Each backend is fitted with several seeds. Each seed is calibrated and timed in a process of "
    "its own, and a backend is ranked only if all of them match. Figures are medians over seeds "
    "of the medians over their rounds. Seeds vary the initial model and everything that a solver "
    "draws, but not the split of the ratings, which is the same in all fits of a case: intervals "
    "do not cover other splits, nor other data."
)
INTERVALS = (
    "Intervals are Student's 95 % intervals of the ratio of two backends' seconds, with one "
    "observation per seed. They cover the variation between rounds, processes and initial models. "
    "If an interval contains 1, no difference is claimed; with one seed there is no interval. "
    "Each interval is of one pair: among many equal backends, some pair may be told apart by "
    "chance. Backends take turns, unless --no-turns was given: for each seed all are calibrated, "
    "then timed in blocks with one round of each, in random order. The ratios are taken within "
    "blocks, so that slow changes of the machine's speed cancel. For backends that were measured "
    "one after the other, or in different runs, they do not cancel, and intervals do not cover "
    "them. Each case states its order."
)
THREADS = (
    "All libraries share one budget of threads, which is verified after each fit. CPU-seconds, "
    "running threads and threads left behind are counted, and a backend that exceeds the budget "
    "is not ranked. The facts of a case say what the system does not show, and so was not watched."
)
COLD = (
    "With each seed, a first fit is timed in a new process with empty caches of compiled kernels, "
    "and then one in another process with the caches that it filled. Importing, beyond that of "
    "NumPy and this package, and compiling are included. Backends whose fits take over 10 s are "
    "started cold with the first seed only; of several seeds, each has one round. The operating "
    "system's file cache stays warm. A fit in a loop is the median of the timed rounds."
)
MEMORY = "Memory is measured during a separate fit in a new process, child processes included."
CENSORED = (
    "If a backend is stopped after a limit of seconds or epochs, it would have taken longer: its "
    "time is shown as > seconds."
)
CHOICE = (
    "The target and the number of epochs are chosen on the validation set. The test set is only "
    "reported."
)

TARGETS = (
    "The targets lie 5 %, 1 % and 0.1 % above the reference. Each target in use is timed in a "
    "separate fit with the first seed, of as many epochs as the calibration took to reach it, and "
    "is checked in the same way. The matching target has all rounds."
)

METHOD = (
    OBJECTIVE,
    CALIBRATION,
    TIMING,
    GATE,
    SEEDS,
    INTERVALS,
    THREADS,
    COLD,
    MEMORY,
    CENSORED,
    CHOICE,
)
