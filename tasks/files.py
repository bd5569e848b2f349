"""Files that are whole or absent, and JSON lines that are named when broken."""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypeVar

import yaml
from pydantic import TypeAdapter, ValidationError

from tasks.core.errors import ConfigError, DataError
from tasks.core.record import Record

R = TypeVar("R", bound=Record)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that a reader, or a crash, never sees half of it; folders are made.

    Raises:
        DataError: The folder or the file cannot be written.
    """
    with written_atomically(path) as file:
        file.write(content)


@contextmanager
def written_atomically(path: Path) -> Iterator[IO[bytes]]:
    """Open a file to write that appears under its name when the block ends well, and not at all otherwise.

    Raises:
        DataError: The folder or the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        finally:
            Path(name).unlink(missing_ok=True)
    except OSError as error:
        raise DataError(f"Cannot write {str(path)!r}: {error.strerror or error}.") from error


def read_bytes(path: Path) -> bytes:
    """Return a file's bytes.

    Raises:
        DataError: It cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"Cannot read {str(path)!r}: {error.strerror or error}.") from error


def read_text(path: Path) -> str:
    """Return a file's text.

    Raises:
        DataError: It cannot be read, or is not UTF-8.
    """
    try:
        return read_bytes(path).decode()
    except UnicodeDecodeError as error:
        raise DataError(f"{str(path)!r} is no text in UTF-8: {error.reason} at byte {error.start}.") from error


def read_records(path: Path, kind: type[R]) -> list[R]:
    """Return the records of a data file in YAML; none where there is no such file.

    Raises:
        ConfigError: The file is broken.
    """
    try:
        return TypeAdapter(list[kind]).validate_python(yaml.safe_load(path.read_text(encoding="utf-8")))  # type: ignore[valid-type]
    except FileNotFoundError:
        return []
    except (ValidationError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"Cannot read {str(path)!r}: {error}") from error


def parse_json_lines(content: bytes, path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the number and the object of each JSON line.

    Raises:
        DataError: A line is not a JSON object; the message names file and line.
    """
    for number, line in enumerate(content.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except ValueError as error:
            raise DataError(f"{path}, line {number} is not JSON: {error}.") from error
        if not isinstance(value, dict):
            raise DataError(f"{path}, line {number} is not a JSON object but {type(value).__name__}.")
        yield number, value
