"""The lines of any text file, one at a time: plain or gzip, with or without a byte order mark, in whatever encoding."""

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from tasks.core.chat_rows import Problem
from tasks.core.errors import DataError

MAX_LINE_BYTES = 64 * 2**20
_GZIP = b"\x1f\x8b"
_UTF8_MARK = b"\xef\xbb\xbf"
# UTF-32 first: its mark begins like that of UTF-16.
_WIDE = {
    b"\xff\xfe\x00\x00": "utf-32",
    b"\x00\x00\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}


class Line(NamedTuple):
    """A line without its end, decoded as well as can be, and what is wrong with its bytes."""

    number: int
    text: str
    problems: tuple[Problem, ...]
    is_whole: bool = True


def read_lines(path: Path) -> Iterator[Line]:
    """Yield the lines of a file, never more than one of them in memory.

    Raises:
        DataError: The file cannot be read.
    """
    number = 0
    try:
        with ExitStack() as stack:
            file, problems = _opened(path, stack)
            for number, (content, whole) in enumerate(_pieces(file), start=1):
                yield _decoded(number, content, whole, problems if number == 1 else [])
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        text = f"the gzip file is damaged: {error}"
        yield Line(number + 1, "", (Problem("gzip-damaged", "", text, "compress it again from the original"),), False)
    except OSError as error:
        raise DataError(f"Cannot read {str(path)!r}: {error.strerror or error}.") from error


def _opened(path: Path, stack: ExitStack) -> tuple[io.BufferedIOBase, list[Problem]]:
    """Return the file as a stream of bytes that are UTF-8 if all is well, and what is wrong with the whole file."""
    raw: io.BufferedReader | gzip.GzipFile = stack.enter_context(path.open("rb"))
    problems: list[Problem] = []
    if _beginning(raw).startswith(_GZIP):
        raw = stack.enter_context(gzip.GzipFile(fileobj=raw))
        text = "the file is compressed"
        problems.append(Problem("gzip", "", text, "upload it uncompressed; providers take no gzip", "warning"))
    start = _beginning(raw)
    if start.startswith(_UTF8_MARK):
        raw.seek(len(_UTF8_MARK))
        text = "the file begins with a byte order mark"
        problems.append(Problem("byte-order-mark", "", text, "save it as UTF-8 without one"))
    for mark, encoding in _WIDE.items():
        if start.startswith(mark):
            problems.append(Problem("not-utf-8", "", f"the file is {encoding.upper()}", "save it as UTF-8"))
            return _Narrowed(io.TextIOWrapper(raw, encoding, errors="replace", newline="\n")), problems
    return raw, problems


def _beginning(file: io.BufferedIOBase) -> bytes:
    start = file.read(4)
    file.seek(0)
    return start


class _Narrowed(io.BytesIO):
    """The lines of a file in a wide encoding, as UTF-8."""

    def __init__(self, text: io.TextIOWrapper) -> None:
        super().__init__()
        self._text = text

    def readline(self, size: int | None = -1, /) -> bytes:
        return self._text.readline(-1 if size is None else size).encode()


def _pieces(file: io.BufferedIOBase) -> Iterator[tuple[bytes, bool]]:
    """Yield the lines and whether each is whole; of one that is too long only the beginning is kept."""
    while content := file.readline(MAX_LINE_BYTES):
        rest = content
        while not rest.endswith(b"\n") and len(rest) == MAX_LINE_BYTES:
            rest = file.readline(MAX_LINE_BYTES)
        yield content.rstrip(b"\r\n"), rest is content


def _decoded(number: int, content: bytes, whole: bool, problems: list[Problem]) -> Line:
    if not whole:
        text = f"the line is longer than {MAX_LINE_BYTES // 2**20} MiB"
        fault = Problem("line-too-long", "", text, "split the conversation, or remove it")
        return Line(number, "", (*problems, fault), is_whole=False)
    try:
        return Line(number, content.decode(), tuple(problems))
    except UnicodeDecodeError as error:
        guess = content.decode("cp1252", errors="replace")
        what = f"byte {error.start + 1} of the line, 0x{content[error.start]:02x}, is not UTF-8"
        remedy = f"save the file as UTF-8; read as Windows-1252 it is {guess[error.start]!r}"
        return Line(number, guess, (*problems, Problem("not-utf-8", "", what, remedy)))
