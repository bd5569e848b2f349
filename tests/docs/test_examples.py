"""The examples of the pages do what the pages say. The tutorial is run by `.ci/run`, which needs its loop anyway."""

from pathlib import Path

import pytest

from tests.docs.blocks import blocks
from tests.docs.claims import claims, wrong
from tests.docs.run import play
from tests.docs.sandbox import ROOT, Sandbox

PAGES = sorted((ROOT / "docs").rglob("*.md"))
TOLD = [*PAGES, ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"]
RUN = [page for page in PAGES if page.name != "tutorial.md" and any(block.is_run for block in blocks(page))]


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN, ids=lambda page: page.stem)
def test_the_examples_of_a_page_run_as_printed(page: Path, tmp_path: Path) -> None:
    sandbox = Sandbox(tmp_path)
    try:
        assert play(page, sandbox, lambda _: None) > 0
    finally:
        sandbox.close()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_shell_block_says_whether_it_is_run(page: Path) -> None:
    unsaid = [
        block for block in blocks(page) if block.language == "sh" and not block.mark.startswith(("run", "not run:"))
    ]
    assert unsaid == []


@pytest.mark.parametrize("page", TOLD, ids=lambda page: page.stem)
def test_what_a_page_names_is_there(page: Path) -> None:
    written = {block.mark.removeprefix("file:").strip() for block in blocks(page) if block.mark.startswith("file:")}
    faults = [(claim.words, fault) for claim in claims(page) if (fault := wrong(claim, written))]
    assert faults == []
