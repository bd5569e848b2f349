"""The code blocks of a page and what the comment before each says of it.

<!-- run -->                      the commands (or the Python) are run, and must end with status 0
<!-- run, ends with 1 -->         ... or with this status
<!-- run, ends with 0 or 1 -->    ... where a small setting may come to another verdict
<!-- run, typing: a | b -->       with these lines on standard input
<!-- output -->                   what the block before printed; `...` stands for anything
<!-- file: PATH -->               the reader writes this file
<!-- not run: REASON -->          only its commands and options are checked
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from markdown_it import MarkdownIt

COMMENT = re.compile(r"<!--\s*(.*?)\s*-->", re.DOTALL)


class Block(NamedTuple):
    """A fenced block: where it is, in which language, and its mark, empty where there is none."""

    page: str
    line: int
    language: str
    mark: str
    text: str

    @property
    def is_run(self) -> bool:
        return re.match(r"run\b", self.mark) is not None

    @property
    def statuses(self) -> set[int]:
        """The exit statuses that are right."""
        found = re.search(r"ends with ([\d or]+)", self.mark)
        return {int(one) for one in re.findall(r"\d+", found[1])} if found else {0}

    @property
    def typed(self) -> str:
        """What is put in on standard input."""
        _, typing, lines = self.mark.partition("typing:")
        return "".join(f"{line.strip()}\n" for line in lines.split(" | ")) if typing else ""


def blocks(page: Path) -> Iterator[Block]:
    """Yield the fenced blocks of a page in their order."""
    mark = ""
    for token in MarkdownIt().parse(page.read_text(encoding="utf-8")):
        comment = COMMENT.fullmatch(token.content.strip()) if token.type == "html_block" else None
        if token.type == "fence":
            yield Block(page.name, (token.map or [0])[0] + 1, token.info.strip(), mark, token.content)
        mark = comment[1] if comment else ""
