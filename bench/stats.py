"""The statistics of timed rounds: summaries, ratios with confidence intervals, and warnings.

The data are always rounds, each with a seed. All rounds of one seed ran in one process, those of
another seed in another, and processes differ by more than the rounds within one do. So everything
here goes through the seeds::

    rounds  ->  one median per seed (`by_seed`)  ->  median over seeds        `summary`
                                                 ->  smallest and largest     `seed_range`
    two sets of rounds  ->  one log ratio per seed  ->  mean and t interval   `ratio`
    rounds  ->  each relative to its seed's median  ->  warnings in words     `instability`

Everything that compares two times calls `ratio`: the report, the duel, and the comparison of two
runs. No backend is imported here, so that a report can be made where none is installed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Student's quantiles. scipy.stats has them too, but takes 0.7 s to import.
from scipy.special import stdtrit

from bench.text.wording import mse, plural

from .records import Record, Round

LEAST_ROUNDS = 5  # in all; fewer show nothing about the noise

_DIFFERENCE = 1.05  # the ratio that `Ratio.seeds_to_detect` plans for
_MOST_SEEDS = 1000  # the most seeds that it considers

# `instability` warns where rounds exceed these.
_SPREAD = 0.1  # interquartile range, relative to the median
_OUTLIER = 1.5  # a single round, relative to the median
_DRIFT = 0.05  # change from the first third of the rounds of each seed to the last
_OTHERS = 0.1  # cores busy with other programs
_STOLEN = 0.02  # share of a core's time that the hypervisor took
# A solver of the objective comes close to the reference's validation MSE, by stopping early or by
# luck a little below it, but not by this share.
_FAR_BELOW = 0.2
# The system counts CPU time in steps of 0.01 s. If the rounds take fewer seconds than this in all,
# its counts mean nothing.
_LEAST_SECONDS = 0.5


@dataclass(frozen=True)
class Ratio:
    """How many times as fast one contender is as another, with a 95 % confidence interval.

    Attributes
    ----------
    value
        Summary of the slower contender divided by that of the faster one, as `ratio` was called.
    interval
        Lower and upper bound; None with one seed, which cannot show how much processes differ.
    error
        Standard error of the logarithm of the ratio; None if there is no interval.
    seeds, rounds
        The number of seeds, and of rounds in all, each for the contender that has fewer of them.
    """

    value: float
    interval: tuple[float, float] | None
    error: float | None = None
    seeds: int = 0
    rounds: int = 0

    @property
    def within_noise(self) -> bool:
        """Whether the interval contains 1, so that neither contender is known to be faster."""
        return self.interval is not None and self.interval[0] <= 1 <= self.interval[1]

    @property
    def seeds_to_detect(self) -> int | None:
        """How many seeds would detect a difference of 5 % with a power of 90 %.

        It assumes the noise seen here, and as many rounds per seed. None if the noise is unknown,
        `_MOST_SEEDS` if as many or more are needed. For unpaired seeds it is an approximation.
        """
        if self.error is None:
            return None
        # A t test at the 5 % level detects a difference d with a power of 90 % if
        #     d >= (t(0.975) + t(0.9)) * standard error,   t with n - 1 degrees of freedom,
        # and the standard error of n seeds is the standard deviation over sqrt(n). Since t depends
        # on n as well, the smallest n is found by trying.
        difference = math.log(_DIFFERENCE)
        deviation = self.error * math.sqrt(self.seeds)
        for n in range(2, _MOST_SEEDS):
            quantiles = float(stdtrit(n - 1, 0.975) + stdtrit(n - 1, 0.9))
            if quantiles * deviation <= difference * math.sqrt(n):
                return n
        return _MOST_SEEDS

    @property
    def outlook(self) -> str:
        """What it would take to detect a difference of 5 %, in words; "" if that is unknown."""
        needed = self.seeds_to_detect
        if needed is None or self.interval is None:
            return ""
        if self.interval[0] > 1 / _DIFFERENCE and self.interval[1] < _DIFFERENCE:
            return "a difference of 5 % is ruled out"
        if needed >= _MOST_SEEDS:
            return f"{_MOST_SEEDS:,} or more seeds would be needed to detect a difference of 5 %"
        # The estimate may be the number of seeds that there were, or fewer, but these did not
        # suffice: the interval does not rule a difference of 5 % out.
        needed = max(needed, self.seeds + 1)
        per_seed = plural(self.rounds // self.seeds, "round")
        return f"about {needed} seeds with {per_seed} each would detect a difference of 5 %"


def by_seed(rounds: Sequence[Round], column: str = "seconds") -> dict[int, list[float]]:
    """Return the values of a column by seed, in the order of the rounds and without None."""
    groups: dict[int, list[float]] = {}
    for timed in rounds:
        value: Any = dict(timed)[column]
        if value is not None:
            groups.setdefault(timed["seed"], []).append(value)
    return groups


def summary(rounds: Sequence[Round], column: str = "seconds") -> float | None:
    """Return the median over the seeds of each seed's median; None if there are no values.

    This is the rule for every column that a report shows.
    """
    medians = _medians(rounds, column)
    return median(medians.values()) if medians else None


def median_of(rounds: Sequence[Round]) -> str:
    """Return in words what the `summary` of some rounds is: "median of 3 seeds, 9 rounds"."""
    if len(rounds) == 1:
        return "one round"
    seeds, count = len(by_seed(rounds)), plural(len(rounds), "round")
    return f"median of {seeds} seeds, {count}" if seeds > 1 else f"median of {count}"


def seed_range(rounds: Sequence[Round], column: str = "seconds") -> tuple[float, float] | None:
    """Return the smallest and the largest of the seeds' medians; None for fewer than two seeds."""
    medians = _medians(rounds, column).values()
    return (min(medians), max(medians)) if len(medians) > 1 else None


def ratio(slow: Sequence[Round], fast: Sequence[Round], paired: bool = False) -> Ratio:
    """Return how many times as fast ``fast`` is, as the ratio of the two summaries, slow / fast.

    Each seed contributes a single observation, the logarithm of its ratio, however many rounds it
    has. The interval is Student's over these observations. So it covers differences between rounds,
    between processes and between initial models, and more rounds of the same seeds cannot make it
    narrower than the differences between seeds allow. This is the analysis of cluster-level
    summaries (Hayes and Moulton 2017, "Cluster Randomised Trials", chapter 10). A percentile
    bootstrap over a few seeds is too narrow if processes differ by more than rounds do: in
    simulations it found a difference between equal contenders in 20 % of the duels.

    Unless both contenders have exactly the same seeds, their observations cannot be paired by seed,
    and the interval is Welch's.

    Parameters
    ----------
    slow, fast
        Rounds of the two contenders, at least one each.
    paired
        Whether rounds with the same seed and number ran in one block, one right after the other, as
        in a duel. The observation of a seed is then the median over its blocks, so whatever slowed
        a whole block down cancels. Rounds without a partner count towards the value, not towards
        the interval, unless a seed has no block that both share: then its medians are compared.

    Raises
    ------
    ValueError
        When a contender has no rounds.
    """
    value = _required_summary(slow) / _required_summary(fast)
    slow_logs, fast_logs = _logs_by_seed(slow), _logs_by_seed(fast)
    in_blocks: list[dict[int, NDArray[np.float64]]] = [{}, {}]
    if paired:
        slow, fast = _partners(slow, fast), _partners(fast, slow)
        in_blocks = [_logs_by_seed(slow), _logs_by_seed(fast)]
        # Of the seeds that both have, unless no block at all is shared.
        shared = slow_logs.keys() & fast_logs.keys() if slow else set()
        slow_logs, fast_logs = (
            {seed: logs for seed, logs in each.items() if seed in shared}
            for each in (slow_logs, fast_logs)
        )
    seeds, n_rounds = min(len(slow_logs), len(fast_logs)), min(len(slow), len(fast))
    if seeds < 2:
        return Ratio(value, None, seeds=seeds, rounds=n_rounds)

    if slow_logs.keys() != fast_logs.keys():
        middle, error, freedom = _welch(
            [float(np.median(logs)) for logs in slow_logs.values()],
            [float(np.median(logs)) for logs in fast_logs.values()],
        )
    else:
        differences = []
        for seed in slow_logs:
            if seed in in_blocks[0]:  # both arrays have the same blocks in the same order
                difference = np.median(in_blocks[0][seed] - in_blocks[1][seed])
            else:
                difference = np.median(slow_logs[seed]) - np.median(fast_logs[seed])
            differences.append(float(difference))
        middle, error = float(np.mean(differences)), _standard_error(differences)
        freedom = float(seeds - 1)
    reach = float(stdtrit(freedom, 0.975)) * error
    low, high = math.exp(middle - reach), math.exp(middle + reach)
    # The value is a ratio of medians and the middle of the interval a mean of logarithms, so they
    # can differ. The interval is widened to contain the value, for readers expect that.
    return Ratio(value, (min(low, value), max(high, value)), error, seeds, n_rounds)


def instability(rounds: Sequence[Round]) -> list[str]:
    """Return warnings about too few rounds, wide scatter, outliers, drift and a busy machine.

    Rounds of different seeds may do different work, so each is divided by its own seed's median.

    Parameters
    ----------
    rounds
        Those of each seed in the order in which they were timed. Seeds may take turns or follow
        one another.

    Returns
    -------
    list of str
        Phrases without a full stop; empty if the rounds are stable.
    """
    if not rounds:
        return []
    medians = _medians(rounds)
    by_seeds = {
        seed: np.array(seconds) / medians[seed] for seed, seconds in by_seed(rounds).items()
    }
    relative = np.concatenate(list(by_seeds.values()))
    warnings = []
    if len(rounds) < LEAST_ROUNDS:
        are = "is" if len(rounds) == 1 else "are"
        warnings.append(f"{plural(len(rounds), 'round')} {are} too few to estimate the noise")
    low, high = np.percentile(relative, [25, 75])
    if high - low > _SPREAD:
        percent = 100 * (high - low)
        warnings.append(f"the middle half of the rounds spans {percent:.0f} % of the median")
    outliers = int((relative > _OUTLIER).sum())
    if outliers:
        counts = f"{outliers} of {len(rounds)}"
        warnings.append(f"{counts} rounds took over {_OUTLIER:g} times the median")
    return warnings + _drift(list(by_seeds.values())) + _other_load(rounds)


def warnings_of(record: Record) -> list[str]:
    """Return warnings about a record's rounds, the machine's state, and too good an error."""
    if not record["rounds"]:
        return []
    warnings = instability(record["rounds"])
    facts, threads = record["environment"], record["backend"]["threads"]
    governor, throttled = facts.get("governor"), facts.get("throttled")
    cpu_limit = facts.get("cpu_limit")
    if governor not in (None, "performance"):
        warnings.append(f"the frequency governor is {governor}, so the clock rate may change")
    if throttled:
        times = plural(throttled, "time")
        warnings.append(f"the processor was throttled {times} during the measurement")
    if cpu_limit is not None and cpu_limit < threads:
        allowed, budget = plural(cpu_limit, "core"), plural(threads, "thread")
        warnings.append(f"the cgroup allows {allowed}, the budget is {budget}")
    return warnings + _timed_anew(record) + _too_good(record)


def cores_busy(rounds: Sequence[Round]) -> float | None:
    """Return how many cores a backend kept busy on average over its rounds.

    None if its CPU time is unknown, or if the rounds are too short for the clock that counts it.
    """
    watched = [timed for timed in rounds if timed["cpu_seconds"] is not None]
    seconds = sum(timed["seconds"] for timed in watched)
    if seconds < _LEAST_SECONDS:
        return None
    return sum(timed["cpu_seconds"] or 0.0 for timed in watched) / seconds


def _medians(rounds: Sequence[Round], column: str = "seconds") -> dict[int, float]:
    """Return the median of a column for each seed."""
    return {seed: median(values) for seed, values in by_seed(rounds, column).items()}


def _logs_by_seed(rounds: Sequence[Round]) -> dict[int, NDArray[np.float64]]:
    """Return the logarithms of the rounds' seconds for each seed."""
    return {seed: np.log(values) for seed, values in by_seed(rounds).items()}


def _required_summary(rounds: Sequence[Round]) -> float:
    value = summary(rounds)
    if value is None:
        raise ValueError("a ratio needs at least one round of each contender")
    return value


def _timed_anew(record: Record) -> list[str]:
    """Return that rounds were dropped because some of their seed missed the target, if so."""
    missed = sum(fit.get("missed", 0) for fit in record["calibrations"])
    if not missed:
        return []
    added = sum(fit.get("added", 0) for fit in record["calibrations"])
    return [
        f"{plural(missed, 'round')} missed the target before {plural(added, 'epoch')} "
        f"{'was' if added == 1 else 'were'} added"
    ]


def _partners(rounds: Sequence[Round], others: Sequence[Round]) -> list[Round]:
    """Return the rounds whose block (seed and number) also has one of ``others``, by block."""

    def block(timed: Round) -> tuple[int, int]:
        return timed["seed"], timed["round"]

    blocks = {block(timed) for timed in others}
    return sorted((timed for timed in rounds if block(timed) in blocks), key=block)


def _standard_error(values: Sequence[float]) -> float:
    """Return the standard error of the mean of ``values``."""
    return float(np.std(values, ddof=1)) / math.sqrt(len(values))


def _welch(first: Sequence[float], second: Sequence[float]) -> tuple[float, float, float]:
    """Return the difference of two means, its standard error and its degrees of freedom.

    The variances may differ (Welch 1947).
    """
    # Variances of the two means.
    variances = np.array([_standard_error(first), _standard_error(second)]) ** 2
    counts = np.array([len(first), len(second)])
    total = float(variances.sum())
    if total:
        freedom = total**2 / float((variances**2 / (counts - 1)).sum())
    else:  # no noise at all; any number will do
        freedom = float(counts.min() - 1)
    return float(np.mean(first) - np.mean(second)), math.sqrt(total), freedom


def _drift(by_seeds: Sequence[NDArray[np.float64]]) -> list[str]:
    """Return a warning if late rounds of the seeds are clearly slower or faster than early ones.

    The first third of the rounds of each seed are pooled, and so are the last. Their medians then
    differ by 5 % or more, and their ranges of values do not overlap. Each seed is compared with
    itself only, so it does not matter whether seeds take turns or follow one another.

    Parameters
    ----------
    by_seeds
        The rounds of each seed, relative to the seed's median.
    """
    several = [relative for relative in by_seeds if len(relative) > 1]
    thirds = [max(len(relative) // 3, 1) for relative in several]
    if sum(thirds) < 2:
        return []
    first = np.concatenate([each[:n] for each, n in zip(several, thirds, strict=True)])
    last = np.concatenate([each[-n:] for each, n in zip(several, thirds, strict=True)])
    change = float(np.median(last) / np.median(first) - 1)
    overlap = first.max() >= last.min() and last.max() >= first.min()
    if overlap or abs(change) < _DRIFT:
        return []
    direction = "slower" if change > 0 else "faster"
    whose = "each seed's rounds" if len(several) > 1 else "rounds"
    return [f"{whose} became {100 * abs(change):.0f} % {direction} from the first to the last"]


def _too_good(record: Record) -> list[str]:
    """Return a warning if a validation MSE is too low for any solver of the objective."""
    score = summary(record["rounds"], "validation_mse")
    reference = record["reference"]["validation_mse"]
    if score is None or score >= (1 - _FAR_BELOW) * reference:
        return []
    return [
        f"its validation MSE of {mse(score)} is {100 * (1 - score / reference):.0f} % below the "
        f"reference's {mse(reference)}, where no solver of this objective gets: it may see the "
        "validation ratings, or minimise something else"
    ]


def _other_load(rounds: Sequence[Round]) -> list[str]:
    """Return warnings if other programs, or other virtual machines, were busy during the rounds."""
    watched = [timed for timed in rounds if timed["others_seconds"] is not None]
    seconds = sum(timed["seconds"] for timed in watched)
    if seconds < _LEAST_SECONDS:
        return []
    # A single round's count can be negative, as the clocks are coarse; only the sum means anything.
    others = sum(timed["others_seconds"] or 0.0 for timed in watched) / seconds
    stolen = sum(timed["stolen_seconds"] or 0.0 for timed in watched) / seconds
    warnings = []
    if others > _OTHERS:
        warnings.append(f"other programs kept {others:.1f} cores busy during the rounds")
    if stolen > _STOLEN:
        warnings.append(f"the hypervisor took {100 * stolen:.0f} % of a core's time")
    return warnings
