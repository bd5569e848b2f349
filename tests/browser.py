"""A real headless Chromium for tests: what a person sees of a page, whether it is accessible, and a picture of it.

While a page is open, its thread counts as one with a running event loop: start runs before, or in another thread.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, Route, sync_playwright

INSTALL = "apt-get install --no-install-recommends chromium fonts-liberation"
# CI says that it must be there; on a developer's machine its tests may be skipped.
REQUIRED = "ZAVA_BROWSER_REQUIRED"
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
NEAR = ("127.0.0.1", "localhost", "")  # a file and a data URL have no host


class Foreign(list[str]):
    """The addresses beyond this machine that pages asked for; they got no answer."""

    def refuse(self, route: Route) -> None:
        address = route.request.url
        if (urlsplit(address).hostname or "") in NEAR:
            route.continue_()
        else:
            self.append(address)
            route.abort()


def chromium() -> str:
    """Return the path of the machine's Chromium; without one, skip the test, or fail it where one is required."""
    path = shutil.which("chromium")
    if path is None:
        reason = f"no Chromium on PATH; on Debian: {INSTALL}"
        if os.environ.get(REQUIRED):
            pytest.fail(reason)
        pytest.skip(reason)
    return path


@contextmanager
def a_page(width: int = 1280, height: int = 800) -> Iterator[tuple[Page, Foreign]]:
    """Open an empty page in a browser of its own, as a new user; yield it with what it asked of other machines."""
    path, foreign = chromium(), Foreign()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        try:
            context = browser.new_context(viewport={"width": width, "height": height}, reduced_motion="reduce")
            context.route("**/*", foreign.refuse)
            yield context.new_page(), foreign
        finally:
            browser.close()


def violations(page: Page) -> list[str]:
    """Return what axe finds inaccessible on the page, one line for each rule with the places that break it."""
    found = Axe().run(page).response["violations"]
    return [
        f"{rule['id']} ({rule['impact']}): {rule['help']}: {[node['target'] for node in rule['nodes']]}"
        for rule in found
    ]


def picture(page: Page, path: Path, *, whole: bool = False) -> Path:
    """Write what the page shows now as a PNG: what fits its window, or the page from top to bottom."""
    path.parent.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=path, full_page=whole, animations="disabled")
    return path
