"""Pictures as elements of a page: complete, small, in its colours and without markup of names."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from bench.report.figures import Figure, draw_static, inline_svg
from bench.report.figures.style import THEME

from .conftest import HOSTILE, named

pytestmark = pytest.mark.draws

MOST = 40_000  # letters of a figure of a dozen backends
NEAR = 0.051  # points


@pytest.fixture(scope="module")
def drawn(figures: list[Figure]) -> list[tuple[Figure, str, str]]:
    """Return each figure, its file and what is put into a page."""
    found = []
    for number, figure in enumerate(figures):
        file = draw_static(figure, ("svg",))["svg"]
        found.append((figure, file.decode(), inline_svg(file, f"d{number}")))
    return found


def elements(svg: str) -> list[ElementTree.Element]:
    return list(ElementTree.fromstring(svg).iter())


def test_every_shape_is_defined_once_in_the_page_and_used(
    drawn: list[tuple[Figure, str, str]],
) -> None:
    seen: set[str] = set()
    for figure, _, svg in drawn:
        ids = [element.attrib["id"] for element in elements(svg) if "id" in element.attrib]
        used = set(re.findall(r"#(d\d+_\d+)", svg))
        assert used == set(ids) and len(ids) == len(used), figure.stem
        assert not seen & used
        seen |= used


def test_it_is_in_the_colours_of_the_page(drawn: list[tuple[Figure, str, str]]) -> None:
    for _, _, svg in drawn:
        assert not [color for color in THEME.values() if color in svg]
    uses = next(svg for figure, _, svg in drawn if figure.stem == "uses")
    assert {name for name in THEME if f"var(--{name})" in uses} == set(THEME)


def test_it_is_smaller_than_the_file(drawn: list[tuple[Figure, str, str]]) -> None:
    for figure, file, svg in drawn:
        assert len(svg) < 0.55 * len(file), (figure.stem, len(svg), len(file))


def test_nothing_of_a_name_is_in_it(drawn: list[tuple[Figure, str, str]]) -> None:
    allowed = {"svg", "defs", "g", "path", "use", "clipPath", "rect"}
    for figure, _, svg in drawn:
        tags = {element.tag for element in elements(svg)}
        assert tags <= allowed, figure.stem
        assert not [name for name in HOSTILE if name in svg]
        assert not any(element.text or element.tail for element in elements(svg))
        assert not re.search(r"url\((?!#)|href=\"(?!#)|\bon\w+=", svg)


def test_what_it_shows_is_said_by_the_page_or_by_itself(figures: list[Figure]) -> None:
    file = draw_static(named(figures, "memory"), ("svg",))["svg"]
    silent = ElementTree.fromstring(inline_svg(file, "a"))
    assert silent.attrib["aria-hidden"] == "true" and "role" not in silent.attrib
    alt = '"><script>alert(1)</script>'
    speaking = ElementTree.fromstring(inline_svg(file, "a", alt))
    assert (speaking.attrib["role"], speaking.attrib["aria-label"]) == ("img", alt)
    assert "aria-hidden" not in speaking.attrib


def positions(path: str) -> list[tuple[float, float]]:
    """Return the ends of the commands of a path, absolute or relative."""
    x = y = start_x = start_y = 0.0
    found = []
    for command, text in re.findall(r"([A-Za-z])([^A-Za-z]*)", path):
        numbers = [float(number) for number in re.findall(r"-?[\d.]+", text)]
        if command in "zZ":
            x, y = start_x, start_y
            continue
        if command == "h":
            x += numbers[0]
        elif command == "v":
            y += numbers[0]
        elif command.islower():
            x, y = x + numbers[-2], y + numbers[-1]
        else:
            x, y = numbers[-2:]
        if command in "mM":
            start_x, start_y = x, y
        found.append((x, y))
    return found


def test_rounding_moves_no_point_visibly(drawn: list[tuple[Figure, str, str]]) -> None:
    compared = 0
    for figure, file, svg in drawn:
        # Letters have coordinates of their own; shapes are defined in another order.
        kept = [
            [element.attrib["d"] for element in elements(text) if is_drawn(element)]
            for text in (file, svg)
        ]
        assert len(kept[0]) == len(kept[1]), figure.stem
        for before, after in zip(*kept, strict=True):
            for (x, y), (near_x, near_y) in zip(positions(before), positions(after), strict=True):
                assert abs(x - near_x) <= NEAR and abs(y - near_y) <= NEAR, figure.stem
                compared += 1
    assert compared > 3000


def is_drawn(element: ElementTree.Element) -> bool:
    """Whether an element is a path that is drawn where it stands."""
    return element.tag.endswith("path") and "d" in element.attrib and "id" not in element.attrib


def test_title_and_subject_are_left_to_the_page(drawn: list[tuple[Figure, str, str]]) -> None:
    for _, file, svg in drawn:
        assert 'id="title"' in file and 'id="subject"' in file
        boxes = [re.search(r'viewBox="0 (\S+) (\S+) (\S+)"', text) for text in (file, svg)]
        (_, width, height), (cut, new_width, new_height) = (
            [float(number) for number in box.groups()] for box in boxes if box
        )
        assert width == new_width and cut > 25
        assert new_height == pytest.approx(height - cut, abs=0.01)
