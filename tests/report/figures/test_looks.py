"""Colours and markers, and the ticks of axes."""

from __future__ import annotations

import pytest

from bench.report.figures import Figure, looks_of, styles, vega_spec
from bench.report.figures.layout import log_steps, ticks_of
from bench.report.figures.palette import KNOWN, PALETTE, glyph, looks_for, style

from .conftest import (
    CONTRAST,
    HOSTILE,
    OURS,
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
