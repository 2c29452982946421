"""A browser for the tests of this folder; they are skipped with the reason where there is none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.reporting.browser import chromium
from tests.reporting.builders import METRICS
from vqa_engine import reporting

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        if isinstance(found, str):
            pytest.skip(found)
        yield found


class Tab:
    """A page in a browser, with all that it logged and asked for."""

    def __init__(self, browser: Browser, **settings: Any) -> None:
        self._context = browser.new_context(**settings)
        self.page: Page = self._context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))

    def open(self, address: str, view: str = "") -> Page:
        """Load a report, and wait for its rows."""
        self.page.goto(f"{address}{'#' if view else ''}{view}")
        self.page.wait_for_selector("html[data-ready]")
        return self.page

    def show(self, view: str) -> str:
        """Show other rows; what the page says of their number comes back."""
        written = self.page.evaluate(
            "view => { location.hash = view; return location.hash.slice(1) }", view
        )
        self.page.wait_for_function(
            "view => document.documentElement.dataset.view === view", arg=written
        )
        return self.page.inner_text("#found")

    def close(self) -> None:
        """Close it."""
        self._context.close()


@pytest.fixture
def tab(browser: Browser) -> Iterator[Tab]:
    made = Tab(browser)
    yield made
    made.close()


def write(*runs: Path, page: Path | None = None, **options: Any) -> Path:
    """The report of runs, with the default metrics."""
    page = page or runs[0] / "report.html"
    with reporting.opened(runs) as found:
        reporting.write(found, page, metrics=METRICS, **options)
    return page
