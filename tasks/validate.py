"""Validation of anybody's chat fine-tuning file, line by line: what is wrong, where, and how to mend it."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import orjson

from tasks.core.chat_rows import Problem, ToolCache, row_problems
from tasks.core.conversation import Message
from tasks.core.habits import Habits
from tasks.core.provenance import text_of
from tasks.core.validation import PROVIDER_LIMITS, FileReport, Finding
from tasks.execution import differing_result
from tasks.lines import Line, read_lines
from tasks.progress import StageProgress, stage
from tasks.world import World

LINES_A_STEP = 500  # between two words on how far it is
FIRST_OF_A_KIND = 20  # findings of one kind that are told one by one; the counts go on


def validate_file(path: Path, world: World | None = None) -> FileReport:
    """Check a JSONL file of chat rows in constant memory; with a world, its calls are made there again.

    Raises:
        DataError: The file cannot be read.
        ServiceError: The world does not start or answer.
    """
    check = _FileCheck(path)
    with stage("validation") as progress:
        lines = _counted(path, progress)
        if world is None:
            for line in lines:
                check.take(line)
        else:
            asyncio.run(_replay(check, lines, world))
    return check.report()


def _counted(path: Path, progress: StageProgress) -> Iterator[Line]:
    """Yield the lines of a file; of one that is not packed, its size tells about how many there are."""
    seen = 0
    for line in read_lines(path):
        yield line
        seen += len(line.text) + 1
        if line.number % LINES_A_STEP == 0:
            size = 0 if path.suffix == ".gz" else path.stat().st_size
            about = max(line.number, round(line.number * size / seen)) if size else None
            progress.step(line.number, about, path.name)


async def _replay(check: "_FileCheck", lines: Iterator[Line], world: World) -> None:
    async with world.sandbox() as sandbox:
        for line in lines:
            row = check.take(line)
            if row is None:
                continue
            if differing := await differing_result([_played(message) for message in row["messages"]], sandbox):
                turn, text = differing
                remedy = "play the conversation again, or remove it"
                check.add(line.number, Problem("another-result", f"$.messages[{turn}]", text, remedy))


def _played(message: dict[str, Any]) -> Message:
    """Return what a replay needs of a message: calls and results."""
    if message["role"] not in {"assistant", "tool"}:
        return Message(role="user")
    return Message.from_openai({**message, "content": text_of(message.get("content"))})


class _FileCheck:
    """Takes line after line and keeps only counts and the first findings of each kind."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._started = time.monotonic()
        self._rows = self._good = 0
        self._counts: Counter[tuple[str, str]] = Counter()
        self._findings: list[Finding] = []
        self._tools = ToolCache()
        self._habits = Habits()

    def take(self, line: Line) -> dict[str, Any] | None:
        """Check a line and return its row where nothing is wrong with it."""
        problems = list(line.problems)
        row: Any = None
        if not line.is_whole:
            self._rows += 1
        elif not line.text.strip():
            problems.append(Problem("blank-line", "", "the line is blank", "remove it", "warning"))
        else:
            self._rows += 1
            row, broken = _parsed(line.text)
            problems += broken or self._problems_of(row)
        for problem in problems:
            self.add(line.number, problem)
        if row is None or any(problem.severity == "error" for problem in problems):
            return None
        for problem in self._habits.take(line.number, row, self._tools.read(row.get("tools"))[0]):
            self.add(line.number, problem)
        self._good += 1
        good: dict[str, Any] = row
        return good

    def _problems_of(self, row: Any) -> list[Problem]:
        try:
            return list(row_problems(row, self._tools))
        except RecursionError:
            return [_TOO_DEEP]

    def add(self, line: int, problem: Problem) -> None:
        """Count a problem, and keep it where it is among the first of its kind."""
        kind = (problem.severity, problem.code)
        self._counts[kind] += 1
        if self._counts[kind] <= FIRST_OF_A_KIND:
            self._findings.append(
                Finding(
                    severity=problem.severity,
                    code=problem.code,
                    file=str(self._path),
                    line=line,
                    path=problem.path,
                    message=problem.message,
                    remedy=problem.remedy,
                )
            )

    def report(self) -> FileReport:
        """Judge the file as a whole and return all that was found."""
        size = self._path.stat().st_size
        if not self._rows:
            self.add(0, Problem("empty", "", "the file holds no row", "write one JSON object a line"))
        for problem in (*self._habits.whole_file(), *self._over_limits(size)):
            self.add(0, problem)
        return FileReport(
            file=str(self._path),
            bytes=size,
            rows=self._rows,
            good_rows=self._good,
            tokens=self._habits.tokens,
            longest_row_tokens=self._habits.longest,
            errors=self._of("error"),
            warnings=self._of("warning"),
            findings=tuple(sorted(self._findings, key=lambda found: (found.severity, found.line))),
            seconds=time.monotonic() - self._started,
        )

    def _of(self, severity: str) -> dict[str, int]:
        return {code: count for (kind, code), count in self._counts.most_common() if kind == severity}

    def _over_limits(self, size: int) -> Iterator[Problem]:
        for limit in PROVIDER_LIMITS:
            name, longest, line = limit.provider, self._habits.longest, self._habits.longest_line
            if size > limit.file_bytes:
                text = f"the file is {size / 1e6:,.0f} MB; {name} takes {limit.file_bytes / 1e6:,.0f} MB"
                yield Problem("over-file-limit", "", text, "split it, or leave conversations out", "warning")
            if longest > limit.row_tokens:
                text = f"line {line} is about {longest:,} tokens; {name} takes {limit.row_tokens:,}"
                yield Problem("over-row-limit", "", text, "what is longer is cut off; shorten it", "warning")
            if self._good < limit.fewest_rows:
                text = f"{self._good} good rows; {name} wants {limit.fewest_rows} at least"
                yield Problem("too-few-rows", "", text, "add rows", "warning")


def _parsed(text: str) -> tuple[Any, list[Problem]]:
    """Return the value of a line, or what is wrong with it as JSON."""
    try:
        return orjson.loads(text), []
    except orjson.JSONDecodeError:
        return _parsed_slowly(text)


def _parsed_slowly(text: str) -> tuple[Any, list[Problem]]:
    """Read a line with the standard library, which takes more, such as long numbers, and says where it stops."""
    try:
        value = _DECODER.decode(text)
        json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        return None, [_syntax_problem(text, error)]
    except UnicodeEncodeError:
        what = "the line holds half of a surrogate pair, which is no character"
        return None, [Problem("surrogate", "", what, "write the character itself")]
    except RecursionError:
        return None, [_TOO_DEEP]
    except ValueError as error:
        return None, [Problem("json", "", f"not JSON: {error}", "write the values as JSON has them")]
    return value, []


def _syntax_problem(text: str, error: json.JSONDecodeError) -> Problem:
    where = f"not JSON: {error.msg} at character {error.pos + 1}"
    rest = text[error.pos :].lstrip()
    if text.strip() in {"[", "{"} or (text.lstrip().startswith("[") and error.pos >= len(text.rstrip())):
        remedy = "the file is one JSON document; write one object a line (JSONL)"
    elif error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated"):
        remedy = "the line is cut off; write the row again"
    elif error.msg == "Extra data":
        remedy = "remove the comma at the end" if rest.startswith(",") else "put each object on a line of its own"
    elif text.lstrip().startswith(("{'", "['")):
        remedy = "this is a Python value; write it with json.dumps"
    else:
        remedy = "write the row with a JSON library"
    return Problem("json", "", where, remedy)


_TOO_DEEP = Problem("too-deep", "", "the JSON is nested too deeply to be read", "remove the row")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")


_DECODER = json.JSONDecoder(parse_constant=_no_constant)
