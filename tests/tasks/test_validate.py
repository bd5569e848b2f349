import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from tasks.core.errors import DataError
from tasks.validate import MAX_FAULTS, MAX_LINE_BYTES, validate_file
from tests.core.test_gates import a_row


def line(**changes: Any) -> bytes:
    return json.dumps({**a_row(), **changes}).encode()


def written(tmp_path: Path, *lines: bytes, end: bytes = b"\n") -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(end.join(lines) + end)
    return path


def test_a_sound_file_passes(tmp_path: Path) -> None:
    report = validate_file(written(tmp_path, line(), line()))
    assert (report.rows, report.passed, report.counts, report.faults) == (2, 2, {}, ())


def test_windows_line_ends_and_a_last_line_without_one_are_no_fault(tmp_path: Path) -> None:
    assert validate_file(written(tmp_path, line(), line(), end=b"\r\n")).passed == 2
    path = tmp_path / "open.jsonl"
    path.write_bytes(line())
    assert validate_file(path).passed == 1


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (b"{", "not JSON: Expecting property name"),
        (b"[1]", "not a JSON object but list"),
        (b"", "empty line"),
        (b'{"a": "\xff"}', "not UTF-8: byte 8 of the line is 0xff"),
        (b"[" * 100_000, "not JSON that can be read: nested too deeply"),
        (b'{"a":' + b"9" * 5000 + b"}", "Exceeds the limit"),
        (b'"' + b"x" * (10 * 2**20) + b'"', f"too long: over {MAX_LINE_BYTES} bytes"),
        (line(tools=[]), "messages must be a list and tools a list that is not empty"),
    ],
)
def test_a_broken_line_is_named_and_the_lines_around_it_are_still_judged(
    tmp_path: Path, broken: bytes, reason: str
) -> None:
    report = validate_file(written(tmp_path, line(), broken, line()))
    assert (report.rows, report.passed) == (3, 2)
    [fault] = report.faults
    assert fault.line == 2
    assert reason in fault.reason


@pytest.mark.parametrize(
    ("encode", "reason"),
    [
        (lambda text: text.encode("utf-8-sig"), "begins with a UTF-8 byte order mark"),
        (lambda text: text.encode("utf-16"), "is UTF-16, not UTF-8"),
    ],
)
def test_a_file_in_another_encoding_is_named(tmp_path: Path, encode: Any, reason: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(encode(line().decode() + "\n"))
    assert reason in validate_file(path).faults[0].reason


def test_faults_name_gate_and_turn_and_are_counted_beyond_those_that_are_listed(tmp_path: Path) -> None:
    row = a_row()
    row["messages"][2]["tool_calls"][0]["function"]["arguments"] = '{"order_id":"#W7654321"}'
    report = validate_file(written(tmp_path, *[json.dumps(row).encode()] * (MAX_FAULTS + 5)))
    assert report.counts == {"provenance: invented argument": MAX_FAULTS + 5}
    assert len(report.faults) == MAX_FAULTS
    assert (report.faults[0].gate, report.faults[0].turn) == ("provenance", 2)


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    def peak(rows: int) -> int:
        path = written(tmp_path, *[line()] * rows)
        tracemalloc.start()
        validate_file(path)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(10)
    assert peak(1500) < peak(150) + 100_000


def test_a_missing_or_empty_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.jsonl"):
        validate_file(tmp_path / "nowhere.jsonl")
    (tmp_path / "empty.jsonl").write_bytes(b"")
    with pytest.raises(DataError, match="is empty"):
        validate_file(tmp_path / "empty.jsonl")
