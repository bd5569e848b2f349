"""Files on disk: whole or absent, and named when broken."""

from pathlib import Path

import pytest

from tasks.core.errors import DataError
from tasks.files import parse_json_lines, read_bytes, write_atomically


def test_a_written_file_is_whole_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "report.json"
    write_atomically(path, b"one")
    write_atomically(path, b"two")
    assert path.read_bytes() == b"two"
    assert [entry.name for entry in path.parent.iterdir()] == ["report.json"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(DataError, match="Cannot write"):
        write_atomically(tmp_path / "file" / "report.json", b"x")
    with pytest.raises(DataError, match="Cannot read"):
        read_bytes(tmp_path / "nothing")


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    folder = tmp_path / "report.json"
    folder.mkdir()
    (folder / "inside").write_text("", encoding="utf-8")
    with pytest.raises(DataError, match="Cannot write"):
        write_atomically(folder, b"x")
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.json"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"a": 1}\n{oops\n', "line 2 is not JSON"),
        (b'{"a": 1}\n\n[1]\n', "line 3 is not a JSON object but list"),
        (b'\xff{"a": 1}\n', "line 1 is not JSON"),
    ],
)
def test_a_broken_line_is_named_by_file_and_number(content: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        list(parse_json_lines(content, tmp_path / "set.jsonl"))


def test_blank_lines_are_passed_over_and_numbers_count_them(tmp_path: Path) -> None:
    lines = list(parse_json_lines(b'{"a": 1}\n\n{"b": "\xc3\xa9\xe2\x80\xa8"}', tmp_path / "set.jsonl"))
    assert lines == [(1, {"a": 1}), (3, {"b": "\u00e9\u2028"})]
