"""Figures in a real browser: still pictures first, and interactive where JavaScript draws them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from bench.report.figures.style import THEME
from bench.report.files import write_report

from .conftest import HOSTILE, Opened, eventually, records

pytestmark = [pytest.mark.browser, pytest.mark.load]

FAILS = "Promise.reject(new Error('no room'))"


@pytest.fixture(scope="module")
def still(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One case whose figures are drawn as files too."""
    return write_report(records(), tmp_path_factory.mktemp("still"))


@pytest.fixture
def opened_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Return a function that opens a page, at first with the settings of the context."""
    contexts = []

    def opened_page(path: Path, **settings: Any) -> Page:
        context = browser.new_context(viewport={"width": 1400, "height": 900}, **settings)
        contexts.append(context)
        page = context.new_page()
        page.goto(path.as_uri())
        return page

    yield opened_page
    for context in contexts:
        context.close()


def unfold(page: Page) -> None:
    page.locator("details:has(figure)").evaluate_all("all => all.forEach(one => one.open = true)")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1400])
def test_without_javascript_every_figure_is_seen(
    opened_page: Callable[..., Page], still: Path, scheme: Any, width: int
) -> None:
    page = opened_page(still, java_script_enabled=False, color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 900})
    unfold(page)
    figures = page.locator("figure.chart")
    assert figures.count() >= 6
    for figure in figures.all():
        view, picture = figure.locator(".view"), figure.locator(".view > svg")
        expect(picture).to_be_visible()
        frame, shown = view.bounding_box(), picture.bounding_box()
        assert frame and shown and shown["height"] > 80
        # No gap, nothing beyond the frame.
        assert frame["height"] == pytest.approx(shown["height"], abs=1)
        assert frame["width"] == pytest.approx(shown["width"], abs=1)
        assert view.get_attribute("aria-label") and picture.get_attribute("aria-hidden") == "true"
    assert page.locator("figure.chart noscript").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") == width
    ink = page.locator("#figure-seconds .view g[transform]").first
    color = ink.evaluate("one => getComputedStyle(one).fill")
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (luma(color) < 100 < luma(paper)) == (scheme == "light")


def luma(color: str) -> float:
    return sum(float(number) for number in re.findall(r"\d+", color)[:3]) / 3


def test_it_is_replaced_by_the_interactive_one(
    opened_page: Callable[..., Page], still: Path
) -> None:
    page = opened_page(still)
    unfold(page)
    last = page.locator("figure.chart").last
    last.scroll_into_view_if_needed()
    expect(last.locator(".view.drawn .vega-embed svg")).to_be_visible()
    expect(last.locator(".view svg")).to_have_count(1)
    eventually(page, lambda: page.locator(".view:not(.drawn)").count() == 0)
    for view in page.locator(".view").all():
        box, drawn = view.bounding_box(), view.locator("svg").bounding_box()
        assert box and drawn
        assert box["height"] == pytest.approx(drawn["height"], abs=1) and drawn["width"] > 400
    assert page.locator(".said").count() == 0


def test_what_cannot_be_drawn_keeps_its_picture_and_says_so(
    opened_page: Callable[..., Page], still: Path, report: Path
) -> None:
    page = opened_page(still, bypass_csp=True)
    eventually(page, lambda: page.evaluate("document.documentElement.dataset.drawn") == "all")
    figure = page.locator("#figure-convergence_seconds")
    before = figure.locator(".view svg").evaluate("one => one.outerHTML")
    page.evaluate(f"void (window.vegaEmbed = () => {FAILS})")
    figure.get_by_role("button", name="log x").click()
    said = "This figure could not be drawn anew (no room); its numbers are below."
    expect(figure.locator(".said")).to_have_text(said)
    assert figure.locator(".view svg").evaluate("one => one.outerHTML") == before
    expect(figure.locator(".said")).to_be_visible()


@pytest.mark.parametrize("has_pictures", [True, False])
def test_a_page_whose_library_fails_shows_what_it_has(
    opened_page: Callable[..., Page], still: Path, report: Path, tmp_path: Path, has_pictures: bool
) -> None:
    text = (still if has_pictures else report).read_text("utf-8")
    broken = tmp_path / "index.html"
    library = f"window.vegaEmbed = () => {FAILS};"
    text, replaced = re.subn(r"window\.vegaEmbed=[^;]*;", lambda _: library, text)
    assert replaced == 1
    # The policy permits no script but the page's own.
    broken.write_text(text.replace('http-equiv="Content-Security-Policy"', "data-policy"), "utf-8")
    page = opened_page(broken)
    unfold(page)
    figure = page.locator("#figure-seconds")
    figure.scroll_into_view_if_needed()
    expect(figure.locator(".said")).to_contain_text("could not be drawn")
    expect(figure.locator(".said")).to_contain_text("(no room); its numbers are below.")
    assert figure.locator(".view svg").count() == has_pictures


def test_folded_figures_are_drawn_when_they_are_unfolded(
    opened_page: Callable[..., Page], still: Path
) -> None:
    page = opened_page(still)
    eventually(page, lambda: page.evaluate("document.documentElement.dataset.drawn") == "all")
    view = page.locator("#figure-seconds .view")
    assert "drawn" not in (view.get_attribute("class") or "")
    page.locator("details.fold", has=view).locator("> summary").click()
    page.locator("#figure-seconds").scroll_into_view_if_needed()
    expect(view.locator(".vega-embed svg")).to_be_visible()
    eventually(page, lambda: view.locator("svg").evaluate("one => one.clientWidth") > 400)


def test_saved_pictures_of_parts_have_no_colour_of_the_page(
    opened_page: Callable[..., Page], still: Path
) -> None:
    page = opened_page(still, accept_downloads=True, color_scheme="dark")
    figure = page.locator("#figure-uses")
    with page.expect_download() as download:
        figure.get_by_role("button", name="SVG").click()
    saved = Path(download.value.path()).read_text("utf-8")
    assert "var(--" not in saved and THEME["part-2"] in saved


def test_a_printed_page_holds_every_figure_without_javascript(
    opened_page: Callable[..., Page], still: Path
) -> None:
    page = opened_page(still, java_script_enabled=False)
    unfold(page)
    page.emulate_media(media="print")
    for picture in page.locator("figure.chart .view > svg").all():
        expect(picture).to_be_visible()
    assert page.pdf(format="A4").startswith(b"%PDF")


def test_names_do_no_harm_in_still_pictures(browser: Browser, still: Path) -> None:
    context = browser.new_context()
    opened = Opened(context.new_page(), still)
    assert opened.wrong == [] and opened.requests == [still.as_uri()]
    assert HOSTILE in opened.page.locator("header table").inner_text()
    assert opened.page.locator("img").count() == 0
    context.close()
