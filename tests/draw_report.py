"""Draws the pictures of a report that the documentation shows.

python -m tests.draw_report .zava/runs/RUN/report.html docs/pictures
"""

import sys
from pathlib import Path
from typing import Literal

from playwright.sync_api import Page

from tests.browser import a_page, picture

DESK, PHONE = (1280, 900), (390, 844)


def draw(report: Path, folder: Path) -> None:
    _draw(report, folder / "report-desk.png", DESK, "light")
    _draw(report, folder / "report-phone-dark.png", PHONE, "dark")
    _draw(report, folder / "report-failure.png", DESK, "light", "#failures")
    _draw(report, folder / "report-failure-phone-dark.png", PHONE, "dark", "#failures")


def _draw(
    report: Path, path: Path, size: tuple[int, int], scheme: Literal["light", "dark"], place: str | None = None
) -> None:
    with a_page(*size) as (page, _):
        page.emulate_media(color_scheme=scheme)
        page.goto(report.resolve().as_uri())
        if place:
            _unfold(page, place)
        picture(page, path)


def _unfold(page: Page, place: str) -> None:
    """Open the first decision with an invented id, or else of the first kind of failure, and bring it to the top."""
    kinds = page.locator(f"{place} details.kind")
    invented = kinds.filter(has=page.locator("summary .name", has_text="invented id"))
    kind = (invented if invented.count() else kinds).first
    kind.locator("summary").first.click()
    kind.locator("details > summary").first.click()
    kind.evaluate("one => one.scrollIntoView()")


if __name__ == "__main__":
    draw(Path(sys.argv[1]), Path(sys.argv[2]))
