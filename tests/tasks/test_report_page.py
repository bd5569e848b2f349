"""The report in a real browser: accessible, on a phone and a desk, in light and dark, by keyboard, with no network."""

from pathlib import Path

import pytest

from tasks.report import write_report
from tasks.run_comparison import compare_runs, write_comparison
from tests.browser import a_page, violations
from tests.measured import a_measured_run

OPEN_ALL = "document.querySelectorAll('details').forEach(one => one.open = true)"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    return write_report(a_measured_run(folder), folder).html


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1280])
def test_axe_finds_no_fault_in_light_or_dark_with_everything_unfolded(report: Path, width: int) -> None:
    with a_page(width=width) as (page, foreign):
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text))
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            page.goto(report.as_uri())
            page.evaluate(OPEN_ALL)
            assert violations(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") == width
    assert (foreign, said) == ([], [])


@pytest.mark.slow
def test_axe_finds_no_fault_on_a_page_that_compares_runs(tmp_path: Path) -> None:
    run = a_measured_run(tmp_path)
    compared = write_comparison(compare_runs([run, run]), [run, run], tmp_path).html
    with a_page(width=390) as (page, foreign):
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            page.goto(compared.as_uri())
            assert violations(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert foreign == []


@pytest.mark.slow
def test_the_keyboard_reaches_a_transcript_and_print_shows_the_replay(report: Path) -> None:
    with a_page() as (page, _):
        page.goto(report.as_uri())
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to the figures"
        summary = page.locator("details.kind > summary").first
        case = page.locator("details.kind .move").first
        assert not case.is_visible()
        summary.press("Enter")
        page.locator("details.kind details > summary").first.press("Enter")
        assert case.is_visible()
        assert page.get_by_text("nobody gave it").first.is_visible()
        page.reload()
        page.emulate_media(media="print")
        assert page.locator("details.opened .turn").first.bounding_box() is not None
        assert page.locator("nav").is_hidden()
