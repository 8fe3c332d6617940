"""Summaries over seeds, ratios and their intervals, and what is said of rounds that cannot be trusted."""

from collections.abc import Sequence
from math import comb
from typing import Any

import numpy as np
import pytest

from bench.records import Round
from bench.stats import LEAST_ROUNDS, Ratio, by_seed, doubts, instability, ratio, seed_range, summary
from tests.fake_records import fake_record


def rounds(*by_seed: Sequence[float], **columns: Any) -> list[Round]:
    """Rounds with the seconds of each seed, whose rounds take turns as in a run; ``columns`` are the same for all."""
    fixed: dict[str, Any] = {
        "factor": 1.01,
        "prepare_seconds": 0.0,
        "first_epoch_seconds": None,
        "epoch_seconds": None,
        "cpu_seconds": None,
        "others_seconds": None,
        "stolen_seconds": None,
        "validation_mse": 1.0,
        "test_mse": None,
        "objective": None,
        "matched": True,
    }
    made = [
        Round(**{**fixed, **columns}, round=turn * len(by_seed) + seed, seed=seed, seconds=float(value))
        for seed, seconds in enumerate(by_seed)
        for turn, value in enumerate(seconds)
    ]
    return sorted(made, key=lambda one: one["round"])


def noisy(rng: np.random.Generator, mean: float = 1.0, noise: float = 0.02, seeds: int = 1, n: int = 12) -> list[Round]:
    return rounds(*(mean * np.exp(rng.normal(0, noise, (seeds, n)))))


def interval(found: Ratio) -> tuple[float, float]:
    assert found.interval is not None
    return found.interval


def width(found: Ratio) -> float:
    low, high = interval(found)
    return high - low


# ---- summaries ------------------------------------------------------------------------------------------------------


def test_a_summary_is_the_median_over_seeds_of_the_medians_of_their_rounds() -> None:
    uneven = rounds([1, 2, 9], [4, 5, 6], [7, 8, 30, 40, 50])
    assert summary(uneven) == 5  # not 7, the median of all rounds
    assert seed_range(uneven) == (2, 30)
    assert summary(rounds([1, 2], [5, 6])) == 3.5
    assert by_seed(rounds([1, 2], [5, 6])) == {0: [1, 2], 1: [5, 6]}


def test_one_seed_has_no_range_and_no_rounds_have_no_summary() -> None:
    assert seed_range(rounds([1, 2, 9])) is None
    assert (summary([]), seed_range([]), by_seed([])) == (None, None, {})


def test_values_that_are_none_are_left_out_of_a_summary() -> None:
    made = rounds([1, 1, 1], [1, 1, 1])
    for one, value in zip(made, [0.2, 0.5, None, 0.7, 0.3, None], strict=True):  # seeds 0, 1, 0, 1, 0, 1
        one["test_mse"] = value
    assert by_seed(made, "test_mse") == {0: [0.2, 0.3], 1: [0.5, 0.7]}
    assert summary(made, "test_mse") == pytest.approx((0.25 + 0.6) / 2)
    assert (summary(made, "objective"), seed_range(made, "objective")) == (None, None)


# ---- ratios ---------------------------------------------------------------------------------------------------------


def test_the_value_of_a_ratio_is_that_of_the_summaries() -> None:
    slow, fast = rounds([3, 4, 50], [6, 7, 8]), rounds([1, 2, 3], [2, 3, 90])
    assert ratio(slow, fast).value == pytest.approx(5.5 / 2.5)
    assert ratio(fast, slow).value == pytest.approx(2.5 / 5.5)


def test_an_interval_holds_the_value_and_lies_within_what_was_seen() -> None:
    slow, fast = rounds([2.0, 2.1, 2.2, 2.3, 2.4]), rounds([1.0, 1.1, 1.2, 1.3, 1.4])
    found = ratio(slow, fast)
    low, high = interval(found)
    assert 2.0 / 1.4 <= low < found.value < high <= 2.4 / 1.0
    assert not found.within_noise
    assert ratio(slow, slow).within_noise
    exact = ratio(rounds([3.0] * 5), rounds([2.0] * 5))
    assert (exact.value, exact.interval) == (1.5, (1.5, 1.5))


@pytest.mark.parametrize("n", [13, 17])
def test_an_interval_is_that_of_the_exact_bootstrap(n: int) -> None:
    """The median of n draws from 1, ..., n is at most k where more than half of them are: a binomial probability."""
    below = [sum(comb(n, m) * k**m * (n - k) ** (n - m) for m in range(n // 2 + 1, n + 1)) / n**n for k in range(n + 1)]
    low, high = (next(k for k, share in enumerate(below) if share >= level) for level in (0.025, 0.975))
    assert interval(ratio(rounds(range(1, n + 1)), rounds([1.0] * n))) == (low, high)
    assert interval(ratio(rounds([1.0] * n), rounds(range(1, n + 1)))) == pytest.approx((1 / high, 1 / low))


def test_an_interval_that_ends_at_1_does_not_exclude_it() -> None:
    found = [Ratio(1.0, ends).within_noise for ends in ((0.9, 1.0), (1.0, 1.1), (0.9, 0.999), (1.001, 1.1))]
    assert found == [True, True, False, False]


@pytest.mark.parametrize("paired", [False, True])
def test_fewer_than_five_rounds_have_no_interval(paired: bool) -> None:
    many, four = rounds([1, 2, 3], [1, 2, 3]), rounds([2, 4], [2, 4])
    for slow, fast in ((many, four), (four, many)):
        found = ratio(slow, fast, paired)
        assert (found.interval, found.rounds, found.rounds_to_tell) == (None, 4, None)
        assert not found.within_noise  # nothing can be told, that there is no difference neither
        assert found.value == pytest.approx(2 / 3 if slow is many else 3 / 2)
    assert LEAST_ROUNDS == 5
    found = ratio(rounds([1, 2, 3], [1, 2]), rounds([2, 4, 6], [2, 4]), paired)
    assert found.rounds == 5
    assert found.interval is not None


@pytest.mark.parametrize("which", ["first", "second", "both"])
def test_a_ratio_needs_rounds(which: str) -> None:
    some = rounds([1.0] * 5)
    with pytest.raises(ValueError, match=r"^a ratio needs at least one round of each contender$"):
        ratio([] if which != "second" else some, [] if which != "first" else some)


def test_the_same_rounds_give_the_same_interval_and_others_differ() -> None:
    rng = np.random.default_rng(1)
    slow, fast = noisy(rng, seeds=3, n=4), noisy(rng, seeds=3, n=4)
    for paired in (False, True):
        np.random.seed(3)  # noqa: NPY002  # the interval does not hang on the state that others share
        first = ratio(slow, fast, paired)
        np.random.seed(4)  # noqa: NPY002
        assert ratio(slow, fast, paired) == first
    assert ratio(fast, slow).interval != ratio(slow, fast).interval


def test_rounds_may_come_in_any_order() -> None:
    rng = np.random.default_rng(1)
    slow, fast = noisy(rng, 1.1, seeds=2, n=5), noisy(rng, seeds=2, n=5)
    assert ratio(slow[::-1], fast, paired=True) == ratio(slow, fast, paired=True)


def test_a_pair_leaves_rounds_without_a_partner_out_of_the_interval() -> None:
    rng = np.random.default_rng(2)
    slow, fast = noisy(rng, 1.2, seeds=2, n=5), noisy(rng, seeds=2, n=5)
    lonely = rounds([1.0] * 6, [1.0] * 6)[10:]  # rounds 10 and 11
    for one in lonely:
        one["seconds"] = 1000.0
    more = ratio([*slow, *lonely], fast, paired=True)
    assert (more.interval, more.rounds) == (ratio(slow, fast, paired=True).interval, 10)
    assert interval(ratio([*slow, *lonely], fast))[1] > 100  # which rounds that are no pairs are not
    later = [Round({**one, "round": one["round"] + 100}) for one in fast]
    apart = ratio(slow, later, paired=True)  # no block in common
    assert (apart.value, apart.interval, apart.rounds) == (ratio(slow, fast).value, None, 0)


def test_a_round_of_another_seed_is_no_partner() -> None:
    slow, fast = rounds([1.0] * 6), [Round({**one, "seed": 1}) for one in rounds([1.0] * 6)]
    assert ratio(slow, fast, paired=True).interval is None
    assert ratio(slow, fast).interval == (1, 1)


def test_what_slows_a_whole_block_cancels_in_a_pair_and_only_there() -> None:
    rng = np.random.default_rng(3)
    own = [np.exp(rng.normal(0, 0.003, (3, 4))) for _ in range(2)]
    blocks = rng.choice([1.0, 2.0], (3, 4))  # every other block at half speed
    slow, fast = rounds(*(1.05 * own[0] * blocks)), rounds(*(own[1] * blocks))
    paired, unpaired = ratio(slow, fast, paired=True), ratio(slow, fast)
    assert paired.value == unpaired.value
    assert not paired.within_noise
    assert width(paired) < 0.04
    assert unpaired.within_noise
    assert width(unpaired) > 0.5


def test_contenders_may_differ_in_their_seeds() -> None:
    """Where one has three seeds and the other one, as it was measured otherwise, the spread of the three counts."""
    three, one = rounds([2.0] * 3, [2.2] * 3, [2.4] * 3), rounds([1.0] * 5)
    found = ratio(three, one)
    assert found.value == pytest.approx(2.2)
    assert interval(found) == pytest.approx((2.0, 2.4))
    assert found.rounds == 5
    assert interval(ratio(one, three)) == pytest.approx((1 / 2.4, 1 / 2.0))
    assert interval(ratio(three, three)) == (1, 1)  # the same seeds are drawn for both


def test_seeds_are_resampled_as_one() -> None:
    """Rounds that agree within each seed, and seeds that do not among each other: more rounds make nothing surer."""
    rng = np.random.default_rng(0)
    level = np.exp(rng.normal(0, 0.1, (6, 1)))
    few, many = (ratio(rounds(*np.repeat(level, n, axis=1)), rounds([1.0] * 9)) for n in (1, 50))
    assert width(few) > 0.05
    assert width(many) == pytest.approx(width(few), rel=0.2)


def test_less_noise_and_more_rounds_narrow_an_interval() -> None:
    def typical(noise: float, n: int) -> float:
        rng = np.random.default_rng(5)
        return float(np.mean([width(ratio(noisy(rng, 1, noise, n=n), noisy(rng, 1, noise, n=n))) for _ in range(20)]))

    base = typical(0.02, 10)
    assert typical(0.04, 10) == pytest.approx(2 * base, rel=0.15)
    assert typical(0.02, 40) == pytest.approx(base / 2, rel=0.25)


def test_the_rounds_that_would_tell_shrink_with_the_noise() -> None:
    wanted = [
        ratio(noisy(np.random.default_rng(0), 1, noise), noisy(np.random.default_rng(1), 1, noise)).rounds_to_tell
        for noise in (0.2, 0.1, 0.05, 0.02, 0.001)
    ]
    assert wanted == sorted(wanted, reverse=True)  # type: ignore[type-var]
    assert wanted[-1] == LEAST_ROUNDS
    assert wanted[0] is not None
    assert wanted[1] is not None
    assert wanted[0] == pytest.approx(4 * wanted[1], rel=0.1)  # as the square of the noise


def test_as_many_rounds_as_would_tell_do_tell() -> None:
    """The number that 40 rounds ask for finds 5 % about nine times in ten, and a quarter of it does not."""
    rng = np.random.default_rng(11)
    noise, blocks = 0.08, 200
    asked = [ratio(noisy(rng, 1, noise, n=40), noisy(rng, 1, noise, n=40)).rounds_to_tell for _ in range(50)]
    wanted = int(np.median([one for one in asked if one is not None]))
    assert 40 < wanted < 300

    def found(n: int) -> float:
        told = (ratio(noisy(rng, 1.05, noise, n=n), noisy(rng, 1, noise, n=n)) for _ in range(blocks))
        return float(np.mean([not one.within_noise for one in told]))

    assert 0.8 < found(wanted) < 0.98
    assert found(wanted // 4) < 0.6


def test_the_rounds_that_would_tell_by_hand() -> None:
    error = 0.01
    found = Ratio(1.0, (float(np.exp(-1.96 * error)), float(np.exp(1.96 * error))), rounds=100)
    assert found.rounds_to_tell == 45  # ceil(100 (3.24 0.01 / ln 1.05)^2) = ceil(44.1)


# ---- what is said of rounds -----------------------------------------------------------------------------------------


def test_nothing_is_said_of_stable_rounds() -> None:
    calm = {"others_seconds": 0.05, "stolen_seconds": 0.01}
    assert instability(rounds([1.0, 1.02, 0.98, 1.01, 0.99, 1.03], **calm)) == []
    assert instability(noisy(np.random.default_rng(0), seeds=3, n=4)) == []
    assert instability([]) == []


@pytest.mark.parametrize(
    ("seconds", "columns", "said"),
    [
        ([1.0], {}, ["1 round is too few to see noise in"]),
        ([1.0] * 4, {}, ["4 rounds are too few to see noise in"]),
        (
            [0.9, 0.92, 1.0, 1.08, 1.1],
            {},
            ["the middle half of the rounds spreads over 16 % of the median"],
        ),
        ([1.0, 1.7, 1.0, 1.0, 1.0, 1.0], {}, ["1 of 6 rounds took over 1.5 times the median"]),
        ([1.0, 3, 1, 1, 1, 1, 9, 1, 1], {}, ["2 of 9 rounds took over 1.5 times the median"]),
        ([1.0, 1.01, 1.02, 1.03, 1.05, 1.08], {}, ["rounds got 6 % slower from the first to the last"]),
        ([1.08, 1.05, 1.03, 1.02, 1.01, 1.0], {}, ["rounds got 6 % faster from the first to the last"]),
        ([1.0] * 6, {"others_seconds": 0.7}, ["other programs kept 0.7 cores busy meanwhile"]),
        ([2.0] * 6, {"others_seconds": 0.6}, ["other programs kept 0.3 cores busy meanwhile"]),
        ([1.0] * 6, {"others_seconds": 0.0, "stolen_seconds": 0.05}, ["the hypervisor took 5 % of a core's time"]),
    ],
)
def test_what_is_said_of_rounds(seconds: list[float], columns: dict[str, Any], said: list[str]) -> None:
    assert instability(rounds(seconds, **columns)) == said


@pytest.mark.parametrize(
    ("seconds", "columns"),
    [
        ([0.95, 0.96, 1.0, 1.04, 1.05], {}),  # spread of 8 %
        ([1.0, 1.49, 1.0, 1.0, 1.0, 1.0], {}),
        ([1.0, 1.01, 1.02, 1.03, 1.04, 1.05], {}),  # slower by 4 %
        ([1.1, 0.95, 1.0, 1.0, 1.06, 1.05], {}),  # the last are slower, but not all of them than all of the first
        ([1.0, 1.0, 1.0, 1.08, 1.08], {}),  # thirds of one round say nothing
        ([1.0] * 6, {"others_seconds": 0.09}),
        ([1.0] * 6, {"others_seconds": 0.0, "stolen_seconds": 0.019}),
        ([1.0] * 6, {"others_seconds": None, "stolen_seconds": None}),
    ],
)
def test_what_is_not_worth_a_word(seconds: list[float], columns: dict[str, Any]) -> None:
    assert instability(rounds(seconds, **columns)) == []


def test_all_that_is_wrong_is_said_in_one_order() -> None:
    loud = {"others_seconds": 1.0, "stolen_seconds": 0.5}
    assert instability(rounds([1.0, 1.0, 1.2, 1.9], **loud)) == [
        "4 rounds are too few to see noise in",
        "the middle half of the rounds spreads over 34 % of the median",
        "1 of 4 rounds took over 1.5 times the median",
        "other programs kept 0.8 cores busy meanwhile",
        "the hypervisor took 39 % of a core's time",
    ]


def test_seeds_with_more_work_are_neither_spread_nor_outliers_nor_drift() -> None:
    assert instability(rounds([1.0] * 4, [2.0] * 4, [30.0] * 4)) == []
    one_after_the_other = sorted(rounds([1.0] * 4, [2.0] * 4, [30.0] * 4), key=lambda one: one["seed"])
    assert instability(one_after_the_other) == []
    assert instability(rounds([1.0] * 4, [2.0, 2.0, 2.0, 3.2])) == ["1 of 8 rounds took over 1.5 times the median"]


def test_only_rounds_that_were_watched_count_for_other_load() -> None:
    made = rounds([1.0] * 6)
    made[0]["others_seconds"] = 0.5
    assert instability(made) == ["other programs kept 0.5 cores busy meanwhile"]
    for one in made:
        one["others_seconds"] = 0.0
    made[0]["others_seconds"] = 0.5
    assert instability(made) == []


# ---- what is said of a record ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({}, []),
        ({"governor": "performance", "throttled": 0, "cpu_limit": 2.0}, []),
        ({"governor": "powersave"}, ["the frequency governor is powersave, so the clock rate may change"]),
        ({"throttled": 3}, ["the processor was throttled 3 times meanwhile"]),
        ({"cpu_limit": 1.5}, ["the control group allows 1.5 cores, the budget is 2 threads"]),
        ({"throttled": 1}, ["the processor was throttled 1 time meanwhile"]),
        ({"cpu_limit": 1}, ["the control group allows 1 core, the budget is 2 threads"]),
    ],
)
def test_doubts_about_the_machine(facts: dict[str, Any], said: list[str]) -> None:
    record = fake_record("numba-sgd", environment=facts)
    assert record["backend"]["threads"] == 2
    assert doubts(record) == said


def test_doubts_are_of_the_rounds_first_and_of_none_without_rounds() -> None:
    facts = {"governor": "powersave", "throttled": 1}
    noted = doubts(fake_record("numba-sgd", seconds=[1.0, 1.0], environment=facts))
    assert [one.split()[0:3] for one in noted] == [
        ["2", "rounds", "are"],
        ["the", "frequency", "governor"],
        ["the", "processor", "was"],
    ]
    assert doubts(fake_record("numba-sgd", status="timed out", environment=facts)) == []


def test_the_outlook_says_whether_a_difference_would_have_shown() -> None:
    assert Ratio(1.0, None, 4).outlook == ""
    assert Ratio(1.0, (0.999, 1.001), 9).outlook == "5 % would have shown"
    assert Ratio(1.0, (0.5, 2.0), 9).outlook == "about 4,964 rounds over all seeds would tell 5 %"
