"""What rounds say: their summary over seeds, the ratio of two contenders with its interval, and how stable they were.

Everything that compares two times calls `ratio`: the report, the duel, the comparison of two runs. Imports no backend.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit  # Student's quantiles; scipy.stats, which has the tests, takes .7 s to import

from bench.text.wording import plural

from .records import Record, Round

LEAST_ROUNDS = 5  # fewer show nothing of the noise

_DETECTABLE = math.log(1.05)  # the difference that `Ratio.seeds_to_tell` plans for
_MOST_SEEDS = 1000  # that it is worth to count to
_SPREAD, _OUTLIER, _DRIFT = 0.1, 1.5, 0.05  # relative; what is over them is said
_OTHERS, _STOLEN = 0.1, 0.02  # cores busy with other work, share of the time taken by the hypervisor
_LEAST_CLOCKED = 0.5  # seconds; the system counts CPU time in steps of 0.01 s, so in less it says nothing


@dataclass(frozen=True)
class Ratio:
    """A ratio of medians with its 95 % interval.

    Attributes
    ----------
    interval
        None with one seed: what differs from process to process is then not known.
    error
        Standard error of the logarithm of the ratio, None where there is no interval.
    seeds, rounds
        Of the contender with fewer, over all seeds.
    """

    value: float
    interval: tuple[float, float] | None
    error: float | None = None
    seeds: int = 0
    rounds: int = 0

    @property
    def within_noise(self) -> bool:
        """Whether the interval holds 1, so that no difference can be told."""
        return self.interval is not None and self.interval[0] <= 1 <= self.interval[1]

    @property
    def seeds_to_tell(self) -> int | None:
        """How many seeds would find a difference of 5 % nine times in ten, at the noise seen here; None if unknown.

        As many rounds of each seed are taken as here. Beyond `_MOST_SEEDS` no more are counted.
        """
        if self.error is None:
            return None
        spread = self.error * math.sqrt(self.seeds)
        for seeds in range(2, _MOST_SEEDS):
            wanted = float(stdtrit(seeds - 1, 0.975) + stdtrit(seeds - 1, 0.9))
            if wanted * spread <= _DETECTABLE * math.sqrt(seeds):
                return seeds
        return _MOST_SEEDS

    @property
    def outlook(self) -> str:
        """What it would take to tell a difference of 5 %, in words; "" where nothing is known of the noise."""
        wanted = self.seeds_to_tell
        if wanted is None or self.interval is None:
            return ""
        if self.interval[0] > 1 / 1.05 and self.interval[1] < 1.05:
            return "a difference of 5 % is ruled out"
        if wanted >= _MOST_SEEDS:
            return f"not even {_MOST_SEEDS:,} seeds would tell 5 %"
        each = self.rounds // self.seeds
        return f"about {max(wanted, self.seeds + 1)} seeds with {plural(each, 'round')} each would tell 5 %"


def by_seed(rounds: Sequence[Round], column: str = "seconds") -> dict[int, list[float]]:
    """Return the values of a column, those that are None left out, by seed."""
    groups: dict[int, list[float]] = {}
    for one in rounds:
        value: Any = dict(one)[column]
        if value is not None:
            groups.setdefault(one["seed"], []).append(value)
    return groups


def summary(rounds: Sequence[Round], column: str = "seconds") -> float | None:
    """Return the median over seeds of the medians over their rounds: the rule for every column; None without values."""
    groups = by_seed(rounds, column)
    return median(median(values) for values in groups.values()) if groups else None


def seed_range(rounds: Sequence[Round], column: str = "seconds") -> tuple[float, float] | None:
    """Return the smallest and the largest median of a seed; None for fewer than two seeds."""
    medians = [median(values) for values in by_seed(rounds, column).values()]
    return (min(medians), max(medians)) if len(medians) > 1 else None


def ratio(slow: Sequence[Round], fast: Sequence[Round], paired: bool = False) -> Ratio:
    """Return how many times as fast ``fast`` is, by the summaries of the rounds.

    The interval is Student's, of the logarithms of the ratios of each seed: a seed is one observation, however many
    rounds it has. As each seed runs in a process of its own, the interval holds what differs from round to round, from
    process to process and from start to start, in whatever proportion; more rounds alone do not make it narrow. This
    is the analysis of cluster-level summaries (Hayes and Moulton, Cluster Randomised Trials, 2017, chapter 10). A
    percentile bootstrap over so few seeds is too narrow where processes differ by more than rounds do: it told equals
    apart in one of five simulated duels. Contenders with other seeds are compared by Welch's interval.

    Parameters
    ----------
    slow, fast
        Rounds of two contenders, at least one each.
    paired
        Whether rounds of one number and seed ran in one block: the ratio of a seed is then the median of those of its
        blocks, so that what slowed the whole block cancels. Rounds without a partner are left out of the interval.
    """
    value = _of(summary(slow)) / _of(summary(fast))
    if paired:
        blocks = {(one["seed"], one["round"]) for one in slow} & {(one["seed"], one["round"]) for one in fast}
        slow, fast = _in_blocks(slow, blocks), _in_blocks(fast, blocks)
    ours, theirs = ({seed: np.log(values) for seed, values in by_seed(rounds).items()} for rounds in (slow, fast))
    seeds, rounds = min(len(ours), len(theirs)), min(len(slow), len(fast))
    if seeds < 2:
        return Ratio(value, None, seeds=seeds, rounds=rounds)
    if ours.keys() == theirs.keys():
        each = [
            np.median(ours[seed] - theirs[seed]) if paired else np.median(ours[seed]) - np.median(theirs[seed])
            for seed in ours
        ]
        middle, error, freedom = float(np.mean(each)), _error(each), float(seeds - 1)
    else:
        middle, error, freedom = _welch(*([float(np.median(one)) for one in side.values()] for side in (ours, theirs)))
    reach = float(stdtrit(freedom, 0.975)) * error
    low, high = math.exp(middle - reach), math.exp(middle + reach)
    return Ratio(value, (min(low, value), max(high, value)), error, seeds, rounds)


def instability(rounds: Sequence[Round]) -> list[str]:
    """Say in words what makes rounds less than trustworthy: few, spread, outliers, drift, other load. [] when stable.

    Rounds of different seeds may do different work, so each is held against the median of its own seed.
    """
    if not rounds:
        return []
    medians = {seed: median(values) for seed, values in by_seed(rounds).items()}
    relative = np.array([one["seconds"] / medians[one["seed"]] for one in rounds])
    found = []
    if len(rounds) < LEAST_ROUNDS:
        found.append(f"{plural(len(rounds), 'round')} {'is' if len(rounds) == 1 else 'are'} too few to see noise in")
    low, high = np.percentile(relative, [25, 75])
    if high - low > _SPREAD:
        found.append(f"the middle half of the rounds spreads over {100 * (high - low):.0f} % of the median")
    outliers = int((relative > _OUTLIER).sum())
    if outliers:
        found.append(f"{outliers} of {len(rounds)} rounds took over {_OUTLIER:g} times the median")
    found += _drift(relative)
    clocked = [one for one in rounds if one["others_seconds"] is not None]
    seconds = sum(one["seconds"] for one in clocked)
    if seconds < _LEAST_CLOCKED:
        return found
    others = sum(one["others_seconds"] or 0.0 for one in clocked)  # of single rounds it may be less than 0
    stolen = sum(one["stolen_seconds"] or 0.0 for one in clocked)
    if others / seconds > _OTHERS:
        found.append(f"other programs kept {others / seconds:.1f} cores busy meanwhile")
    if stolen / seconds > _STOLEN:
        found.append(f"the hypervisor took {100 * stolen / seconds:.0f} % of a core's time")
    return found


def doubts(record: Record) -> list[str]:
    """Say in words what makes a record's times less than trustworthy: of its rounds, and of the machine's state."""
    if not record["rounds"]:
        return []
    found, facts = instability(record["rounds"]), record["environment"]
    governor, throttled, limit = facts.get("governor"), facts.get("throttled"), facts.get("cpu_limit")
    if governor not in (None, "performance"):
        found.append(f"the frequency governor is {governor}, so the clock rate may change")
    if throttled:
        found.append(f"the processor was throttled {plural(throttled, 'time')} meanwhile")
    threads = record["backend"]["threads"]
    if limit is not None and limit < threads:
        found.append(f"the control group allows {plural(limit, 'core')}, the budget is {plural(threads, 'thread')}")
    return found


def _drift(relative: NDArray[np.float64]) -> list[str]:
    """Compare the last third of the rounds with the first: said where every one lies beyond, by over 5 %."""
    third = len(relative) // 3
    if third < 2:
        return []
    first, last = relative[:third], relative[-third:]
    change = float(np.median(last) / np.median(first) - 1)
    apart = first.max() < last.min() or last.max() < first.min()
    if not apart or abs(change) < _DRIFT:
        return []
    return [f"rounds got {100 * abs(change):.0f} % {'slower' if change > 0 else 'faster'} from the first to the last"]


def _of(value: float | None) -> float:
    if value is None:
        raise ValueError("a ratio needs at least one round of each contender")
    return value


def _in_blocks(rounds: Sequence[Round], blocks: set[tuple[int, int]]) -> list[Round]:
    kept = [one for one in rounds if (one["seed"], one["round"]) in blocks]
    return sorted(kept, key=lambda one: (one["seed"], one["round"]))


def _error(values: Sequence[float]) -> float:
    """Return the standard error of a mean."""
    return float(np.std(values, ddof=1)) / math.sqrt(len(values))


def _welch(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, float, float]:
    """Return the difference of two means, its standard error and its degrees of freedom (Welch 1947)."""
    errors = np.array([_error(ours), _error(theirs)]) ** 2
    counts = np.array([len(ours), len(theirs)])
    total = float(errors.sum())
    freedom = total**2 / float((errors**2 / (counts - 1)).sum()) if total else float(counts.min() - 1)
    return float(np.mean(ours) - np.mean(theirs)), math.sqrt(total), freedom
