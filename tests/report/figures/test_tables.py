"""Which figures there are, and the numbers in their tables."""

from __future__ import annotations

from typing import Any

import pytest
from fake_records import fake_record, fake_roofline

from bench import stats
from bench.report.figures import Figure, vega_spec
from bench.report.figures.kinds.convergence import thinned
from bench.report.outcome.cases import Case, group_cases, ratio
from bench.report.outcome.rooflines import group_rooflines
from bench.report.outcome.starts import median_start
from bench.report.outcome.tidy import cases_table, cold_table
from bench.text.wording import TIMES, number

from .conftest import (
    FIGURES,
    OURS,
    case_figures,
    named,
    overall_figures,
    roofline_figures,
    seeded,
    texts,
    to_svg,
)

# ---- what there is ------------------------------------------------------------------------------


def known(figures: list[Figure]) -> set[str]:
    """The stems of figures, except kinds that these tests do not know."""
    return {figure.stem for figure in figures} & (FIGURES | {"threads"})


def test_a_case_has_its_figures(case: Case, sweep: Case) -> None:
    assert known(case_figures(case)) == FIGURES
    assert known(case_figures(sweep)) == FIGURES - {"memory_device"} | {"threads"}


def test_several_cases_have_profile_and_sizes(case: Case, sizes: list[Case]) -> None:
    assert [figure.stem for figure in overall_figures(sizes)] == ["profile", "size"]
    assert overall_figures([case]) == []


def test_cases_that_differ_in_more_than_size_have_no_figure_of_sizes() -> None:
    other = {"name": "other", "n_train": 160_000, "rank": 64}
    cases = group_cases([fake_record(), fake_record(case=other)])
    assert [figure.stem for figure in overall_figures(cases)] == ["profile"]


@pytest.mark.parametrize(
    ("changes", "joined"),
    [
        ([{"reg": 0.1}, {"reg": 0.2}], True),  # which is chosen for the data
        ([{}, {"damping": 5.0}], False),
        ([{}, {"bias_reg": 0.02}], False),
        # Records of version 4.
        ([{"reg": reg, "bias_reg": reg, "reg_unit": "rating"} for reg in (0.1, 0.2)], True),
        ([{}, {"reg_unit": "rating"}], False),
    ],
)
def test_sizes_are_joined_where_the_objective_is_the_same_but_for_reg(
    changes: list[dict[str, Any]], joined: bool
) -> None:
    cases = group_cases(
        [fake_record(case={"n_train": 1000 + n, **facts}) for n, facts in enumerate(changes)]
    )
    assert len(cases) == 2
    assert ("size" in [figure.stem for figure in overall_figures(cases)]) == joined


@pytest.mark.parametrize("status", ["unavailable", "crashed"])
def test_nothing_to_show_is_left_out(status: Any) -> None:
    (case,) = group_cases([fake_record("numpy", status), fake_record("b", status)])
    assert case_figures(case) == []
    assert roofline_figures(group_rooflines([fake_roofline(status="crashed", costs=[])])[0]) == []


def test_one_backend_with_one_round_has_no_uses_and_no_memory() -> None:
    (case,) = group_cases([fake_record(seconds=[1.0], cold=[], memory=None)])
    assert known(case_figures(case)) == FIGURES - {
        "uses",
        "memory",
        "memory_device",
    }


def test_every_figure_says_in_words_what_it_shows(figures: list[Figure]) -> None:
    for figure in figures:
        assert figure.title and figure.caption.endswith(".") and figure.alt.endswith(".")
        for axis in (figure.x, figure.y):
            assert axis.categories or axis.title
        assert set(figure.values) <= set(figure.table.columns)


# ---- the numbers --------------------------------------------------------------------------------


def test_seconds_are_those_of_the_records(case: Case) -> None:
    table = named(case_figures(case), "seconds").table
    for entry in case.ranked:
        rows = table[table["backend"] == entry.name]
        rounds = rows[rows["kind"] == "round"]["seconds"].tolist()
        assert rounds == [row["seconds"] for row in entry.record["rounds"]]
        assert rows[rows["kind"] == "median"]["seconds"].tolist() == [
            stats.summary(entry.record["rounds"])
        ]


def test_a_stopped_run_is_a_bound_and_what_else_failed_is_named(case: Case) -> None:
    figure = named(case_figures(case), "seconds")
    stopped = figure.table[figure.table["kind"] == "stopped"]
    assert stopped[["backend", "seconds", "label"]].to_numpy().tolist() == [
        ["lost-tim", 180.0, "> 180 s"]
    ]
    assert next(layer for layer in figure.layers if layer.of == "stopped").hollow
    assert "> 180 s" in texts(to_svg(vega_spec(figure)))
    assert figure.y.categories[-1] == "lost-tim"
    assert "Without a time: lost-" in figure.caption and "lost-mis" in figure.alt


def labels_of(case: Case) -> dict[str, str]:
    table = named(case_figures(case), "seconds").table
    medians = table[table["kind"] == "median"]
    return dict(zip(medians["backend"], medians["label"], strict=True))


def test_speed_ups_stand_beside_the_seconds_and_are_the_ratios(case: Case) -> None:
    labels = labels_of(case)
    base = case.yardstick
    assert base is not None and base.name == "numpy"
    for entry in case.ranked:
        seconds = f"{number(entry.median)} s"
        speedup = number(ratio(base, entry).value)
        beside = "" if entry is base else f", {speedup} {TIMES} numpy"
        assert labels[entry.name] == seconds + beside
    caption = named(case_figures(case), "seconds").caption
    assert f" {TIMES}: how many times as fast as numpy. Without a time" in caption


def test_what_a_speed_up_is_relative_to_is_said_where_it_is_not_numpy() -> None:
    records = [fake_record("a", seconds=[1.0] * 5), fake_record("b" * 30, seconds=[3.0] * 5)]
    (case,) = group_cases(records)
    assert labels_of(case) == {"a": f"1.00 s, 3.00 {TIMES} {'b' * 15}…", "b" * 30: "3.00 s"}
    said = f"as fast as {'b' * 30}, the slowest that matched, as numpy was not measured."
    assert named(case_figures(case), "seconds").caption.endswith(said)
    (alone,) = group_cases(records[:1])
    assert labels_of(alone) == {"a": "1.00 s"}
    assert TIMES not in named(case_figures(alone), "seconds").caption


def test_a_target_that_a_seed_missed_is_left_out() -> None:
    record = seeded(fake_record())
    for row in record["rungs"]:
        row["matched"] = row["seed"] != 1
    (case,) = group_cases([record, seeded(fake_record("b"))])
    pareto = named(case_figures(case), "pareto").table
    assert pareto[pareto["backend"] == "numpy"]["target"].tolist() == ["1 %"]
    assert sorted(pareto[pareto["backend"] == "b"]["target"]) == ["1 %", "5 %"]


def test_phases_of_a_use_add_up_to_its_total(case: Case) -> None:
    figure = named(case_figures(case), "uses")
    assert figure.lanes == ("first fit", "new process", "in a loop")
    assert figure.y.categories == tuple(entry.name for entry in case.ranked)
    table = figure.table
    numpy = next(entry for entry in case.ranked if entry.name == "numpy")
    first, new = (start["total_seconds"] for start in numpy.record["cold"])
    totals = {"first fit": first, "new process": new, "in a loop": numpy.median}
    for lane, total in totals.items():
        rows = table[(table["backend"] == "numpy") & (table["lane"] == lane)]
        assert rows["to"].max() == pytest.approx(total) == pytest.approx(rows["seconds"].sum())
        assert rows["from"].tolist() == pytest.approx([0.0, *rows["to"].tolist()[:-1]])
        assert rows["label"].tolist()[-1] == f"{number(total)} s, {lane}"


def start(caches: str, total: float) -> Any:
    return {
        "caches": caches,
        "import_seconds": 0.25 * total,
        "compile_seconds": 0.25 * total,
        "prepare_seconds": 0.125 * total,
        "fit_seconds": 0.5 * total,
        "total_seconds": total,
    }


@pytest.mark.parametrize(
    ("totals", "median"),
    [([4.0], 4.0), ([4.0, 8.0], 8.0), ([16.0, 4.0, 8.0], 8.0), ([32.0, 4.0, 16.0, 8.0], 16.0)],
)
def test_of_several_starts_the_one_with_the_median_total_is_shown(
    totals: list[float], median: float
) -> None:
    starts = [start("filled", total) for total in totals]
    record = fake_record("a", seconds=1.0, cold=[*starts, start("empty", 64.0)])
    assert median_start(record, "filled") == start("filled", median)
    (case,) = group_cases([record])
    table = named(case_figures(case), "uses").table
    rows = table[table["lane"] == "new process"]
    shares = [0.25, 0.25, 0.125, 0.375]
    assert rows["seconds"].tolist() == [share * median for share in shares]
    numbered = cold_table([record])
    assert numbered["caches"].tolist() == [*["filled"] * len(totals), "empty", "warm"]
    assert numbered["start"].tolist()[:-1] == [*range(1, len(totals) + 1), 1]
    results = cases_table([record])
    assert results["cold_seconds_caches_filled"].tolist() == [median]
    assert results["cold_seconds"].tolist() == [64.0]


def test_a_use_that_was_not_measured_has_no_bar() -> None:
    timed = fake_record("b", cold=[])
    record = fake_record("a", cold=[start("empty", 2.0)])
    assert median_start(record, "filled") is None
    (case,) = group_cases([record, timed])
    figure = named(case_figures(case), "uses")
    assert figure.lanes == ("first fit", "in a loop")
    shown = figure.table.groupby("backend")["lane"].unique().map(list).to_dict()
    assert shown == {"a": ["first fit", "in a loop"], "b": ["in a loop"]}
    assert figure.caption.endswith("A use without a bar was not measured.")
    (case,) = group_cases([timed])
    assert "uses" not in known(case_figures(case))


def test_memory_is_split_where_it_is_known(case: Case) -> None:
    table = named(case_figures(case), "memory").table
    memory = case.ranked[1].record["memory"]
    assert memory is not None and memory["peak_mb"] is not None and memory["fit_mb"] is not None
    rows = table[table["backend"] == case.ranked[1].name].set_index("part")["mb"].to_dict()
    assert rows == pytest.approx(
        {"before the fit": memory["peak_mb"] - memory["fit_mb"], "by the fit": memory["fit_mb"]}
    )
    assert named(case_figures(case), "memory_device").table["mb"].tolist() == [812.0]


def test_threads_are_compared_with_what_they_could_bring(sweep: Case) -> None:
    table = named(case_figures(sweep), "threads").table
    assert set(table["backend"]) == {
        "numba-gd",
        "numba-sgd",
    }  # numpy ran with one number of threads
    rows = table[table["backend"] == "numba-gd"]
    medians = {
        entry.record["backend"]["threads"]: entry.median
        for entry in sweep.ranked
        if "numba-gd" in entry.name
    }
    assert dict(zip(rows["threads"], rows["seconds"], strict=True)) == medians
    assert rows["ideal"].tolist() == pytest.approx([medians[1], medians[1] / 2, medians[1] / 4])


def test_sizes_are_sorted_and_of_backends_that_have_two(sizes: list[Case]) -> None:
    table = named(overall_figures(sizes), "size").table
    assert set(table["backend"]) == set(OURS[:3])
    assert table[table["backend"] == "numpy"]["ratings"].tolist() == [80_000, 160_000]


def test_convergence_has_every_seed_and_where_it_reached_the_target(case: Case) -> None:
    figure = named(case_figures(case), "convergence_epochs")
    rows = figure.table[figure.table["backend"] == "numba-gd"]
    calibration = next(entry for entry in case.ranked if entry.name == "numba-gd").record[
        "calibrations"
    ][0]
    first = rows[rows["kind"] == "first seed"]
    assert first["validation_mse"].tolist() == [
        point["validation_mse"] for point in calibration["trace"]
    ]
    assert set(rows[rows["kind"] == "other seed"]["seed"]) == {"1", "2"}
    assert rows[rows["kind"] == "reached"]["epoch"].tolist() == [calibration["epochs"]]


def test_long_traces_are_thinned_and_keep_first_best_and_last() -> None:
    trace: list[Any] = [
        {"epoch": at + 1, "seconds": 0.1 * (at + 1), "validation_mse": 1 + abs(at - 777) / 1000}
        for at in range(2000)
    ]
    epochs = [point["epoch"] for point in thinned(trace)]
    assert len(epochs) <= 81 and epochs == sorted(set(epochs))
    assert {1, 778, 2000} <= set(epochs)
    assert thinned(trace[:50]) == trace[:50]


def test_the_linear_error_axis_is_cut_above_the_nearest_baseline(case: Case) -> None:
    y = named(case_figures(case), "convergence_seconds").y
    assert y.limits is not None and y.log_limits is not None
    assert y.limits[0] < 0.8432 < 0.8893 < y.limits[1] < 1.2663 < y.log_limits[1]
