"""The page in a real browser: by pointer and by keyboard, in light and dark, small and printed."""

from __future__ import annotations

import csv
import io
import struct
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page, expect

from bench.report.figures.palette import RED

from .conftest import HOSTILE, SECONDS, LookedAt, Opened, eventually

pytestmark = [pytest.mark.browser, pytest.mark.load]

SHOWN = ["Backend", "First fit, s", "New process, s", "In a loop, s", "Test RMSE", "NDCG@10"]
SHOWN += ["Memory, MB"]
MORE = ["Compiling ahead, s", "Speed-up (95 %)", "Min to max, s", "Epochs", "Validation MSE"]
MORE += ["Test MSE", "Gap in J", "Runs on", "Algorithm", "Status"]
BY_SECONDS = sorted(SECONDS, key=lambda name: SECONDS[name])


def ranking(page: Page) -> Locator:
    return page.locator("header table")


def names(page: Page) -> list[str]:
    """Return the backends of the ranking in the order in which they are seen."""
    rows = ranking(page).locator("tbody tr:visible th .name")
    return [
        text.split("⚠")[0].strip().lstrip("■▲▼◆●▶◀★⬟⬢✚✖♦").strip("\ufe0e ")
        for text in rows.all_inner_texts()
    ]


def unfold(page: Page) -> None:
    """Open everything that is folded at first, and the list of contenders."""
    page.evaluate("document.querySelectorAll('details').forEach(one => (one.open = true))")


def marks(page: Page, stem: str) -> int:
    """Return how many marks a figure draws."""
    paths = page.locator(
        f"#figure-{stem} .view g.mark-symbol path, #figure-{stem} .view g.mark-line path"
    )
    return paths.evaluate_all(
        "found => found.filter(one => one.getBBox().width + one.getBBox().height > 0).length"
    )


def test_it_opens_without_an_error_and_loads_nothing(opened: Opened, report: Path) -> None:
    assert opened.wrong == [] and opened.requests == [report.as_uri()]
    figures = opened.page.locator("figure.chart")
    assert figures.count() >= 10
    assert figures.locator(".view.drawn svg").count() == figures.count()
    assert "could not be drawn" not in opened.page.inner_text("main")


def test_the_first_screen_answers_which_to_take(browser: Browser, report: Path) -> None:
    for width, height in ((1400, 1000), (400, 800)):
        page = browser.new_page(viewport={"width": width, "height": height})
        page.goto(report.as_uri())
        expect(page.locator(".uses strong")).to_have_text(["numba-sgd"] * 3)
        expect(page.locator(".uses dt")).to_have_text(
            [
                "A first fit on a machine, nothing compiled",
                "A fit in a new process, compiled before",
                "Fits in a loop",
            ]
        )
        expect(page.locator(".uses")).to_be_in_viewport(ratio=1)
        if width > height:
            expect(page.locator(".snippet")).to_be_in_viewport(ratio=1)
            expect(ranking(page).locator("tbody tr").first).to_be_in_viewport(ratio=1)
        page.close()


def test_columns_are_sorted_by_number_and_by_text(opened: Opened) -> None:
    page = opened.page
    assert names(page) == [*BY_SECONDS, HOSTILE]
    seconds = ranking(page).locator("th", has_text="In a loop")
    seconds.locator("button").click()
    expect(seconds).to_have_attribute("aria-sort", "ascending")
    assert names(page) == [*BY_SECONDS, HOSTILE]
    seconds.locator("button").click()
    expect(seconds).to_have_attribute("aria-sort", "descending")
    assert names(page) == [*BY_SECONDS[::-1], HOSTILE]  # what is unknown stays last
    ranking(page).locator("th", has_text="Backend").locator("button").click()
    assert names(page) == sorted([*SECONDS, HOSTILE], key=lambda name: name.strip('">< '))
    expect(seconds).not_to_have_attribute("aria-sort", "descending")


def test_rows_are_filtered_by_words(looked_at: LookedAt) -> None:
    page = looked_at("report", "light")
    page.get_by_role("searchbox").first.fill("numba matched")
    assert names(page) == ["numba-sgd", "numba-gd"]
    expect(page.locator(".tools [role=status]").first).to_have_text("2 of 6 rows")
    page.get_by_role("searchbox").first.fill("")
    assert len(names(page)) == 6


def test_what_is_seen_is_copied(opened: Opened) -> None:
    page = opened.page
    page.get_by_role("searchbox").first.fill("numba")
    page.get_by_role("button", name="Copy CSV").first.click()
    expect(page.locator(".tools [role=status]").first).to_have_text("Copied as CSV")
    header, *rows = csv.reader(io.StringIO(page.evaluate("navigator.clipboard.readText()")))
    assert header == SHOWN
    assert [row[0] for row in rows] == ["numba-sgd", "numba-gd"]
    assert all(len(row) == len(SHOWN) for row in rows)
    page.get_by_role("searchbox").first.fill("crashed")
    page.get_by_role("button", name="Copy Markdown").first.click()
    expect(page.locator(".tools [role=status]").first).to_have_text("Copied as Markdown")
    lines = page.evaluate("navigator.clipboard.readText()").splitlines()
    assert lines[1].startswith("| --- |") and len(lines) == 3
    assert '| ">&lt;img src=x onerror=alert(1)> |' in lines[2]


def test_pointing_at_a_mark_shows_its_values(looked_at: LookedAt) -> None:
    page = looked_at("report", "light")
    unfold(page)
    page.locator("#figure-seconds").scroll_into_view_if_needed()
    mark = page.locator(f'#figure-seconds .view g.mark-symbol path[fill="{RED}"]').first
    tooltip = page.locator("#vg-tooltip-element")

    def points() -> bool:
        """Point at the mark anew: the page may have moved on below the pointer."""
        page.mouse.move(5, 5)
        mark.hover()
        return tooltip.is_visible()

    eventually(page, points)
    expect(tooltip).to_contain_text("numba-sgd")
    expect(tooltip).to_contain_text("0.05")
    page.mouse.move(5, 5)
    expect(tooltip).not_to_be_visible()


def test_a_contender_is_switched_off_in_every_figure(opened: Opened) -> None:
    page = opened.page
    unfold(page)
    stems = [
        stem
        for stem in ("seconds", "convergence_seconds", "convergence_epochs", "pareto")
        if marks(page, stem)
    ]
    before = {stem: marks(page, stem) for stem in stems}
    assert len(stems) == 4
    page.get_by_role("checkbox", name="torch-cpu").uncheck()
    expect(page.locator("#shown")).to_have_text("5 of 6 shown")
    eventually(page, lambda: all(marks(page, stem) < count for stem, count in before.items()))
    expect(page.locator("#figure-seconds .view")).not_to_contain_text("torch-cpu")
    page.get_by_role("button", name="none").click()
    eventually(page, lambda: marks(page, "seconds") == 0)
    page.get_by_role("button", name="all", exact=True).click()
    eventually(page, lambda: {stem: marks(page, stem) for stem in stems} == before)
    assert names(page) == [*BY_SECONDS, HOSTILE]  # the table is filtered by itself


def test_axes_are_switched_and_contenders_stay_off(opened: Opened) -> None:
    page = opened.page
    expect(page.get_by_role("checkbox", name="numpy-als")).not_to_be_visible()
    unfold(page)
    figure = page.locator("#figure-seconds")
    button = figure.get_by_role("button", name="log x")
    expect(button).to_have_attribute("aria-pressed", "true")
    page.get_by_role("checkbox", name="numpy-als").uncheck()

    def places() -> list[float]:
        return figure.locator(".view g.mark-symbol path").evaluate_all(
            "found => found.map(one => one.getBoundingClientRect().x)"
        )

    before = places()
    button.click()
    expect(button).to_have_attribute("aria-pressed", "false")
    eventually(page, lambda: places() != before)
    expect(figure.locator(".view")).not_to_contain_text("numpy-als")
    button.click()
    eventually(page, lambda: places() == pytest.approx(before, abs=1))


def test_the_numbers_are_one_click_away(opened: Opened) -> None:
    unfold(opened.page)
    opened.page.evaluate(
        "document.querySelectorAll('.numbers, .how').forEach(one => (one.open = false))"
    )
    figure = opened.page.locator("#figure-pareto")
    figure.get_by_text("The numbers").click()
    expect(figure.locator(".rows table tbody tr")).to_have_count(5)
    expect(figure.locator(".rows table")).to_contain_text("numba-sgd")
    figure.get_by_text("How it was measured").click()
    expect(figure.locator(".how pre")).to_contain_text("pytest bench/ --benchmark-only")
    long = opened.page.locator("#figure-convergence_seconds")
    long.get_by_text("The numbers").click()
    expect(long.locator(".rows p")).to_contain_text("The first 200 of ")


def test_figures_are_saved(looked_at: LookedAt) -> None:
    page = looked_at("report", "light")
    unfold(page)
    figure = page.locator("#figure-seconds")
    saved: dict[str, bytes] = {}
    for kind in ("CSV", "PNG", "SVG"):
        with page.expect_download() as download:
            figure.get_by_role("button", name=kind).click()
        assert download.value.suggested_filename == f"seconds.{kind.lower()}"
        saved[kind] = Path(download.value.path()).read_bytes()
    rows = list(csv.DictReader(io.StringIO(saved["CSV"].decode())))
    assert {row["backend"] for row in rows} >= set(SECONDS)
    width, height = struct.unpack(">II", saved["PNG"][16:24])
    assert saved["PNG"].startswith(b"\x89PNG") and width > 800 and height > 200
    assert (
        saved["SVG"].startswith(b"<svg")
        and b"var(--" not in saved["SVG"]
        and b"numba-sgd" in saved["SVG"]
    )


def test_a_warning_leads_to_where_it_is_stated(opened: Opened) -> None:
    page = opened.page
    row = page.locator("tr[id^=warning]", has_text="numba-gd")
    expect(row).not_to_be_visible()
    for _ in range(2):  # also when the fold was closed again
        ranking(page).locator("a.warning").first.click()
        expect(page.locator("tr:target")).to_contain_text("numba-gd")
        expect(row).to_be_in_viewport(ratio=1)
        eventually(page, lambda: is_below_the_bar(page, row))
        page.locator("details.fold", has=row).locator("summary").click()
        expect(row).not_to_be_visible()


def is_below_the_bar(page: Page, element: Locator) -> bool:
    """Whether an element is not hidden under what stays at the top of the window."""
    box, bar = element.bounding_box(), page.locator(".bar").bounding_box()
    assert box and bar
    return box["y"] >= bar["y"] + bar["height"] - 1


def test_the_contents_lead_to_every_part(opened: Opened) -> None:
    page = opened.page
    links = page.locator("nav a")
    titles = links.all_inner_texts()
    assert titles[:2] == ["Figures", "More figures"] and titles[-2:] == ["Method", "Environment"]
    for at in range(links.count()):
        page.evaluate("window.scrollTo(0, 0)")
        target = links.nth(at).get_attribute("href") or ""
        links.nth(at).click()
        part = page.locator(f'[id="{target[1:]}"]')
        expect(part).to_be_in_viewport()
        assert part.evaluate("one => one.tagName !== 'DETAILS' || one.open"), target
        eventually(page, lambda part=part: is_below_the_bar(page, part))


def test_more_columns_are_shown_copied_and_hidden(looked_at: LookedAt) -> None:
    page = looked_at("report", "light")
    more = page.get_by_role("button", name="More columns").first
    header = ranking(page).locator("thead th:visible")
    expect(more).to_have_attribute("aria-pressed", "false")
    expect(header).to_have_text(SHOWN)
    more.click()
    expect(more).to_have_attribute("aria-pressed", "true")
    expect(header).to_have_text([*SHOWN, *MORE])
    page.get_by_role("button", name="Copy CSV").first.click()
    expect(page.locator(".tools [role=status]").first).to_have_text("Copied as CSV")
    copied = list(csv.reader(io.StringIO(page.evaluate("navigator.clipboard.readText()"))))
    assert copied[0] == [*SHOWN, *MORE]
    assert {len(row) for row in copied} == {len(copied[0])}
    more.click()
    expect(more).to_have_attribute("aria-pressed", "false")
    expect(header).to_have_text(SHOWN)


def test_a_column_that_is_seen_is_sorted_whatever_is_hidden(opened: Opened) -> None:
    page = opened.page
    first = ranking(page).locator("th", has_text="First fit")
    first.locator("button").click()
    seconds = [
        float(text) for text in ranking(page).locator("td:nth-child(2)").all_inner_texts()[:5]
    ]
    assert seconds == sorted(seconds) and names(page)[-1] == HOSTILE


def test_the_code_is_copied_as_it_is_shown(looked_at: LookedAt) -> None:
    page = looked_at("report", "light")
    code = page.locator(".snippet code").inner_text()
    button = page.locator(".snippet").get_by_role("button")
    expect(button).to_have_text("Copy")
    button.click()
    expect(button).to_have_text("Copied")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("from backends import Ratings, get_backend\n")
    assert copied.split() == code.split()
    compile(copied, "snippet", "exec")


def test_a_table_that_goes_on_beyond_the_edge_says_so(browser: Browser, report: Path) -> None:
    page = browser.new_page(viewport={"width": 400, "height": 800})
    page.goto(report.as_uri())
    frame = page.locator("header .scroll")
    note = page.locator("header .goes-on-note")
    expect(note).to_have_text("The table goes on to the right \u2192")
    expect(note).to_be_visible()
    frame.evaluate("one => one.scrollTo(one.scrollWidth, 0)")
    expect(note).not_to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == 400
    frame.evaluate("one => one.scrollTo(0, 0)")
    expect(note).to_be_visible()
    page.set_viewport_size({"width": 1400, "height": 800})
    expect(note).not_to_be_visible()
    page.get_by_role("button", name="More columns").first.click()
    expect(note).to_be_visible()
    page.get_by_role("button", name="More columns").first.click()
    expect(note).not_to_be_visible()
    page.close()


def test_everything_is_reached_by_keyboard(opened: Opened) -> None:
    page = opened.page
    reached: list[Any] = []
    for _ in range(70):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate(
                "[document.activeElement.tagName,"
                " document.activeElement.textContent.trim().slice(0, 20)]"
            )
        )
    said = [text for _, text in reached]
    assert said[0] == "Skip to the figures"
    for text in (
        "Copy",
        "More columns",
        "Copy CSV",
        "In a loop, s",
        "Figures",
        "Contenders: all 6 sh",
        "log x",
        "The numbers",
        "How it was measured",
    ):
        assert text in said, text
    code = page.locator(".snippet").get_by_role("button")
    code.focus()
    page.keyboard.press("Enter")
    expect(code).to_have_text("Copied")
    more = page.get_by_role("button", name="More columns").first
    more.focus()
    page.keyboard.press("Space")
    expect(more).to_have_attribute("aria-pressed", "true")
    page.locator(".contenders summary").focus()
    page.keyboard.press("Enter")
    for text in ("all", "none"):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == text
    page.get_by_role("checkbox", name="numba-gd").focus()
    page.keyboard.press("Space")
    expect(page.locator("#shown")).to_have_text("5 of 6 shown")
    axis = page.locator("#figure-convergence_seconds").get_by_role("button", name="log x")
    axis.focus()
    page.keyboard.press("Enter")
    expect(axis).to_have_attribute("aria-pressed", "false")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("which", ["report", "cases"])
def test_there_is_no_barrier(looked_at: LookedAt, scheme: Any, which: str) -> None:
    page = looked_at(which, scheme)
    numbers = page.locator("summary", has_text="The numbers").first
    numbers.click()
    # Markers are graphics, for which 3:1 suffices (WCAG 1.4.11); another test checks theirs.
    found = Axe().run(page, context={"exclude": [[".mark"]]}).response["violations"]
    numbers.click()  # as it was
    grave = [violation for violation in found if violation["impact"] in ("serious", "critical")]
    assert [
        (
            violation["id"],
            violation["nodes"][0]["html"],
            violation["nodes"][0].get("failureSummary"),
        )
        for violation in grave
    ] == []


def test_text_and_paper_follow_the_reader_s_scheme(looked_at: LookedAt) -> None:
    seen = {}
    schemes: tuple[Any, ...] = ("light", "dark")
    for scheme in schemes:
        page = looked_at("report", scheme)
        label = page.locator("#figure-seconds .view g.role-axis-label text").first
        seen[scheme] = (
            page.evaluate("getComputedStyle(document.body).backgroundColor"),
            label.evaluate("one => getComputedStyle(one).fill"),
        )
    assert seen == {
        "light": ("rgb(255, 255, 255)", "rgb(28, 30, 33)"),
        "dark": ("rgb(21, 24, 28)", "rgb(228, 230, 234)"),
    }


@pytest.mark.parametrize("which", ["report", "cases"])
@pytest.mark.parametrize("width", [320, 400, 800])
def test_small_screens_never_scroll_sideways(
    browser: Browser, which: str, width: int, request: pytest.FixtureRequest
) -> None:
    page = browser.new_page(viewport={"width": width, "height": 800})
    page.goto(request.getfixturevalue(which).as_uri())
    page.wait_for_selector("html[data-drawn=all]", state="attached")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    wide = page.locator(".view svg").evaluate_all(
        "found => Math.max(...found.map(one => one.clientWidth))"
    )
    assert wide <= width
    page.close()


def test_many_cases_are_folded_and_links_unfold_them(browser: Browser, cases: Path) -> None:
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    page.goto(cases.as_uri())
    folds = page.locator("details.case")
    assert folds.evaluate_all("found => found.map(one => one.open)") == [
        True,
        True,
        False,
    ]
    page.locator("header table a:not(.warning)").last.click()
    expect(folds.last).to_have_attribute("open", "")
    expect(folds.last.locator("h2")).to_be_in_viewport()
    page.wait_for_selector("html[data-drawn=all]", state="attached")
    widths = folds.last.locator(".view svg").evaluate_all(
        "found => found.map(one => one.clientWidth)"
    )
    assert min(widths) > 400
    page.close()


def test_print_holds_every_figure(browser: Browser, cases: Path) -> None:
    page = browser.new_page()
    page.goto(cases.as_uri())
    page.wait_for_selector("html[data-drawn=all]", state="attached")
    assert page.pdf(format="A4").startswith(b"%PDF")
    page.emulate_media(media="print", color_scheme="dark")
    open_folds = "found => found.map(one => one.open)"
    folds = page.locator("details.case, details.fold")
    before = folds.evaluate_all(open_folds)
    assert before.count(True) == 2  # the first two cases
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details.case:not([open])").count() == 0
    assert all(folds.evaluate_all(open_folds))
    expect(page.locator(".goes-on-note:visible")).to_have_count(0)
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.locator(".view:not(.drawn)").count() == 0
    expect(page.locator(".tools").first).not_to_be_visible()
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert page.locator("details.case:not([open])").count() == 1
    assert folds.evaluate_all(open_folds) == before
    page.close()


def test_without_javascript_the_tables_are_readable(browser: Browser, report: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(report.as_uri())
    assert names(page)[0] == "numba-sgd"
    header = ranking(page).locator("thead th:visible")
    expect(header).to_have_text([*SHOWN, *MORE])
    expect(page.get_by_role("button", name="Copy")).to_have_count(0)
    page.locator("summary", has_text="Data, split").click()
    expect(page.locator("details.fold dl").first).to_be_visible()
    assert (
        "Without JavaScript, which this browser does not run"
        in page.locator("main > noscript").inner_text()
    )
    expect(page.locator(".contenders")).not_to_be_visible()
    context.close()


def test_a_watched_page_loads_itself_again_and_stays_where_it_was(
    browser: Browser, report: Path, tmp_path: Path
) -> None:
    text = report.read_text("utf-8")
    path = tmp_path / "index.html"
    path.write_text(
        text.replace("<title>", '<meta name="factorbench-reload" content="1"><title>', 1).replace(
            "<h1>",
            '<button type="button" id="pause" aria-pressed="false" hidden>Pause</button><h1>',
            1,
        )
    )
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    page.goto(path.as_uri())
    page.wait_for_selector("html[data-drawn=all]", state="attached")
    page.locator(".contenders summary").click()
    page.get_by_role("checkbox", name="numpy-als").uncheck()
    page.locator("#figure-uses summary", has_text="How it was measured").click()
    page.locator("details.fold > summary").first.click()
    page.evaluate("window.scrollTo(0, 1500)")
    page.evaluate("window.before = true")
    path.write_text(text)  # the run ends: the page is no longer watched
    page.wait_for_function("() => !window.before", timeout=15_000)
    page.wait_for_selector("html[data-drawn=all]", state="attached")
    expect(page.get_by_role("checkbox", name="numpy-als")).not_to_be_checked()
    expect(page.locator("#figure-uses details.how")).to_have_attribute("open", "")
    expect(page.locator("details.fold").first).to_have_attribute("open", "")
    eventually(page, lambda: page.evaluate("window.scrollY") == pytest.approx(1500, abs=60))
    page.evaluate("window.before = true")
    page.wait_for_timeout(1500)
    assert page.evaluate("window.before")
    page.close()
