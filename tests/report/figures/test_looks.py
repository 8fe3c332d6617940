"""Colours and markers, the ticks of axes, and how marks are drawn."""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import replace
from importlib.resources import files

import pandas as pd
import pytest
from matplotlib.text import Text

from bench.report.figures import Axis, Figure, Rule, draw_static, styles, vega_spec
from bench.report.figures.canvas import legend_items
from bench.report.figures.marks import (
    LONGEST,
    dashes_of,
    heading,
    outlined,
    part_colors,
    pen_of,
    pen_of_rule,
)
from bench.report.figures.palette import (
    COLORS,
    GLYPHS,
    GREY,
    ORANGE,
    PALETTE,
    RED,
    hashed_look,
    looks_for,
    read_look,
)
from bench.report.figures.static import _draw
from bench.report.figures.style import PARTS, THEME
from bench.report.figures.ticks import limits_of, log_ticks, ticks_of

from .conftest import (
    CONTRAST,
    HOSTILE,
    OURS,
    looks_of,
    named,
    texts,
    to_svg,
)

# ---- looks --------------------------------------------------------------------------------------


def luminance(color: str) -> float:
    parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("color", PALETTE)
@pytest.mark.parametrize("paper", ["#ffffff", "#15181c"])
def test_colours_stand_out_from_the_paper(color: str, paper: str) -> None:
    low, high = sorted([luminance(color), luminance(paper)])
    assert (high + 0.05) / (low + 0.05) >= CONTRAST


def oklab(color: str) -> tuple[float, float, float]:
    """Return a colour in OKLab (Ottosson 2020), where distances are those that are seen."""
    parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    r, g, b = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    long = math.cbrt(0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b)
    middle = math.cbrt(0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b)
    short = math.cbrt(0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b)
    return (
        0.2104542553 * long + 0.7936177850 * middle - 0.0040720468 * short,
        1.9779984951 * long - 2.4285922050 * middle + 0.4505937099 * short,
        0.0259040371 * long + 0.7827717662 * middle - 0.8086757660 * short,
    )


def dark_theme() -> dict[str, str]:
    """Return the colours of the dark page by name."""
    css = (files("bench.report.page") / "style.css").read_text("utf-8")
    dark = css.split("prefers-color-scheme: dark")[1].split("}")[0]
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", dark))


@pytest.fixture(scope="module", params=["light", "dark"])
def theme(request: pytest.FixtureRequest) -> dict[str, str]:
    return THEME if request.param == "light" else dark_theme()


FAR = 0.1  # in OKLab; 0.02 is just noticeable, and black is 1 from white


def test_parts_and_lines_across_have_no_backend_s_colour(
    figures: list[Figure], theme: dict[str, str]
) -> None:
    used: set[str] = set()
    for figure in figures:
        used |= set(part_colors(figure).values())
        used |= {pen_of_rule(rule).color for rule in figure.rules}
        used |= {pen_of(figure, layer).color for layer in figure.layers} - {""}
    assert used == {"ink", *PARTS}
    for name in used:
        nearest = min(math.dist(oklab(theme[name]), oklab(color)) for color in PALETTE)
        assert nearest >= FAR, name


def test_parts_stand_out_from_the_paper_and_from_each_other(theme: dict[str, str]) -> None:
    for name in PARTS:
        low, high = sorted([luminance(theme[name]), luminance(theme["paper"])])
        assert (high + 0.05) / (low + 0.05) >= CONTRAST, name
    parts = [oklab(theme[name]) for name in PARTS]
    assert all(math.dist(*pair) >= FAR for pair in itertools.combinations(parts, 2))


def test_a_gap_separates_the_parts_of_a_bar_and_hides_none(figures: list[Figure]) -> None:
    figure = named(figures, "memory")
    (bar,) = [layer for layer in figure.layers if layer.mark == "bar"]
    assert outlined(figure, bar) == figure.rows(bar).index.tolist()
    table = figure.table.copy()
    table.loc[0, ["from", "to"]] = [0.0, 0.005 * table["to"].max()]
    small = replace(figure, table=table)
    assert outlined(small, bar) == table.index.tolist()[1:]
    spec = next(layer for layer in vega_spec(small)["layer"] if layer["mark"]["type"] == "bar")
    assert spec["encoding"]["stroke"]["condition"]["value"] == "var(--paper)"
    values = vega_spec(small)["data"]["values"].splitlines()
    assert [line.split(",")[-1] for line in values[:3]] == ["outlined", "0", "1"]


LOOKS = {
    "numpy": "grey o",
    "numpy-als": "pink D",
    "numba-sgd": "red s",
    "numba-gd": "orange ^",
    "torch-cpu": "blue v",
    "torch-cuda": "green P",
}


def strangers(*names: str) -> dict[str, str]:
    """Return names without a look of their own."""
    return dict.fromkeys(names, "")


def test_no_two_of_many_backends_look_alike() -> None:
    contenders = {f"numba-gd ({count})": "orange ^" for count in ("1 thread", "2 threads")}
    others = strangers(*[f"stranger {at}" for at in range(60)], *HOSTILE)
    wanted = {**LOOKS, **others, **contenders}
    looks = styles(wanted)
    assert len(set(looks.values())) == len(looks) == len(wanted)
    assert all(looks[name] == read_look(text) for name, text in LOOKS.items())
    assert {looks[name].color for name in contenders} == {ORANGE}
    assert styles(dict(reversed(wanted.items()))) == looks
    assert looks["numpy"].glyph.startswith("●")


def test_without_any_look_of_their_own_backends_differ_by_their_names() -> None:
    names = [*OURS, *[f"stranger {at}" for at in range(50)]]
    looks = styles(strangers(*names))
    assert list(looks) == names
    assert len(set(looks.values())) == len(names)
    alone = [styles(strangers(name))[name] for name in names]
    assert alone == [hashed_look(name) for name in names]


def test_a_stranger_has_no_marker_that_a_backend_has_as_its_own() -> None:
    looks = styles({**LOOKS, **strangers(*[f"stranger {at}" for at in range(30)])})
    own = {text.split()[1] for text in LOOKS.values()}
    assert not own & {look.marker for name, look in looks.items() if name not in LOOKS}


def test_two_backends_that_claim_one_look_are_told_apart_by_marker() -> None:
    looks = styles({"a": "red s", "b": "red s", "c": "red o"})
    assert looks["a"] == (RED, "s") and looks["c"] == (RED, "o")
    assert looks["b"].color == RED and looks["b"].marker not in "so"


def test_more_backends_than_looks_have_one_each_all_the_same() -> None:
    many = {**LOOKS, **strangers(*[f"stranger {at}" for at in range(100)])}
    looks = styles(many)
    assert set(looks) == set(many) and len(set(looks.values())) == 91


def test_a_contender_whose_record_is_older_looks_like_its_backend() -> None:
    looks = styles({"numba-sgd:rate=1": "", "numba-sgd:rate=2": "red s", "x": ""})
    assert looks["numba-sgd:rate=1"] == (RED, "s")
    assert looks["numba-sgd:rate=2"].color == RED


NO_LOOKS = [
    "",
    "grey",
    "o",
    "grey oo",
    "grey  o",
    "grey o ",
    "o grey",
    "Grey o",
    "mauve o",
    "#6d6f76 o",
]


@pytest.mark.parametrize("text", NO_LOOKS)
def test_what_is_no_look_counts_as_none(text: str) -> None:
    assert read_look(text) is None
    assert styles({"x": text}) == {"x": hashed_look("x")}


@pytest.mark.parametrize("color", COLORS)
@pytest.mark.parametrize("marker", GLYPHS)
def test_every_colour_and_marker_can_be_a_look(color: str, marker: str) -> None:
    assert styles({"x": f"{color} {marker}"}) == {"x": (COLORS[color], marker)}


def test_a_backend_unknown_to_the_page_looks_like_its_contender() -> None:
    looks = styles({**strangers("x:rate=1", "x:rate=2"), "numpy": "grey o"})
    assert looks_for(["x", "numpy", "new"], looks) == {
        "x": looks["x:rate=1"],
        "numpy": (GREY, "o"),
        "new": hashed_look("new"),
    }
    assert looks_for(["x"], None) == {"x": hashed_look("x")}


def test_a_backend_looks_the_same_in_all_figures(figures: list[Figure]) -> None:
    looks = looks_of(figures, LOOKS)
    assert looks["numpy"] == (GREY, "o")
    for figure in figures:
        for layer in vega_spec(figure, looks)["layer"]:
            color = layer["encoding"].get("color", {})
            if color.get("field") == "backend":
                scale = color["scale"]
                assert scale["range"] == [looks[name].color for name in scale["domain"]]


# ---- ticks --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "high"), [(0.01, 0.013), (0.05, 4.0), (1.0, 1.2), (0.3, 3e6), (1e-7, 1e9)]
)
@pytest.mark.parametrize("log", [False, True])
def test_an_axis_has_some_ticks_and_not_too_many(
    figures: list[Figure], low: float, high: float, log: bool
) -> None:
    axis = named(figures, "seconds").x
    ticks = ticks_of(type(axis)("s", log=log), low, high)
    assert 2 <= len(ticks) <= 16
    assert all(low <= tick <= high for tick in ticks)


@pytest.mark.parametrize(
    ("low", "high", "most", "ticks"),
    [
        (0.04, 3, 9, [0.05, 0.1, 0.2, 0.3, 0.5, 1, 2, 3]),
        (0.01, 20, 9, [0.01, 0.03, 0.1, 0.3, 1, 3, 10]),
        (0.01, 20, 4, [0.01, 0.1, 1, 10]),
        (0.3, 15, 3, [1, 10]),
        (1e-6, 1e6, 5, [1e-6, 1e-3, 1, 1e3, 1e6]),
        (1.2, 2.4, 9, []),  # the ticks of a linear axis tell more
    ],
)
def test_steps_of_a_logarithmic_axis(
    low: float, high: float, most: int, ticks: list[float]
) -> None:
    assert log_ticks(low, high, most) == ticks


def test_both_renderers_choose_among_the_same_ticks_of_a_logarithmic_axis(
    figures: list[Figure],
) -> None:
    compared = 0
    for figure in figures:
        for layer in vega_spec(figure)["layer"]:
            for name, axis in (("x", figure.x), ("y", figure.y)):
                values = layer["encoding"].get(name, {}).get("axis", {}).get("values")
                if values and axis.log:
                    assert values == ticks_of(axis, *limits_of(figure, name))
                    compared += 1
    assert compared > 20


# ---- marks --------------------------------------------------------------------------------------


def test_a_title_says_that_an_axis_is_logarithmic_where_no_switch_does() -> None:
    assert heading(Axis("s", log=True, switchable=True), switch=False) == "s, log scale"
    assert heading(Axis("s", log=True, switchable=True), switch=True) == "s"
    assert heading(Axis("s", log=True), switch=True) == "s, log scale"
    assert heading(Axis("s", switchable=True), switch=False) == "s"


def test_faint_lines_carry_no_markers_and_what_belongs_to_nobody_is_in_ink(
    figures: list[Figure],
) -> None:
    convergence, threads = named(figures, "convergence_seconds"), named(figures, "threads")
    faint, full, reached = (pen_of(convergence, layer) for layer in convergence.layers)
    assert faint.opacity < full.opacity == 1 and faint.width < full.width
    assert faint.size == 0 < full.size < reached.size
    # The line of a law is not faint; its dash tells it apart.
    assert pen_of(threads, threads.layers[0]).opacity > faint.opacity
    roofline = next(figure for figure in figures if figure.stem.startswith("roofline"))
    limits, measured, _ = (pen_of(roofline, layer) for layer in roofline.layers)
    assert (limits.color, limits.size) == ("ink", 0) and measured.color == ""


def test_more_values_than_dashes_are_drawn_all_the_same(figures: list[Figure]) -> None:
    roofline = next(figure for figure in figures if figure.stem.startswith("roofline"))
    layer = roofline.layers[0]
    rows = roofline.rows(layer)
    table = pd.concat([rows.assign(limit=f"limit {at}") for at in range(7)])
    many = replace(roofline, table=table, layers=(layer,))
    assert len(dashes_of(many, layer)) == 7
    legend = {name for name, _ in legend_items(many, {})}
    assert {f"limit {at}" for at in range(7)} <= legend
    assert draw_static(many, ("svg",))["svg"]


def test_a_long_label_of_a_rule_is_cut_in_both_renderers(figures: list[Figure]) -> None:
    figure = replace(named(figures, "pareto"), rules=(Rule("y", 0.85, "long " * 30),))
    shown = next(text for text in texts(to_svg(vega_spec(figure))) if text.startswith("long"))
    assert len(shown) == LONGEST and shown.endswith("…")
    drawn = [text.get_text() for text in _draw(figure, {}).findobj(Text)]
    assert shown in drawn
