"""Summaries over seeds, ratios and their intervals, and what is said of untrustworthy rounds."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from scipy import stats

from bench.records import Round
from bench.stats import (
    Ratio,
    by_seed,
    cores_busy,
    instability,
    ratio,
    seed_range,
    summary,
    warnings_of,
)
from tests.fake_records import fake_record
from tests.simulate_verdicts import DRIFTS, simulate


def rounds(*by_seed: Sequence[float], **columns: Any) -> list[Round]:
    """Rounds with the seconds of each seed, taking turns as in a run; all share ``columns``."""
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
        Round(
            **{**fixed, **columns},
            round=turn * len(by_seed) + seed,
            seed=seed,
            seconds=float(value),
        )
        for seed, seconds in enumerate(by_seed)
        for turn, value in enumerate(seconds)
    ]
    return sorted(made, key=lambda row: row["round"])


def noisy(
    rng: np.random.Generator, mean: float = 1.0, noise: float = 0.02, seeds: int = 1, n: int = 12
) -> list[Round]:
    return rounds(*(mean * np.exp(rng.normal(0, noise, (seeds, n)))))


def interval(found: Ratio) -> tuple[float, float]:
    assert found.interval is not None
    return found.interval


def width(found: Ratio) -> float:
    low, high = interval(found)
    return high - low


# ---- summaries ----------------------------------------------------------------------------------


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
    # The rounds are of seeds 0, 1, 0, 1, 0, 1.
    for row, value in zip(made, [0.2, 0.5, None, 0.7, 0.3, None], strict=True):
        row["test_mse"] = value
    assert by_seed(made, "test_mse") == {0: [0.2, 0.3], 1: [0.5, 0.7]}
    assert summary(made, "test_mse") == pytest.approx((0.25 + 0.6) / 2)
    assert (summary(made, "objective"), seed_range(made, "objective")) == (None, None)


# ---- ratios -------------------------------------------------------------------------------------


def test_the_value_of_a_ratio_is_that_of_the_summaries() -> None:
    slow, fast = rounds([3, 4, 50], [6, 7, 8]), rounds([1, 2, 3], [2, 3, 90])
    assert ratio(slow, fast).value == pytest.approx(5.5 / 2.5)
    assert ratio(fast, slow).value == pytest.approx(2.5 / 5.5)


def test_an_interval_is_students_of_the_ratios_of_the_seeds() -> None:
    """By SciPy's t test of one sample, of the logarithms."""
    slow, fast = (
        rounds([3.0, 3.3, 9.0], [4.0, 4.1, 4.2], [3.9, 4.0, 4.1]),
        rounds([1.0], [1.2], [1.1]),
    )
    each = np.log([3.3 / 1.0, 4.1 / 1.2, 4.0 / 1.1])
    low, high = stats.ttest_1samp(each, 0).confidence_interval(0.95)
    found = ratio(slow, fast)
    assert interval(found) == pytest.approx((np.exp(low), np.exp(high)))
    assert (found.seeds, found.rounds, found.error) == (
        3,
        3,
        pytest.approx(each.std(ddof=1) / 3**0.5),
    )
    assert interval(ratio(fast, slow)) == pytest.approx((1 / np.exp(high), 1 / np.exp(low)))
    assert not found.within_noise
    assert ratio(slow, slow).within_noise
    exact = ratio(rounds([3.0], [3.0]), rounds([2.0], [2.0]))
    assert (exact.value, exact.interval) == (1.5, pytest.approx((1.5, 1.5)))


def test_an_interval_holds_the_value() -> None:
    rng = np.random.default_rng(4)
    for _ in range(200):
        found = ratio(
            rounds(*np.exp(rng.standard_t(3, (6, 3)))), rounds(*np.exp(rng.standard_t(3, (6, 3))))
        )
        assert interval(found)[0] <= found.value <= interval(found)[1]


def test_an_interval_that_ends_at_1_does_not_exclude_it() -> None:
    found = [
        Ratio(1.0, ends).within_noise
        for ends in ((0.9, 1.0), (1.0, 1.1), (0.9, 0.999), (1.001, 1.1))
    ]
    assert found == [True, True, False, False]


@pytest.mark.parametrize("paired", [False, True])
def test_one_seed_has_no_interval_however_many_its_rounds(paired: bool) -> None:
    slow, fast = rounds([2.0, 4.0] * 50), rounds([1.0] * 100)
    found = ratio(slow, fast, paired)
    assert (found.value, found.interval, found.error) == (3, None, None)
    assert (found.seeds, found.rounds, found.seeds_to_detect, found.outlook) == (1, 100, None, "")
    assert not found.within_noise  # nothing can be told, not even that there is no difference
    assert ratio(rounds([2.0], [2.1]), rounds([1.0], [1.1]), paired).interval is not None


@pytest.mark.parametrize("which", ["first", "second", "both"])
def test_a_ratio_needs_rounds(which: str) -> None:
    five = rounds([1.0] * 5)
    contenders = {"first": ([], five), "second": (five, []), "both": ([], [])}
    with pytest.raises(ValueError, match=r"^a ratio needs at least one round of each contender$"):
        ratio(*contenders[which])


def test_rounds_may_come_in_any_order() -> None:
    rng = np.random.default_rng(1)
    slow, fast = noisy(rng, 1.1, seeds=2, n=5), noisy(rng, seeds=2, n=5)
    assert ratio(slow[::-1], fast, paired=True) == ratio(slow, fast, paired=True)


def test_a_pair_leaves_rounds_without_a_partner_out_of_the_interval() -> None:
    rng = np.random.default_rng(2)
    slow, fast = noisy(rng, 1.2, seeds=2, n=5), noisy(rng, seeds=2, n=5)
    lonely = rounds([1.0] * 6, [1.0] * 6)[10:]  # rounds 10 and 11
    for row in lonely:
        row["seconds"] = 1000.0
    more = ratio([*slow, *lonely], fast, paired=True)
    assert (more.interval, more.rounds) == (ratio(slow, fast, paired=True).interval, 10)
    assert interval(ratio([*slow, *lonely], fast)) != more.interval
    later = [Round({**row, "round": row["round"] + 100}) for row in fast]
    apart = ratio(slow, later, paired=True)  # no block in common
    assert (apart.value, apart.interval, apart.seeds, apart.rounds) == (
        ratio(slow, fast).value,
        None,
        0,
        0,
    )


def test_a_seed_without_a_common_block_is_compared_by_its_medians() -> None:
    """As where the rounds of one were timed anew, and the other's are not."""
    rng = np.random.default_rng(2)
    slow, fast = noisy(rng, 1.2, seeds=3, n=4), noisy(rng, seeds=3, n=4)
    anew = [Round({**row, "round": row["round"] + 4 * (row["seed"] == 1)}) for row in slow]
    found = ratio(anew, fast, paired=True)
    assert (found.seeds, found.rounds) == (3, 8)
    assert found.interval is not None
    middles = [
        np.median(np.log(by_seed(slow)[1])) - np.median(np.log(by_seed(fast)[1])),
        *(np.median(np.log(by_seed(slow)[seed]) - np.log(by_seed(fast)[seed])) for seed in (0, 2)),
    ]
    assert found.error == pytest.approx(np.std(middles, ddof=1) / np.sqrt(3))


def test_a_round_of_another_seed_is_no_partner() -> None:
    slow = rounds([1.0] * 3, [1.1] * 3)
    fast = [Round({**row, "seed": row["seed"] + 2}) for row in slow]
    assert ratio(slow, fast, paired=True).interval is None
    assert ratio(slow, fast).interval is not None


def test_what_slows_a_whole_block_cancels_in_a_pair_and_only_there() -> None:
    rng = np.random.default_rng(3)
    own = [np.exp(rng.normal(0, 0.003, (3, 4))) for _ in range(2)]
    blocks = rng.choice([1.0, 2.0], (3, 4))  # every other block at half speed
    slow, fast = rounds(*(1.05 * own[0] * blocks)), rounds(*(own[1] * blocks))
    paired, elsewhere = (
        ratio(slow, fast, paired=True),
        ratio(slow, rounds(*(own[1] * blocks[::-1])), paired=True),
    )
    assert not paired.within_noise
    assert width(paired) < 0.05
    assert elsewhere.within_noise
    assert width(elsewhere) > 0.2


def test_contenders_with_other_seeds_are_compared_by_welch() -> None:
    slow = rounds([2.0] * 3, [2.2] * 3, [2.4] * 3)
    fast = [Round({**row, "seed": row["seed"] + 7}) for row in rounds([1.0], [1.3], [1.2], [1.15])]
    welch = stats.ttest_ind(np.log([2.0, 2.2, 2.4]), np.log([1.0, 1.3, 1.2, 1.15]), equal_var=False)
    low, high = welch.confidence_interval(0.95)
    found = ratio(slow, fast)
    assert interval(found) == pytest.approx((np.exp(low), np.exp(high)))
    assert (found.seeds, found.rounds) == (3, 4)
    # One seed says nothing of what differs between processes.
    assert ratio(slow, rounds([1.0] * 5)).interval is None
    level = rounds([1.0], [1.0], [1.0])
    assert interval(ratio(level, [Round({**row, "seed": row["seed"] + 1}) for row in level])) == (
        1,
        1,
    )


def test_more_rounds_of_seeds_that_differ_make_nothing_surer() -> None:
    rng = np.random.default_rng(0)
    level = np.exp(rng.normal(0, 0.1, (6, 1)))
    few, many = (ratio(rounds(*np.repeat(level, n, axis=1)), rounds(*[[1.0]] * 6)) for n in (1, 50))
    assert width(few) > 0.05
    assert many.interval == pytest.approx(few.interval)
    assert many.seeds_to_detect == few.seeds_to_detect
    assert few.seeds_to_detect is not None
    assert few.seeds_to_detect > 6


def test_less_noise_and_more_seeds_narrow_an_interval() -> None:
    def typical(noise: float, seeds: int) -> float:
        rng = np.random.default_rng(5)
        made = (ratio(*(noisy(rng, 1, noise, seeds, n=3) for _ in range(2))) for _ in range(60))
        return float(np.mean([width(found) for found in made]))

    base = typical(0.02, 10)
    assert typical(0.04, 10) == pytest.approx(2 * base, rel=0.15)
    assert typical(0.02, 40) == pytest.approx(base / 2 * 2.02 / 2.26, rel=0.1)  # of Student's t


@pytest.mark.parametrize(("process", "noise"), [(0.0, 0.08), (0.05, 0.01)])
def test_as_many_seeds_as_would_tell_do_tell(process: float, noise: float) -> None:
    """The number of seeds that 20 ask for finds 5 % nine times in ten, and a third does not."""
    rng = np.random.default_rng(11)

    def duel(slower: float, seeds: int) -> Ratio:
        logs = (
            rng.normal(0, process, (seeds, 1)) + rng.normal(0, noise, (seeds, 3)) for _ in range(2)
        )
        slow, fast = (rounds(*np.exp(drawn)) for drawn in logs)
        return ratio([Round({**row, "seconds": slower * row["seconds"]}) for row in slow], fast)

    asked = [duel(1, 20).seeds_to_detect for _ in range(50)]
    wanted = int(np.median([seeds for seeds in asked if seeds is not None]))
    assert 20 < wanted < 60

    def found(seeds: int) -> float:
        return float(np.mean([not duel(1.05, seeds).within_noise for _ in range(300)]))

    assert 0.8 < found(wanted) < 0.98
    assert found(wanted // 3) < 0.7


def test_the_seeds_that_would_tell_by_hand() -> None:
    """n = (t(.975) + t(.9))^2 (spread / ln 1.05)^2, by the tables of Student's t.

    They say 1.671 + 1.296 for n = 61.
    """
    wanted = Ratio(1.0, (0.9, 1.1), error=0.1 / 8, seeds=64).seeds_to_detect
    assert wanted == 47  # (2.013 + 1.300)^2 (0.1 / 0.04879)^2 = 46.1
    assert Ratio(1.0, (1.0, 1.0), error=0.0, seeds=3).seeds_to_detect == 2


# ---- what is said of rounds ---------------------------------------------------------------------


def test_nothing_is_said_of_stable_rounds() -> None:
    calm = {"others_seconds": 0.05, "stolen_seconds": 0.01}
    assert instability(rounds([1.0, 1.02, 0.98, 1.01, 0.99, 1.03], **calm)) == []
    assert instability(noisy(np.random.default_rng(0), seeds=3, n=4)) == []
    assert instability([]) == []


@pytest.mark.parametrize(
    ("seconds", "columns", "said"),
    [
        ([1.0], {}, ["1 round is too few to estimate the noise"]),
        ([1.0] * 4, {}, ["4 rounds are too few to estimate the noise"]),
        (
            [0.9, 0.92, 1.0, 1.08, 1.1],
            {},
            ["the middle half of the rounds spans 16 % of the median"],
        ),
        ([1.0, 1.7, 1.0, 1.0, 1.0, 1.0], {}, ["1 of 6 rounds took over 1.5 times the median"]),
        ([1.0, 3, 1, 1, 1, 1, 9, 1, 1], {}, ["2 of 9 rounds took over 1.5 times the median"]),
        (
            [1.0, 1.01, 1.02, 1.03, 1.05, 1.08],
            {},
            ["rounds became 6 % slower from the first to the last"],
        ),
        (
            [1.08, 1.05, 1.03, 1.02, 1.01, 1.0],
            {},
            ["rounds became 6 % faster from the first to the last"],
        ),
        (
            [1.0] * 6,
            {"others_seconds": 0.7},
            ["other programs kept 0.7 cores busy during the rounds"],
        ),
        (
            [0.09] * 6,
            {"others_seconds": 0.05},
            ["other programs kept 0.6 cores busy during the rounds"],
        ),
        (
            [2.0] * 6,
            {"others_seconds": 0.6},
            ["other programs kept 0.3 cores busy during the rounds"],
        ),
        (
            [1.0] * 6,
            {"others_seconds": 0.0, "stolen_seconds": 0.05},
            ["the hypervisor took 5 % of a core's time"],
        ),
    ],
)
def test_what_is_said_of_rounds(
    seconds: list[float], columns: dict[str, Any], said: list[str]
) -> None:
    assert instability(rounds(seconds, **columns)) == said


@pytest.mark.parametrize(
    ("seconds", "columns"),
    [
        ([0.95, 0.96, 1.0, 1.04, 1.05], {}),  # spread of 8 %
        ([1.0, 1.49, 1.0, 1.0, 1.0, 1.0], {}),
        ([1.0, 1.01, 1.02, 1.03, 1.04, 1.05], {}),  # slower by 4 %
        # The last are slower, but not every one of them than all of the first.
        ([1.1, 0.95, 1.0, 1.0, 1.06, 1.05], {}),
        ([1.0, 1.0, 1.0, 1.08, 1.08], {}),  # thirds of one round say nothing
        ([1.0] * 6, {"others_seconds": 0.09}),
        # CPU time is counted in steps of 0.01 s.
        ([0.05] * 6, {"others_seconds": 0.05, "stolen_seconds": 0.05}),
        ([1.0] * 6, {"others_seconds": 0.0, "stolen_seconds": 0.019}),
        ([1.0] * 6, {"others_seconds": None, "stolen_seconds": None}),
    ],
)
def test_calm_rounds_give_no_warning(seconds: list[float], columns: dict[str, Any]) -> None:
    assert instability(rounds(seconds, **columns)) == []


def test_all_that_is_wrong_is_listed_in_a_fixed_order() -> None:
    loud = {"others_seconds": 1.0, "stolen_seconds": 0.5}
    assert instability(rounds([1.0, 1.0, 1.2, 1.9], **loud)) == [
        "4 rounds are too few to estimate the noise",
        "the middle half of the rounds spans 34 % of the median",
        "1 of 4 rounds took over 1.5 times the median",
        "other programs kept 0.8 cores busy during the rounds",
        "the hypervisor took 39 % of a core's time",
    ]


def test_seeds_with_more_work_are_neither_spread_nor_outliers_nor_drift() -> None:
    assert instability(rounds([1.0] * 4, [2.0] * 4, [30.0] * 4)) == []
    one_after_the_other = sorted(
        rounds([1.0] * 4, [2.0] * 4, [30.0] * 4), key=lambda row: row["seed"]
    )
    assert instability(one_after_the_other) == []
    assert instability(rounds([1.0] * 4, [2.0, 2.0, 2.0, 3.2])) == [
        "1 of 8 rounds took over 1.5 times the median"
    ]


def drifting(
    rng: np.random.Generator, slope: float, seeds: int = 3, n: int = 3, noise: float = 0.01
) -> list[Round]:
    """Rounds of seeds that differ by up to half, each of which becomes slower by ``slope``."""
    level = rng.uniform(1, 1.5, (seeds, 1))
    steady = np.linspace(1, 1 + slope, n)
    return rounds(*(level * steady * np.exp(rng.normal(0, noise, (seeds, n)))))


def drift_warnings(made: Sequence[Round]) -> list[str]:
    return [warning for warning in instability(made) if "became" in warning]


@pytest.mark.parametrize("seed_by_seed", [False, True], ids=["seeds in turn", "seed by seed"])
@pytest.mark.parametrize(("seeds", "n"), [(3, 3), (5, 3), (2, 6), (1, 9), (4, 2)])
def test_a_drift_within_the_seeds_is_found_in_either_order(
    seed_by_seed: bool, seeds: int, n: int
) -> None:
    def shares(slope: float) -> float:
        rng = np.random.default_rng(3)
        found = []
        for _ in range(200):
            made = drifting(rng, slope, seeds, n)
            if seed_by_seed:
                made.sort(key=lambda row: row["seed"])
            found.append(bool(drift_warnings(made)))
        return float(np.mean(found))

    assert shares(0.12) > 0.95
    assert shares(-0.12) > 0.95
    assert shares(0.0) <= 0.01


def test_a_drift_is_told_in_words_and_seeds_that_differ_are_none() -> None:
    slower = rounds([1.0, 1.05, 1.1], [3.0, 3.15, 3.3])
    said = "each seed's rounds became 10 % slower from the first to the last"
    assert drift_warnings(slower) == [said]
    assert drift_warnings(sorted(slower, key=lambda row: row["seed"])) == [said]
    # The second seed ran when the machine was slower, which no round of its own shows.
    assert drift_warnings(rounds([1.0] * 3, [1.2] * 3)) == []
    # One seed in which the rounds become slower and one in which they become faster.
    assert drift_warnings(rounds([1.0, 1.05, 1.1], [1.1, 1.05, 1.0])) == []
    assert drift_warnings(rounds([1.0], [2.0], [3.0])) == []


def test_the_cores_that_were_busy_need_rounds_that_are_long_enough() -> None:
    made = rounds([0.2, 0.3], [0.1, 0.4], cpu_seconds=0.3)
    assert cores_busy(made) == pytest.approx(1.2)
    assert cores_busy(made[:1]) is None  # of 0.2 s
    made[0]["cpu_seconds"] = None
    assert cores_busy(made) == pytest.approx(0.9 / 0.8)
    assert cores_busy(rounds([9.0])) is None
    assert cores_busy([]) is None


def test_only_rounds_that_were_watched_count_for_other_load() -> None:
    made = rounds([1.0] * 6)
    made[0]["others_seconds"] = 0.5
    assert instability(made) == ["other programs kept 0.5 cores busy during the rounds"]
    for row in made:
        row["others_seconds"] = 0.0
    made[0]["others_seconds"] = 0.5
    assert instability(made) == []


# ---- what is said of a record -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({}, []),
        ({"governor": "performance", "throttled": 0, "cpu_limit": 2.0}, []),
        (
            {"governor": "powersave"},
            ["the frequency governor is powersave, so the clock rate may change"],
        ),
        ({"throttled": 3}, ["the processor was throttled 3 times during the measurement"]),
        ({"cpu_limit": 1.5}, ["the cgroup allows 1.5 cores, the budget is 2 threads"]),
        ({"throttled": 1}, ["the processor was throttled 1 time during the measurement"]),
        ({"cpu_limit": 1}, ["the cgroup allows 1 core, the budget is 2 threads"]),
    ],
)
def test_warnings_about_the_machine(facts: dict[str, Any], said: list[str]) -> None:
    record = fake_record("numba-sgd", environment=facts)
    assert record["backend"]["threads"] == 2
    assert warnings_of(record) == said


def test_warnings_name_the_rounds_first_and_need_rounds() -> None:
    facts = {"governor": "powersave", "throttled": 1}
    noted = warnings_of(fake_record("numba-sgd", seconds=[1.0, 1.0], environment=facts))
    assert [warning.split()[0:3] for warning in noted] == [
        ["2", "rounds", "are"],
        ["the", "frequency", "governor"],
        ["the", "processor", "was"],
    ]
    assert warnings_of(fake_record("numba-sgd", status="timed out", environment=facts)) == []


@pytest.mark.parametrize(("share", "warned"), [(1.01, False), (0.81, False), (0.79, True)])
def test_an_error_that_no_solver_reaches_is_doubted(share: float, warned: bool) -> None:
    record = fake_record("numba-sgd")
    for row in record["rounds"]:
        row["validation_mse"] = share * record["reference"]["validation_mse"]
    said = (
        "its validation MSE of 0.6661 is 21 % below the reference's 0.8432, where no solver of "
        "this objective gets: it may see the validation ratings, or minimise something else"
    )
    assert warnings_of(record) == ([said] if warned else [])


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (Ratio(1.0, None, None, 1, 4), ""),
        (Ratio(1.0, (0.999, 1.001), 0.0002, 3, 9), "a difference of 5 % is ruled out"),
        (
            Ratio(1.0, (0.94, 1.06), 0.012, 3, 9),
            "about 5 seeds with 3 rounds each would detect a difference of 5 %",
        ),
        (
            Ratio(1.0, (0.5, 2.0), 0.16, 3, 3),
            "about 341 seeds with 1 round each would detect a difference of 5 %",
        ),
        (
            Ratio(1.0, (0.1, 9.0), 0.9, 3, 9),
            "1,000 or more seeds would be needed to detect a difference of 5 %",
        ),
        (
            Ratio(1.02, (0.999, 1.0505), 0.001, 4, 12),
            "about 5 seeds with 3 rounds each would detect a difference of 5 %",
        ),
    ],
)
def test_the_outlook_says_what_it_would_take(found: Ratio, said: str) -> None:
    assert found.outlook == said


def test_rounds_whose_load_was_underestimated_count_too() -> None:
    """Errors of the coarse count go both ways; adding up the positive ones always finds a load."""
    made = rounds([0.2] * 6)
    for row, value in zip(made, [0.04, -0.05, 0.05, -0.04, 0.03, -0.03], strict=True):
        row["others_seconds"] = value
    assert instability(made) == []


# ---- verdicts on a machine that drifts ----------------------------------------------------------


@pytest.mark.parametrize("drift", DRIFTS)
def test_backends_that_take_turns_are_judged_as_on_a_steady_machine(drift: str) -> None:
    """Of 150 each; with a true share of 5 %, more than 10 % would be found in 1 of 200 tests."""
    found = simulate("interleaved", drift, 150, np.random.default_rng(7))
    assert found.equals <= 0.1
    assert found.fastest <= 0.1
    assert found.slower >= 0.8


def test_backends_measured_one_by_one_are_told_apart_by_drift_alone() -> None:
    """So the simulation has a drift that matters."""
    assert simulate("sequential", "slope", 50, np.random.default_rng(7)).equals > 0.5
    assert simulate("sequential", "none", 50, np.random.default_rng(7)).equals <= 0.14
