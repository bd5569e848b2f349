"""The check of fine-tuning files holds on any bytes."""

import contextlib
import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.model_server.dataset_validation import count_rows, read_rows
from infra.model_server.errors import DatasetError
from tests.infra.model_server import tiny

# Other work on the machine must not fail a test that is about values.
PATIENT = settings(deadline=None)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "tool", "system", "x"])},
    optional={"content": JSON, "tool_calls": JSON, "tool_call_id": JSON, "weight": JSON},
)
ROW = st.fixed_dictionaries({"messages": st.lists(MESSAGE | JSON, max_size=4)}, optional={"tools": JSON})


def rows_of(content: bytes) -> int:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file.jsonl"
        path.write_bytes(content)
        count = count_rows(path, max_line_bytes=10_000, max_rows=100)
        assert len(list(read_rows(path))) == count
        return count


def outcome_of(content: bytes) -> int | str:
    """Return the rows of a file, or what is wrong with it."""
    with contextlib.suppress(DatasetError):
        return rows_of(content)
    with pytest.raises(DatasetError, match=r"^(Line \d+ |The file has no rows)") as error:
        rows_of(content)
    return str(error.value)


@PATIENT
@given(st.binary(max_size=300))
def test_any_bytes_are_rows_or_a_named_error(content: bytes) -> None:
    assert isinstance(outcome_of(content), int | str)


@PATIENT
@given(st.lists(ROW | JSON, max_size=4))
def test_any_json_is_rows_or_a_named_error(rows: list[object]) -> None:
    content = "\n".join(json.dumps(row) for row in rows).encode()
    outcome = outcome_of(content)
    assert isinstance(outcome, str) or outcome == len(rows)


@PATIENT
@given(st.integers(1, 50), st.data())
def test_the_line_that_was_broken_is_the_one_named(count: int, data: st.DataObject) -> None:
    lines = tiny.jsonl(count).splitlines(keepends=True)
    broken = data.draw(st.integers(0, count - 1))
    lines[broken] = data.draw(st.sampled_from([b"{\n", b"[]\n", b"\xc3\x28\n", b'{"messages": 1}\n', b"1e999x\n"]))
    with pytest.raises(DatasetError, match=rf"^Line {broken + 1} "):
        rows_of(b"".join(lines))


@PATIENT
@given(st.integers(1, 50))
def test_valid_rows_are_counted_and_blank_lines_are_not(count: int) -> None:
    assert rows_of(tiny.jsonl(count).replace(b"\n", b"\n\n")) == count


def test_more_rows_than_allowed_are_refused() -> None:
    with pytest.raises(DatasetError, match="Line 101 is more than the 100 rows allowed"):
        rows_of(tiny.jsonl(101))
