"""The page where the library that draws figures in it is not installed."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser

from bench.report.files import write_report
from bench.report.page import scripts

from .conftest import Opened, records

pytestmark = [pytest.mark.browser, pytest.mark.draws, pytest.mark.slow]


def test_figures_are_still_and_nothing_is_broken(
    browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scripts, "is_interactive", lambda: False)
    path = write_report(records(), tmp_path, pictures=2)
    opened = Opened(browser.new_page(), path)
    page = opened.page
    figures = page.locator("figure.chart").all()
    assert len(figures) > 2
    for figure in figures:
        view = figure.locator(".view")
        link = view.locator("a")
        if link.count():  # a picture beside the page
            assert (tmp_path / (link.get_attribute("href") or "")).is_file()
        assert "could not be drawn" not in figure.inner_text()
        assert "Without JavaScript" not in figure.inner_text()
        assert figure.locator(".switches").count() == 0
        assert figure.locator(".save button").all_text_contents() == ["CSV"]
    assert page.locator(".contenders").is_hidden()
    figures[0].locator(".numbers summary").click()
    figures[0].locator(".numbers td").first.wait_for()
    page.locator("th button").first.click()  # tables are sorted as ever
    assert opened.wrong == []
    page.close()
