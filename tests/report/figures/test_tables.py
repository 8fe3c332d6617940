"""Which figures there are, and the numbers in their tables."""

from __future__ import annotations

import math
from typing import Any

import pytest
from fake_records import fake_record, fake_roofline

from bench import stats
from bench.report.figures import Figure, vega_spec
from bench.report.figures.kinds.convergence import thinned
from bench.report.outcome.cases import Case, group_cases, ratio
from bench.report.outcome.rooflines import group_rooflines

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


def test_one_backend_with_one_round_has_no_speed_up_and_no_targets() -> None:
    (case,) = group_cases([fake_record(seconds=[1.0], cold=[], memory=None)])
    assert known(case_figures(case)) == FIGURES - {
        "speedup",
        "targets",
        "cold",
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


def test_speed_ups_and_intervals_are_the_ratios(case: Case) -> None:
    table = named(case_figures(case), "speedup").table.set_index("backend")
    assert case.yardstick is not None
    for entry in case.ranked:
        speedup = ratio(case.yardstick, entry)
        low, high = speedup.interval or (math.nan, math.nan)
        found = table.loc[entry.name, ["speedup", "low", "high"]].tolist()
        assert found == pytest.approx([speedup.value, low, high], nan_ok=True)


def test_targets_have_medians_and_the_range_over_seeds(case: Case) -> None:
    figure = named(case_figures(case), "targets")
    assert figure.lanes == ("5 %", "1 %")
    for entry in case.ranked:
        for lane, rounds in (("1 %", entry.record["rounds"]), ("5 %", entry.record["rungs"])):
            rows = figure.table[
                (figure.table["backend"] == entry.name) & (figure.table["lane"] == lane)
            ]
            (found,) = rows[["seconds", "low", "high"]].to_numpy().tolist()
            assert found == [stats.summary(rounds), *(stats.seed_range(rounds) or ())]


def test_a_target_that_a_seed_missed_is_left_out() -> None:
    record = seeded(fake_record())
    for row in record["rungs"]:
        row["matched"] = row["seed"] != 1
    (case,) = group_cases([record, seeded(fake_record("b"))])
    table = named(case_figures(case), "targets").table
    assert table[table["backend"] == "numpy"]["lane"].tolist() == ["1 %"]
    pareto = named(case_figures(case), "pareto").table
    assert pareto[pareto["backend"] == "numpy"]["target"].tolist() == ["1 %"]
    assert sorted(pareto[pareto["backend"] == "b"]["target"]) == ["1 %", "5 %"]


def test_parts_of_a_start_add_up_to_its_total(case: Case) -> None:
    table = named(case_figures(case), "cold").table
    numpy = next(entry for entry in case.ranked if entry.name == "numpy")
    starts = {start["caches"]: start["total_seconds"] for start in numpy.record["cold"]} | {
        "warm": numpy.median
    }
    for lane, total in starts.items():
        rows = table[(table["backend"] == "numpy") & (table["lane"] == lane)]
        assert rows["to"].max() == pytest.approx(total) == pytest.approx(rows["seconds"].sum())
        assert rows["from"].tolist() == pytest.approx([0.0, *rows["to"].tolist()[:-1]])
    assert set(table[table["backend"] == "lost-mis"]["lane"]) == {
        "empty",
        "filled",
    }  # warm only where it is ranked


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
