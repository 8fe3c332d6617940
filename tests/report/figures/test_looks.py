"""Colours and markers, and the ticks of axes."""

from __future__ import annotations

import pytest

from bench.report.figures import Figure, styles, vega_spec
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
from bench.report.figures.ticks import log_ticks, ticks_of

from .conftest import (
    CONTRAST,
    HOSTILE,
    OURS,
    looks_of,
    named,
)

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


NO_LOOKS = ["", "grey", "o", "grey oo", "grey  o", "grey o ", "o grey", "Grey o", "mauve o", "#6d6f76 o"]


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


# ---- ticks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("low", "high"), [(0.01, 0.013), (0.05, 4.0), (1.0, 1.2), (0.3, 3e6), (1e-7, 1e9)])
@pytest.mark.parametrize("log", [False, True])
def test_an_axis_has_some_ticks_and_not_too_many(figures: list[Figure], low: float, high: float, log: bool) -> None:
    axis = named(figures, "seconds").x
    ticks = ticks_of(type(axis)("s", log=log), low, high)
    assert 2 <= len(ticks) <= 16
    assert all(low <= tick <= high for tick in ticks)


def test_steps_of_a_logarithmic_axis() -> None:
    assert log_ticks(0.04, 3) == [0.05, 0.1, 0.2, 0.3, 0.5, 1, 2, 3]
    assert log_ticks(0.01, 20) == [0.01, 0.03, 0.1, 0.3, 1, 3, 10]
