"""Figures of made-up records: their numbers, both renderers, looks, and names that would do harm."""

from __future__ import annotations

import copy
import io
import itertools
import json
import math
import random
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

import pytest
import vl_convert
from fake_records import fake_record, fake_roofline
from matplotlib import image
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from bench import stats
from bench.records import Record
from bench.report.figures import (
    Figure,
    case_figures,
    draw_all,
    draw_static,
    looks_of,
    overall_figures,
    roofline_figures,
    styles,
    vega_spec,
)
from bench.report.figures.errors import thinned
from bench.report.figures.layout import apart, log_steps, ticks_of
from bench.report.figures.palette import KNOWN, PALETTE, glyph, looks_for, style
from bench.report.figures.static import _draw
from bench.report.ranking import Case, group_cases, ratio
from bench.report.roofline import group_rooflines

HOSTILE = [
    "<script>alert(1)</script>",
    "$x^2$",
    "_hidden",
    "a" * 300,
    "推荐系统",
    "two\nlines",
    "q\"uo'te\\,",
    "</svg><!--",
    "${datum.x}",
]
OURS = ["numpy", "numpy-als", "numba-sgd", "numba-gd", "torch-cpu", "torch-cuda"]
FIGURES = {
    "seconds",
    "convergence_seconds",
    "convergence_epochs",
    "speedup",
    "rungs",
    "pareto",
    "cold",
    "memory",
    "memory_device",
}
CONTRAST = 3.0


def seeded(record: Record, seeds: int = 3) -> Record:
    """Return the record as of several seeds, each with a pace of its own, and with rounds to a second rung."""
    draw = random.Random(f"{record['backend']['name']} {record['case']['name']}")
    made = copy.deepcopy(record)
    made["seeds"] = list(range(seeds))
    paces = [draw.uniform(0.9, 1.15) for _ in made["seeds"]]
    made["rounds"] = [
        {**one, "seed": seed, "seconds": one["seconds"] * pace}
        for seed, pace in enumerate(paces)
        for one in record["rounds"]
    ]
    made["rungs"] = [
        {**one, "factor": 1.05, "seconds": one["seconds"] / 2, "validation_mse": 0.88, "matched": True}
        for one in made["rounds"]
    ]
    made["calibrations"] = [{**one, "seed": seed} for seed in made["seeds"] for one in record["calibrations"]]
    return made


def on_threads(record: Record, threads: int) -> Record:
    record["backend"]["threads"] = threads
    return record


def with_device(record: Record) -> Record:
    assert record["memory"] is not None
    record["memory"]["device_mb"] = 812.0
    return record


def one_case(names: list[str], **case: Any) -> list[Record]:
    """Return records of a case: of each name one that matched, and of each way to fail one."""
    matched = [seeded(fake_record(name, seconds=0.05 * 1.5**at, case=case)) for at, name in enumerate(names)]
    with_device(matched[0])
    lost: list[Any] = ["timed out", "missed", "diverged", "unavailable"]
    return matched + [fake_record(f"lost-{status[:3]}", status, case=case) for status in lost]


@pytest.fixture(scope="module")
def case() -> Case:
    (made,) = group_cases(one_case(OURS + HOSTILE))
    return made


@pytest.fixture(scope="module")
def sweep() -> Case:
    records = [
        on_threads(seeded(fake_record(name, seconds=4.0 / threads**0.8)), threads)
        for name in ("numba-gd", "numba-sgd")
        for threads in (1, 2, 4)
    ]
    (made,) = group_cases([*records, fake_record("numpy", seconds=9.0)])
    return made


@pytest.fixture(scope="module")
def sizes() -> list[Case]:
    large = {"name": "large", "dataset": "ml-100k x2", "n_train": 160_000}
    return group_cases([*one_case(OURS[:3]), *[fake_record(name, seconds=3.0, case=large) for name in OURS[:3]]])


@pytest.fixture(scope="module")
def figures(case: Case, sweep: Case, sizes: list[Case]) -> list[Figure]:
    roofline, *_ = group_rooflines([fake_roofline("numba-sgd"), fake_roofline("numpy"), fake_roofline(HOSTILE[0])])
    of_cases = [*case_figures(case), *case_figures(sweep), *overall_figures(sizes)]
    return of_cases + roofline_figures(roofline)


def named(figures: list[Figure], stem: str) -> Figure:
    return next(figure for figure in figures if figure.stem == stem)


def to_svg(spec: dict[str, Any]) -> ElementTree.Element:
    """Render a specification as a browser would, and parse the picture."""
    return ElementTree.fromstring(vl_convert.vegalite_to_svg(json.dumps(spec)))


def texts(picture: ElementTree.Element) -> list[str]:
    return [node.text or "" for node in picture.iter() if node.tag.endswith("text")]


def strings(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield all strings inside a value, with the keys that lead to them."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from strings(inner, (*path, key))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from strings(inner, path)
    elif isinstance(value, str):
        yield path, value


# ---- what there is ---------------------------------------------------------------------------------------------------


def test_a_case_has_its_figures(case: Case, sweep: Case) -> None:
    assert {figure.stem for figure in case_figures(case)} == FIGURES
    assert {figure.stem for figure in case_figures(sweep)} == FIGURES - {"memory_device"} | {"threads"}


def test_several_cases_have_profile_and_sizes(case: Case, sizes: list[Case]) -> None:
    assert [figure.stem for figure in overall_figures(sizes)] == ["profile", "size"]
    assert overall_figures([case]) == []


def test_cases_that_differ_in_more_than_size_have_no_figure_of_sizes() -> None:
    other = {"name": "other", "n_train": 160_000, "rank": 64}
    cases = group_cases([fake_record(), fake_record(case=other)])
    assert [figure.stem for figure in overall_figures(cases)] == ["profile"]


@pytest.mark.parametrize("status", ["unavailable", "crashed"])
def test_nothing_to_show_is_left_out(status: Any) -> None:
    (case,) = group_cases([fake_record("numpy", status), fake_record("b", status)])
    assert case_figures(case) == []
    assert roofline_figures(group_rooflines([fake_roofline(status="crashed", costs=[])])[0]) == []


def test_one_backend_with_one_round_has_no_speed_up_and_no_rungs() -> None:
    (case,) = group_cases([fake_record(seconds=[1.0], cold=[], memory=None)])
    assert {figure.stem for figure in case_figures(case)} == FIGURES - {
        "speedup",
        "rungs",
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


# ---- the numbers -----------------------------------------------------------------------------------------------------


def test_seconds_are_those_of_the_records(case: Case) -> None:
    table = named(case_figures(case), "seconds").table
    for entry in case.ranked:
        rows = table[table["backend"] == entry.name]
        rounds = rows[rows["kind"] == "round"]["seconds"].tolist()
        assert rounds == [one["seconds"] for one in entry.record["rounds"]]
        assert rows[rows["kind"] == "median"]["seconds"].tolist() == [stats.summary(entry.record["rounds"])]


def test_what_was_given_up_is_a_bound_and_what_else_failed_is_named(case: Case) -> None:
    figure = named(case_figures(case), "seconds")
    given_up = figure.table[figure.table["kind"] == "given up"]
    assert given_up[["backend", "seconds", "label"]].to_numpy().tolist() == [["lost-tim", 180.0, "> 180 s"]]
    assert next(layer for layer in figure.layers if layer.of == "given up").hollow
    assert "> 180 s" in texts(to_svg(vega_spec(figure)))
    assert figure.y.categories[-1] == "lost-tim"
    assert "Not matched, without a time: lost-" in figure.caption and "lost-mis" in figure.alt


def test_speed_ups_and_intervals_are_the_ratios(case: Case) -> None:
    table = named(case_figures(case), "speedup").table.set_index("backend")
    assert case.yardstick is not None
    for entry in case.ranked:
        one = ratio(case.yardstick, entry)
        low, high = one.interval or (math.nan, math.nan)
        found = table.loc[entry.name, ["speedup", "low", "high"]].tolist()
        assert found == pytest.approx([one.value, low, high], nan_ok=True)


def test_rungs_have_medians_and_the_range_over_seeds(case: Case) -> None:
    figure = named(case_figures(case), "rungs")
    assert figure.lanes == ("5 %", "1 %")
    for entry in case.ranked:
        for lane, rounds in (("1 %", entry.record["rounds"]), ("5 %", entry.record["rungs"])):
            rows = figure.table[(figure.table["backend"] == entry.name) & (figure.table["lane"] == lane)]
            (found,) = rows[["seconds", "low", "high"]].to_numpy().tolist()
            assert found == [stats.summary(rounds), *(stats.seed_range(rounds) or ())]


def test_a_rung_that_a_seed_missed_is_left_out() -> None:
    record = seeded(fake_record())
    for one in record["rungs"]:
        one["matched"] = one["seed"] != 1
    (case,) = group_cases([record, seeded(fake_record("b"))])
    table = named(case_figures(case), "rungs").table
    assert table[table["backend"] == "numpy"]["lane"].tolist() == ["1 %"]
    pareto = named(case_figures(case), "pareto").table
    assert pareto[pareto["backend"] == "numpy"]["rung"].tolist() == ["1 %"]
    assert sorted(pareto[pareto["backend"] == "b"]["rung"]) == ["1 %", "5 %"]


def test_parts_of_a_start_add_up_to_its_total(case: Case) -> None:
    table = named(case_figures(case), "cold").table
    numpy = next(entry for entry in case.ranked if entry.name == "numpy")
    starts = {one["caches"]: one["total_seconds"] for one in numpy.record["cold"]} | {"warm": numpy.median}
    for lane, total in starts.items():
        rows = table[(table["backend"] == "numpy") & (table["lane"] == lane)]
        assert rows["to"].max() == pytest.approx(total) == pytest.approx(rows["seconds"].sum())
        assert rows["from"].tolist() == pytest.approx([0.0, *rows["to"].tolist()[:-1]])
    assert set(table[table["backend"] == "lost-mis"]["lane"]) == {"empty", "filled"}  # warm only where it is ranked


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
    assert set(table["backend"]) == {"numba-gd", "numba-sgd"}  # numpy ran with one number of threads
    rows = table[table["backend"] == "numba-gd"]
    medians = {entry.record["backend"]["threads"]: entry.median for entry in sweep.ranked if "numba-gd" in entry.name}
    assert dict(zip(rows["threads"], rows["seconds"], strict=True)) == medians
    assert rows["ideal"].tolist() == pytest.approx([medians[1], medians[1] / 2, medians[1] / 4])


def test_sizes_are_sorted_and_of_backends_that_have_two(sizes: list[Case]) -> None:
    table = named(overall_figures(sizes), "size").table
    assert set(table["backend"]) == set(OURS[:3])
    assert table[table["backend"] == "numpy"]["ratings"].tolist() == [80_000, 160_000]


def test_a_convergence_holds_every_seed_and_where_the_target_was_reached(case: Case) -> None:
    figure = named(case_figures(case), "convergence_epochs")
    rows = figure.table[figure.table["backend"] == "numba-gd"]
    calibration = next(entry for entry in case.ranked if entry.name == "numba-gd").record["calibrations"][0]
    first = rows[rows["kind"] == "first seed"]
    assert first["validation_mse"].tolist() == [one["validation_mse"] for one in calibration["trace"]]
    assert set(rows[rows["kind"] == "other seed"]["seed"]) == {"1", "2"}
    assert rows[rows["kind"] == "reached"]["epoch"].tolist() == [calibration["epochs"]]


def test_long_traces_are_thinned_and_keep_first_best_and_last() -> None:
    trace: list[Any] = [
        {"epoch": at + 1, "seconds": 0.1 * (at + 1), "validation_mse": 1 + abs(at - 777) / 1000} for at in range(2000)
    ]
    epochs = [one["epoch"] for one in thinned(trace)]
    assert len(epochs) <= 81 and epochs == sorted(set(epochs))
    assert {1, 778, 2000} <= set(epochs)
    assert thinned(trace[:50]) == trace[:50]


def test_the_linear_error_axis_is_cut_above_the_nearest_baseline(case: Case) -> None:
    y = named(case_figures(case), "convergence_seconds").y
    assert y.limits is not None and y.log_limits is not None
    assert y.limits[0] < 0.8432 < 0.8893 < y.limits[1] < 1.2663 < y.log_limits[1]


# ---- looks -----------------------------------------------------------------------------------------------------------


def luminance(color: str) -> float:
    parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("color", PALETTE)
@pytest.mark.parametrize("paper", ["#ffffff", "#15181c"])
def test_colours_stand_out_from_the_paper(color: str, paper: str) -> None:
    low, high = sorted([luminance(color), luminance(paper)])
    assert (high + 0.05) / (low + 0.05) >= CONTRAST


def test_no_two_of_many_backends_look_alike() -> None:
    names = [*KNOWN, *[f"stranger {at}" for at in range(20)], *HOSTILE, "numba-gd (1 thread)", "numba-gd (2 threads)"]
    looks = styles(name for name in names if name != "numba")  # short for numba-sgd
    assert len(set(looks.values())) == len(looks)
    assert all(looks[name] == style(name) for name in OURS)
    assert {looks[f"numba-gd ({count})"].color for count in ("1 thread", "2 threads")} == {style("numba-gd").color}
    assert styles(reversed(list(looks))) == looks
    assert glyph("numpy").startswith("●")


def test_a_backend_unknown_to_the_page_looks_like_its_contender() -> None:
    looks = styles(["x:rate=1", "x:rate=2", "numpy"])
    assert looks_for(["x", "numpy", "new"], looks) == {
        "x": looks["x:rate=1"],
        "numpy": style("numpy"),
        "new": style("new"),
    }


def test_a_backend_looks_the_same_in_all_figures(figures: list[Figure]) -> None:
    looks = looks_of(figures)
    for figure in figures:
        for layer in vega_spec(figure, looks)["layer"]:
            color = layer["encoding"].get("color", {})
            if color.get("field") == "backend":
                scale = color["scale"]
                assert scale["range"] == [looks[name].color for name in scale["domain"]]


# ---- drawing ---------------------------------------------------------------------------------------------------------


def test_every_figure_compiles_and_renders_on_the_page(figures: list[Figure]) -> None:
    for figure in figures:
        spec = vega_spec(figure)
        assert spec["width"] == "container" and not any(
            "http" in text for path, text in strings(spec) if path[0] != "$schema"
        )
        vl_convert.vegalite_to_vega(json.dumps(spec))
        shown = texts(to_svg(spec))
        assert any(figure.x.title in text for text in shown), figure.stem


def test_what_is_beyond_the_linear_axis_is_named() -> None:
    (case,) = group_cases([fake_record(), fake_record("b", "diverged", calibrations=[EXPLODED])])
    figure = named(case_figures(case), "convergence_seconds")
    assert figure.caption.endswith("All of it is beyond the linear axis: b.")
    assert "beyond" not in named(case_figures(group_cases([fake_record()])[0]), "convergence_seconds").caption


EXPLODED: Any = {
    **fake_record()["calibrations"][0],
    "trace": [{"epoch": at, "seconds": at / 10, "validation_mse": 10.0 ** (60 * at)} for at in range(1, 6)],
}


@pytest.mark.parametrize(
    "records",
    [
        [fake_record("numpy", "missed"), fake_record("b", "unavailable")],
        [fake_record(seconds=[1.0]), fake_record("b", seconds=[1.0, 2.0])],
        [fake_record(rounds=[])],
        [fake_record(baselines={}), fake_record("b", calibrations=[])],
        [fake_record(), fake_record("b", "diverged", calibrations=[EXPLODED])],
        [fake_record(baselines={"biases": {"validation_mse": 0.7, "test_mse": None, "reg": None}})],
        [fake_record(target=None, ladder=[]), fake_record("b", target=None, ladder=[])],
        [fake_record(seconds=0.5), fake_record("b", seconds=0.5)],
        [fake_record("numpy", "timed out"), fake_record("b", "timed out")],
    ],
    ids=[
        "none matched",
        "one round",
        "no rounds",
        "no baselines",
        "exploded",
        "baseline under the target",
        "no target",
        "all alike",
        "all given up",
    ],
)
def test_odd_cases_are_drawn_too(records: list[Record]) -> None:
    (case,) = group_cases(records)
    for figure in case_figures(case):
        ElementTree.fromstring(draw_static(figure, ("svg",))["svg"])
        to_svg(vega_spec(figure))


@pytest.mark.parametrize("kind", ["linear", "log"])
def test_axes_can_be_switched(figures: list[Figure], kind: str) -> None:
    for figure in figures:
        spec = vega_spec(figure)
        facts = spec["usermeta"]["factorbench"]
        assert facts["switches"] == [name for name in ("x", "y") if getattr(figure, name).switchable]
        for name in facts["switches"]:
            channels = [
                layer["encoding"][name] for layer in spec["layer"] if "scale" in layer["encoding"].get(name, {})
            ]
            assert channels
            for channel in channels:
                channel["scale"] = {**channel["scale"], "type": kind}
                if name in facts["domains"]:
                    channel["scale"]["domain"] = facts["domains"][name][kind]
        to_svg(spec)


def test_hidden_backends_are_not_drawn(figures: list[Figure]) -> None:
    spec = vega_spec(named(figures, "seconds"))
    assert "numba-gd" in texts(to_svg(spec))
    spec["params"][0] = {"name": "hidden", "value": ["numba-gd", HOSTILE[0]]}
    shown = texts(to_svg(spec))
    assert "numba-gd" not in shown and HOSTILE[0] not in shown and "numpy" in shown


def test_the_front_follows_from_what_is_shown(case: Case) -> None:
    spec = vega_spec(named(case_figures(case), "pareto"))
    compiled = json.dumps(vl_convert.vegalite_to_vega(json.dumps(spec)))
    assert compiled.index("indexof(hidden, datum.backend)") < compiled.index('"window"')


def test_labels_of_lines_keep_their_distance_in_both_renderers(case: Case) -> None:
    assert apart([1.0, 0.95, 0.5, 0.45], 0.1) == pytest.approx([1.0, 0.9, 0.5, 0.4])
    picture = to_svg(vega_spec(named(case_figures(case), "convergence_seconds")))
    words = ("global mean", "biases", "target", "reference")
    places = [
        float(node.attrib["transform"].split(",")[1].split(")")[0])
        for word in words
        for node in picture.iter()
        if node.tag.endswith("text") and word in (node.text or "") and "transform" in node.attrib
    ]
    assert len(places) == 4
    assert all(below - above >= 12.9 for above, below in itertools.pairwise(places))


def test_no_text_lies_on_another(figures: list[Figure]) -> None:
    looks = looks_of(figures)
    for figure in figures:
        canvas = _draw(figure, looks_for(figure.backends(), looks))
        FigureCanvasAgg(canvas).draw()
        boxes = [(one, one.get_window_extent()) for one in canvas.findobj(Text) if one.get_text() and one.get_visible()]
        inside = canvas.bbox
        for one, box in boxes:
            assert inside.x0 <= box.x0 and box.x1 <= inside.x1 and inside.y0 <= box.y0, (figure.stem, one.get_text())
        for (one, first), (other, second) in itertools.combinations(boxes, 2):
            assert not first.shrunk(0.98, 0.8).overlaps(second.shrunk(0.98, 0.8)), (figure.stem, one, other)


def test_files_are_what_they_are_called_and_the_same_every_time(case: Case) -> None:
    figure = named(case_figures(case), "convergence_seconds")
    files = draw_static(figure, ("svg", "png", "pdf"))
    assert files["pdf"].startswith(b"%PDF")
    assert image.imread(io.BytesIO(files["png"])).shape[1] == 1024
    assert files == draw_static(figure, ("svg", "png", "pdf"))


def test_many_figures_are_drawn_by_several_processes_as_by_one(figures: list[Figure]) -> None:
    looks = looks_of(figures)
    some = {f"{at}": figure for at, figure in enumerate(figures[:17])}
    drawn = draw_all(some, ("svg",), looks)
    assert list(drawn) == list(some)
    assert drawn["3"] == draw_static(some["3"], ("svg",), looks)


# ---- hostile names ---------------------------------------------------------------------------------------------------


def test_names_are_data_and_never_code(figures: list[Figure]) -> None:
    code = {"expr", "filter", "test", "calculate", "signal"}
    for figure in figures:
        for path, text in strings(vega_spec(figure)):
            if code & set(path):
                assert not any(name in text for name in HOSTILE), (figure.stem, path, text)


def test_pictures_of_hostile_names_hold_no_markup_of_theirs(figures: list[Figure]) -> None:
    for figure in figures:
        for svg in (
            vl_convert.vegalite_to_svg(json.dumps(vega_spec(figure))),
            draw_static(figure, ("svg",))["svg"].decode(),
        ):
            tags = {node.tag.rpartition("}")[2] for node in ElementTree.fromstring(svg).iter()}
            assert "script" not in tags and "<script" not in svg and "<!--" not in svg


def test_names_are_shown_as_they_are(figures: list[Figure]) -> None:
    shown = texts(to_svg(vega_spec(named(figures, "seconds"))))
    assert {HOSTILE[0], "$x^2$", "_hidden", "推荐系统", "${datum.x}", "q\"uo'te\\,"} <= set(shown)


# ---- ticks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("low", "high"), [(0.01, 0.013), (0.05, 4.0), (1.0, 1.2), (0.3, 3e6), (1e-7, 1e9)])
@pytest.mark.parametrize("log", [False, True])
def test_an_axis_has_some_ticks_and_not_too_many(figures: list[Figure], low: float, high: float, log: bool) -> None:
    axis = named(figures, "seconds").x
    ticks = ticks_of(type(axis)("s", log=log), low, high)
    assert 2 <= len(ticks) <= 16
    assert all(low <= tick <= high for tick in ticks)


def test_steps_of_a_logarithmic_axis() -> None:
    assert log_steps(0.04, 3) == [0.05, 0.1, 0.2, 0.3, 0.5, 1, 2, 3]
    assert log_steps(0.01, 20) == [0.01, 0.03, 0.1, 0.3, 1, 3, 10]
