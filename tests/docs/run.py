"""Runs the blocks of a page as they are printed, and shows it: `python -m tests.docs.run docs/tutorial.md`."""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.docs.blocks import Block, blocks
from tests.docs.sandbox import Sandbox, is_as_told

Say = Callable[[str], object]


def play(page: Path, sandbox: Sandbox, say: Say) -> int:
    """Run a page's blocks in order and return how many ran.

    Raises:
        AssertionError: One ended with another status, or printed something else, than the page says.
    """
    ran, printed = 0, ""
    for block in blocks(page):
        where = f"{page.name}:{block.line}"
        if block.mark.startswith("file:"):
            sandbox.write(block)
        elif block.mark == "output":
            assert is_as_told(block.text, printed), f"{where} says\n{block.text}\nand this was printed:\n{printed}"
        elif block.is_run:
            say(_told(block))
            status, printed = sandbox.run(block)
            say(printed)
            assert status in block.statuses, f"{where} ended with {status}:\n{printed}"
            ran += 1
    return ran


def _told(block: Block) -> str:
    return "".join(f"$ {line}\n" for line in block.text.splitlines())


def main() -> None:
    """Run the pages named on the command line."""
    for name in sys.argv[1:]:
        with tempfile.TemporaryDirectory() as folder:
            sandbox = Sandbox(Path(folder))
            try:
                ran = play(Path(name), sandbox, lambda text: print(text, end="", flush=True))  # noqa: T201
            finally:
                sandbox.close()
        print(f"{name}: {ran} blocks ran as printed")  # noqa: T201


if __name__ == "__main__":
    main()
