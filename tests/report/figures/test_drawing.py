"""Both renderers, and the harm that names would do in them if they could."""

from __future__ import annotations

import io
import itertools
import json
from typing import Any
from xml.etree import ElementTree

import pytest
import vl_convert
from fake_records import fake_record, fake_score
from matplotlib import image
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from bench.records import Record
from bench.report.figures import Figure, draw_static, vega_spec
from bench.report.figures.layout import apart
from bench.report.figures.palette import looks_for
from bench.report.figures.static import _draw
from bench.report.outcome.cases import Case, group_cases

from .conftest import (
    HOSTILE,
    case_figures,
    looks_of,
    named,
    strings,
    texts,
    to_svg,
)

pytestmark = pytest.mark.draws

# ---- drawing ------------------------------------------------------------------------------------


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
    assert figure.caption.endswith("Entirely above the linear axis: b.")
    (case,) = group_cases([fake_record()])
    assert "above the linear axis" not in named(case_figures(case), "convergence_seconds").caption


EXPLODED: Any = {
    **fake_record()["calibrations"][0],
    "trace": [
        {"epoch": at, "seconds": at / 10, "validation_mse": 10.0 ** (60 * at)} for at in range(1, 6)
    ],
}


@pytest.mark.parametrize(
    "records",
    [
        [fake_record("numpy", "missed"), fake_record("b", "unavailable")],
        [fake_record(seconds=[1.0]), fake_record("b", seconds=[1.0, 2.0])],
        [fake_record(rounds=[])],
        [fake_record(baselines={}), fake_record("b", calibrations=[])],
        [fake_record(), fake_record("b", "diverged", calibrations=[EXPLODED])],
        [fake_record(baselines={"biases": fake_score(0.7)})],
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
        "all stopped",
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
        assert facts["switches"] == [
            name for name in ("x", "y") if getattr(figure, name).switchable
        ]
        for name in facts["switches"]:
            channels = [
                layer["encoding"][name]
                for layer in spec["layer"]
                if "scale" in layer["encoding"].get(name, {})
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
        boxes = [
            (text, text.get_window_extent())
            for text in canvas.findobj(Text)
            if text.get_text() and text.get_visible()
        ]
        inside = canvas.bbox
        for text, box in boxes:
            assert inside.x0 <= box.x0 and box.x1 <= inside.x1 and inside.y0 <= box.y0, (
                figure.stem,
                text.get_text(),
            )
        for (text, first), (other, second) in itertools.combinations(boxes, 2):
            assert not first.shrunk(0.98, 0.8).overlaps(second.shrunk(0.98, 0.8)), (
                figure.stem,
                text,
                other,
            )


def test_files_have_the_format_of_their_name_and_never_vary(case: Case) -> None:
    figure = named(case_figures(case), "convergence_seconds")
    files = draw_static(figure, ("svg", "png", "pdf"))
    assert files["pdf"].startswith(b"%PDF")
    assert image.imread(io.BytesIO(files["png"])).shape[1] == 1024
    assert files == draw_static(figure, ("svg", "png", "pdf"))


# ---- hostile names ------------------------------------------------------------------------------


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
