"""Validation of any dataset file, line by line: what is wrong, in which line, without holding the file in memory."""

import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

from tasks.core.conversation import GateVerdict
from tasks.core.dataset import FileReport, LineFault
from tasks.core.errors import DataError
from tasks.core.gates import ROW_GATES, ToolShelf, kind_of

MAX_LINE_BYTES = 4 * 2**20
MAX_FAULTS = 50  # reported one by one; the counts go on
_BOMS = {
    b"\xef\xbb\xbf": "begins with a UTF-8 byte order mark; save the file without it",
    b"\xff\xfe": "is UTF-16, not UTF-8",
    b"\xfe\xff": "is UTF-16, not UTF-8",
}


class _Line(NamedTuple):
    number: int
    content: bytes
    too_long: bool


def validate_file(path: Path, gates: Sequence[str] = tuple(ROW_GATES)) -> FileReport:
    """Pass each line of a JSONL dataset through the gates that need no shop.

    Raises:
        DataError: The file cannot be read, or holds no line.
    """
    started = time.monotonic()
    shelf, counts, faults = ToolShelf(), Counter[str](), list[LineFault]()
    rows = passed = 0
    try:
        with path.open("rb") as file:
            for line in _lines(file):
                rows += 1
                verdict = _verdict(line, gates, shelf)
                if verdict is None:
                    passed += 1
                    continue
                counts[kind_of(verdict)] += 1
                if len(faults) < MAX_FAULTS:
                    faults.append(
                        LineFault(line=line.number, gate=verdict.gate, reason=verdict.reason, turn=verdict.turn)
                    )
    except OSError as error:
        raise DataError(f"Cannot read {str(path)!r}: {error.strerror or error}.") from error
    if not rows:
        raise DataError(f"{str(path)!r} is empty; a dataset has one JSON object a line.")
    return FileReport(
        path=str(path),
        rows=rows,
        passed=passed,
        counts=dict(counts.most_common()),
        faults=tuple(faults),
        seconds=time.monotonic() - started,
    )


def _lines(file: IO[bytes]) -> Iterator[_Line]:
    """Yield the lines; of one that is too long only the beginning, and the rest is passed over in pieces."""
    number = 0
    while content := file.readline(MAX_LINE_BYTES + 1):
        number += 1
        too_long = len(content) > MAX_LINE_BYTES and not content.endswith(b"\n")
        rest = content
        while too_long and rest and not rest.endswith(b"\n"):
            rest = file.readline(MAX_LINE_BYTES)
        yield _Line(number, content.rstrip(b"\r\n"), too_long)


def _verdict(line: _Line, gates: Sequence[str], shelf: ToolShelf) -> GateVerdict | None:
    """Return the first verdict against a line, or None where it passes."""
    try:
        row = _read(line)
    except ValueError as error:
        return GateVerdict(gate="line", passed=False, reason=str(error))
    for gate in gates:
        verdict = ROW_GATES[gate](row, shelf)
        if not verdict.passed:
            return verdict
    return None


def _read(line: _Line) -> dict[str, Any]:
    """Return the object of a line, or raise ValueError that says what the line is instead."""
    text = _text(line)
    if not text.strip():
        raise ValueError("empty line")
    try:
        row = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg} at character {error.pos + 1}") from None
    except RecursionError:
        raise ValueError("not JSON that can be read: nested too deeply") from None
    if not isinstance(row, dict):
        raise ValueError(f"not a JSON object but {type(row).__name__}")
    return row


def _text(line: _Line) -> str:
    if line.too_long:
        raise ValueError(f"too long: over {MAX_LINE_BYTES} bytes")
    for bom, meaning in _BOMS.items():
        if line.number == 1 and line.content.startswith(bom):
            raise ValueError(meaning)
    try:
        return line.content.decode()
    except UnicodeDecodeError as error:
        raise ValueError(
            f"not UTF-8: byte {error.start + 1} of the line is 0x{line.content[error.start]:02x}"
        ) from None
