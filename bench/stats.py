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

from .records import Record, Round

RESAMPLES = 2000
LEAST_ROUNDS = 5  # fewer rounds find a difference between equals in one of ten cases

_DETECTABLE = math.log(1.05)  # the difference that `rounds_to_tell` plans for
_POWER = 3.24  # standard errors between no difference and one found nine times in ten at 5 % (1.96 + 1.28)
_SPREAD, _OUTLIER, _DRIFT = 0.1, 1.5, 0.05  # relative; what is over them is said
_OTHERS, _STOLEN = 0.1, 0.02  # cores busy with other work, share of the time taken by the hypervisor


@dataclass(frozen=True)
class Ratio:
    """A ratio of medians with its 95 % interval, None where there are too few rounds for one."""

    value: float
    interval: tuple[float, float] | None
    rounds: int = 0  # of the contender with fewer

    @property
    def within_noise(self) -> bool:
        """Whether the interval holds 1, so that no difference can be told."""
        return self.interval is not None and self.interval[0] <= 1 <= self.interval[1]

    @property
    def rounds_to_tell(self) -> int | None:
        """How many rounds would find a difference of 5 % nine times in ten, at the noise seen here."""
        if self.interval is None:
            return None
        error = math.log(self.interval[1] / self.interval[0]) / (2 * 1.96)
        return max(LEAST_ROUNDS, math.ceil(self.rounds * (_POWER * error / _DETECTABLE) ** 2))

    @property
    def outlook(self) -> str:
        """What it would take to tell a difference of 5 %, in words; "" where nothing is known of the noise."""
        wanted = self.rounds_to_tell
        if wanted is None:
            return ""
        if wanted <= self.rounds:
            return "5 % would have shown"
        return f"about {wanted:,} rounds over all seeds would tell 5 %"


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

    The interval is a hierarchical percentile bootstrap (Efron 1979; Davison and Hinkley 1997, 3.8) of the ratio: seeds
    are resampled with replacement, the same for both, and within each the rounds. As each seed runs in a process of its
    own, the interval takes in what differs from round to round, from process to process and from start to start; with
    one seed, only the first. With few seeds it is too narrow where processes differ by more than rounds do: in
    simulation, three seeds tell equals apart in about one of five cases, not one of twenty.

    Parameters
    ----------
    slow, fast
        Rounds of two contenders, at least one each.
    paired
        Whether rounds of one number and seed ran in one block: they are then resampled together, so that what slowed
        the whole block cancels. Rounds without a partner are left out of the interval.
    """
    value = _of(summary(slow)) / _of(summary(fast))
    ours, theirs = by_seed(slow), by_seed(fast)
    if paired:
        blocks = {(one["seed"], one["round"]) for one in slow} & {(one["seed"], one["round"]) for one in fast}
        ours, theirs = (by_seed(_in_blocks(rounds, blocks)) for rounds in (slow, fast))
    count = min(sum(map(len, groups.values())) for groups in (ours, theirs))
    if count < LEAST_ROUNDS:
        return Ratio(value, None, count)
    rng = np.random.default_rng(0)
    seeds = {len(groups): rng.integers(0, len(groups), size=(RESAMPLES, len(groups))) for groups in (ours, theirs)}
    picks = _picks(ours, rng)
    above = _resampled(ours, seeds[len(ours)], picks)
    ratios = above / _resampled(theirs, seeds[len(theirs)], picks if paired else _picks(theirs, rng))
    low, high = np.percentile(ratios, [2.5, 97.5])
    return Ratio(value, (float(low), float(high)), count)


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
        found.append(f"{_counted(len(rounds), 'round')} {'is' if len(rounds) == 1 else 'are'} too few to see noise in")
    low, high = np.percentile(relative, [25, 75])
    if high - low > _SPREAD:
        found.append(f"the middle half of the rounds spreads over {100 * (high - low):.0f} % of the median")
    outliers = int((relative > _OUTLIER).sum())
    if outliers:
        found.append(f"{outliers} of {len(rounds)} rounds took over {_OUTLIER:g} times the median")
    found += _drift(relative)
    clocked = [one for one in rounds if one["others_seconds"] is not None]
    seconds = sum(one["seconds"] for one in clocked)
    others = sum(one["others_seconds"] or 0.0 for one in clocked)
    stolen = sum(one["stolen_seconds"] or 0.0 for one in clocked)
    if seconds and others / seconds > _OTHERS:
        found.append(f"other programs kept {others / seconds:.1f} cores busy meanwhile")
    if seconds and stolen / seconds > _STOLEN:
        found.append(f"the hypervisor took {100 * stolen / seconds:.0f} % of a core's time")
    return found


def doubts(record: Record) -> list[str]:
    """Say in words what makes a record's times less than trustworthy: of its rounds, and of the machine's state."""
    if not record["rounds"]:
        return []
    found, facts = instability(record["rounds"]), record["environment"]
    governor, throttled, limit = (facts.get(name) for name in ("governor", "throttled", "cpu_limit"))
    if governor not in (None, "performance"):
        found.append(f"the frequency governor is {governor}, so the clock rate may change")
    if throttled:
        found.append(f"the processor was throttled {_counted(throttled, 'time')} meanwhile")
    threads = record["backend"]["threads"]
    if isinstance(limit, int | float) and limit < threads:
        found.append(f"the control group allows {_counted(limit, 'core')}, the budget is {_counted(threads, 'thread')}")
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


def _counted(count: float, thing: str) -> str:
    return f"{count:g} {thing}{'s' * (count != 1)}"


def _of(value: float | None) -> float:
    if value is None:
        raise ValueError("a ratio needs at least one round of each contender")
    return value


def _in_blocks(rounds: Sequence[Round], blocks: set[tuple[int, int]]) -> list[Round]:
    kept = [one for one in rounds if (one["seed"], one["round"]) in blocks]
    return sorted(kept, key=lambda one: (one["seed"], one["round"]))


def _picks(groups: dict[int, list[float]], rng: np.random.Generator) -> list[NDArray[np.intp]]:
    """Draw, for each place of a resample and each seed in it, which of its rounds are taken.

    Each array belongs to a seed and has shape (RESAMPLES, places, its rounds).
    """
    return [
        rng.integers(0, len(groups[seed]), size=(RESAMPLES, len(groups), len(groups[seed]))) for seed in sorted(groups)
    ]


def _resampled(
    groups: dict[int, list[float]], seeds: NDArray[np.intp], picks: list[NDArray[np.intp]]
) -> NDArray[np.float64]:
    """Return the summary of each resample, shape (RESAMPLES,); ``seeds`` has shape (RESAMPLES, places)."""
    each = [np.median(np.asarray(groups[seed])[picks[at]], axis=2) for at, seed in enumerate(sorted(groups))]
    taken = np.take_along_axis(np.stack(each), seeds[np.newaxis], axis=0)[0]
    resampled: NDArray[np.float64] = np.median(taken, axis=1)
    return resampled
