"""A real browser for the tests of the page: the system's Chromium, never one that is downloaded."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from fake_records import fake_record, fake_roofline
from playwright.sync_api import Browser, ConsoleMessage, Dialog, Page, sync_playwright

from bench.records import Record
from bench.report.files import write_report

SECONDS = {"numba-sgd": 0.05, "numba-gd": 0.4, "torch-cpu": 0.8, "numpy-als": 11.0, "numpy": 4.0}
LOOKS = {
    "numba-sgd": "red s",
    "numba-gd": "orange ^",
    "torch-cpu": "blue v",
    "numpy-als": "pink D",
    "numpy": "grey o",
}
HOSTILE = '"><img src=x onerror=alert(1)>'


def several_seeds(record: Record) -> Record:
    """Return the record with two more seeds."""
    (calibration,) = record["calibrations"]
    record["seeds"] = [0, 1, 2]
    record["calibrations"] = [{**calibration, "seed": seed} for seed in range(3)]
    record["rounds"] = [
        {**row, "seed": seed, "seconds": row["seconds"] * (1 + seed / 200)}
        for seed in range(3)
        for row in record["rounds"]
    ]
    return record


def records(case: str = "small", rank: int = 16) -> list[Record]:
    facts = {"name": f"{case}, rank {rank}", "dataset": case, "rank": rank}
    ran = [
        several_seeds(fake_record(name, seconds=seconds, case=facts))
        for name, seconds in SECONDS.items()
    ]
    for record in ran:
        record["backend"]["look"] = LOOKS[record["backend"]["name"]]
    ran[1]["rounds"][0]["seconds"] *= 4  # an outlier, so that there is a warning
    return [*ran, fake_record(HOSTILE, "crashed", case=facts, reason=HOSTILE)]


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    path = shutil.which("chromium")
    if path is None and os.environ.get("FACTORBENCH_BROWSER") != "required":
        pytest.skip("there is no chromium on the path")
    assert path, "FACTORBENCH_BROWSER=required, and there is no chromium on the path"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One case with rooflines."""
    rooflines = [fake_roofline("numba-sgd"), fake_roofline("numpy", ns=80)]
    return write_report([*records(), *rooflines], tmp_path_factory.mktemp("one"), pictures=0)


@pytest.fixture(scope="session")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three cases: of more than two, only the first two are unfolded."""
    many = [record for rank in (8, 16, 32) for record in records("cases", rank)]
    return write_report(many, tmp_path_factory.mktemp("three"), pictures=0)


class Opened:
    """A page with all its figures drawn, and what went wrong in it."""

    def __init__(self, page: Page, path: Path) -> None:
        self.page = page
        self.wrong: list[str] = []
        self.requests: list[str] = []

        def on_console(message: ConsoleMessage) -> None:
            if message.type == "error":
                self.wrong.append(message.text)

        def on_dialog(dialog: Dialog) -> None:
            self.wrong.append(dialog.message)
            dialog.dismiss()

        page.on("console", on_console)
        page.on("pageerror", lambda error: self.wrong.append(str(error)))
        page.on("dialog", on_dialog)
        page.on("request", lambda request: self.requests.append(request.url))
        page.goto(path.as_uri())
        page.wait_for_selector("html[data-drawn=all]", state="attached", timeout=300_000)


@pytest.fixture
def opened(browser: Browser, report: Path) -> Iterator[Opened]:
    context = browser.new_context(viewport={"width": 1400, "height": 900}, accept_downloads=True)
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = Opened(context.new_page(), report)
    yield page
    context.close()
    assert page.wrong == []
    assert {url.split(":")[0] for url in page.requests} <= {"file", "blob", "data"}


LookedAt = Callable[[str, Literal["light", "dark"]], Page]


@pytest.fixture(scope="package")
def looked_at(browser: Browser, request: pytest.FixtureRequest) -> Iterator[LookedAt]:
    """Pages for tests that leave them as they were, by fixture and scheme; each is opened once."""
    pages: dict[tuple[str, str], Opened] = {}

    def page(which: str, scheme: Literal["light", "dark"] = "light") -> Page:
        if (which, scheme) not in pages:
            size: Any = {"width": 1400, "height": 900}
            context = browser.new_context(viewport=size, color_scheme=scheme, bypass_csp=True)
            context.grant_permissions(["clipboard-read", "clipboard-write"])
            pages[which, scheme] = Opened(context.new_page(), request.getfixturevalue(which))
        return pages[which, scheme].page

    yield page
    for visited in pages.values():
        visited.page.context.close()
        assert visited.wrong == []


def eventually(page: Page, happened: Callable[[], object]) -> None:
    """Wait until it happens: a page draws in its own time."""
    deadline = time.monotonic() + 300
    while not happened():
        assert time.monotonic() < deadline, "it did not happen"
        page.wait_for_timeout(20)
