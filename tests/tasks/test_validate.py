import gzip
import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks import lines
from tasks import validate as validation
from tasks.core.chat_rows import ToolCache, row_problems
from tasks.core.errors import DataError
from tasks.core.habits import Habits
from tasks.core.validation import FileReport, Limits
from tasks.validate import FIRST_OF_A_KIND, validate_file
from tasks.world import RetailWorld
from tests.broken_files import BROKEN, LINE, Broken, Row, call, good_row
from tests.core.test_gates import json_values, places
from tests.worlds import ROOT, shop_tools, small_shop, small_view


def checked(tmp_path: Path, content: bytes) -> FileReport:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content)
    return validate_file(path)


def changed(change: Callable[[Row], object]) -> bytes:
    row = good_row()
    change(row)
    return json.dumps(row).encode()


def test_the_corpus_has_at_least_sixty_files_of_different_names_and_contents() -> None:
    assert len(BROKEN) >= 60
    assert len({broken.name for broken in BROKEN}) == len({broken.content for broken in BROKEN}) == len(BROKEN)


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.name)
def test_each_broken_file_gets_the_right_error_at_the_right_place(tmp_path: Path, broken: Broken) -> None:
    report = checked(tmp_path, broken.content)
    error = next(found for found in report.findings if found.severity == "error")
    assert (error.code, error.line, error.path) == (broken.code, broken.line, broken.path)
    assert error.message
    assert error.remedy
    assert not report.is_good
    if broken.line == 2:
        assert (report.rows, report.good_rows) == (3, 2)
        assert all(found.line == 2 for found in report.findings if found.severity == "error")


@pytest.mark.parametrize(
    ("line", "remedy"),
    [
        (LINE + b",", "remove the comma at the end"),
        (LINE + LINE, "put each object on a line of its own"),
        (repr(good_row()).encode(), "this is a Python value; write it with json.dumps"),
        (LINE[:200], "the line is cut off; write the row again"),
        (b"[", "the file is one JSON document; write one object a line (JSONL)"),
        (b'{"a": tru}', "write the row with a JSON library"),
        (b'{"a": "\xe9"}', "save the file as UTF-8; read as Windows-1252 it is '\u00e9'"),
    ],
)
def test_the_remedy_fits_the_fault(tmp_path: Path, line: bytes, remedy: str) -> None:
    assert checked(tmp_path, line).findings[0].remedy == remedy


@pytest.mark.parametrize(
    "content",
    [
        LINE,
        b"\r\n".join([LINE, LINE, b""]),
        LINE.replace(b"sunny", "☀ \U0001f31e".encode()),
        changed(lambda r: r.update(tools=None)),
        changed(lambda r: r.pop("tools")),
        changed(lambda r: r.update(parallel_tool_calls=True)),
        changed(lambda r: r["tools"][0]["function"].pop("description")),
        changed(lambda r: r["messages"].pop(0)),
        changed(lambda r: r["messages"][0].update(role="developer")),
        changed(lambda r: r["messages"][5].update(weight=1)),
        changed(lambda r: r["messages"][1].update(name="ann", content=[{"type": "text", "text": "Hi"}])),
        changed(lambda r: r["messages"].__delitem__(slice(3, 6))),
        changed(lambda r: r.update(tools=[], messages=r["messages"][:2] + r["messages"][5:])),
        changed(lambda r: r["tools"][0]["function"]["parameters"]["properties"]["days"].update(maximum=2**70)),
    ],
)
def test_what_providers_take_is_no_error(tmp_path: Path, content: bytes) -> None:
    report = checked(tmp_path, content)
    assert report.errors == {}
    assert report.good_rows == report.rows


def test_a_gzipped_file_is_read_and_warned_of(tmp_path: Path) -> None:
    report = checked(tmp_path, gzip.compress(LINE * 1))
    assert (report.rows, report.errors, report.warnings["gzip"]) == (1, {}, 1)


@pytest.mark.parametrize(
    ("name", "rows", "warnings"),
    [
        # Cut from real conversations, and consistent in all values.
        ("published_curated", 26, {"all-end-in-calls"}),
        # Invented by a model: ids that nobody gave, and text beside text.
        ("published_generated", 28, {"value-never-seen", "same-role-twice", "all-end-in-calls"}),
    ],
)
def test_the_published_conversations_of_a_peer_have_no_false_error(name: str, rows: int, warnings: set[str]) -> None:
    report = validate_file(ROOT / "tests" / "data" / f"{name}.jsonl.gz")
    assert (report.rows, report.good_rows, report.errors) == (rows, rows, {})
    assert set(report.warnings) == {*warnings, "unused-tool", "gzip"}


def test_a_call_that_gives_another_result_in_the_shop_is_an_error_at_its_turn(tmp_path: Path) -> None:
    [user, *_] = small_view().users.values()
    row = good_row()
    row["messages"][1]["content"] = f"I am {user['email']}"
    [made, _] = row["messages"][2]["tool_calls"]
    made["function"] = {"name": "find_user_id_by_email", "arguments": json.dumps({"email": user["email"]})}
    row["messages"][2]["tool_calls"] = [made]
    row["messages"][3:5] = [{"role": "tool", "tool_call_id": "call_1", "content": user["user_id"]}]
    row["tools"] = shop_tools()
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(row) + "\n" + json.dumps(row).replace(f'"{user["user_id"]}"', '"mallory_1"'))
    report = validate_file(path, RetailWorld(small_shop()))
    assert report.errors == {"another-result": 1}
    [found] = [found for found in report.findings if found.severity == "error"]
    assert (found.line, found.path) == (2, "$.messages[2]")
    assert user["user_id"] in found.message
    assert validate_file(path).is_good


def test_a_line_of_ten_megabytes_is_read(tmp_path: Path) -> None:
    long = changed(lambda r: r["messages"][3].update(content="sunny " * 1_800_000))
    report = checked(tmp_path, LINE + b"\n" + long + b"\n" + LINE)
    assert (report.rows, report.errors) == (3, {})
    assert report.longest_row_tokens > 1_000_000
    over = [found for found in report.findings if found.code == "over-row-limit"]
    assert over[0].message.startswith("line 2 is about 1,8")


def warnings_of(tmp_path: Path, *rows: Row) -> dict[str, int]:
    report = checked(tmp_path, b"\n".join(json.dumps(row).encode() for row in rows * 10))
    assert report.errors == {}
    return {code: count for code, count in report.warnings.items() if code != "too-few-rows"}


def row_with(change: Callable[[Row], object]) -> Row:
    row = good_row()
    change(row)
    return row


TIME = {"type": "function", "function": {"name": "get_time"}}


@pytest.mark.parametrize(
    ("rows", "warning"),
    [
        ([row_with(lambda r: r["messages"].pop(0))], {"no-system-prompt": 10}),
        ([good_row(), row_with(lambda r: r["tools"][0]["function"].update(description="x"))], {"tools-differ": 10}),
        ([row_with(lambda r: r["tools"].append(TIME))], {"unused-tool": 1}),
        ([row_with(lambda r: r["messages"].__delitem__(slice(2, 5)))], {"no-calls": 1}),
        ([row_with(lambda r: r["messages"].__delitem__(slice(3, 6)))], {"all-end-in-calls": 1}),
        ([row_with(lambda r: r.pop("tools"))], {"calls-without-tools": 10}),
        ([row_with(lambda r: r["messages"][1].update(content="And in Rome?"))], {"value-never-seen": 10}),
        ([row_with(lambda r: r.update(id=1))], {"unknown-row-key": 10}),
        ([row_with(lambda r: r["messages"][1].update(mood="bad"))], {"unknown-message-key": 10}),
        ([row_with(lambda r: r["messages"].insert(1, r["messages"][1]))], {"same-role-twice": 10}),
        ([row_with(lambda r: r["messages"].insert(2, r["messages"][0]))], {"system-late": 10}),
        ([row_with(lambda r: r.update(tools=[], messages=r["messages"][:2] + r["messages"][5:]))], {"tools-empty": 10}),
        ([row_with(lambda r: r.update(functions=[]))], {"legacy-functions": 10}),
        ([row_with(lambda r: r["messages"][0].update(content=" "))], {"content-empty": 10}),
        ([good_row()], {}),
    ],
)
def test_a_habit_that_may_be_meant_is_a_warning(tmp_path: Path, rows: list[Row], warning: dict[str, int]) -> None:
    assert warnings_of(tmp_path, *rows) == warning


def test_blank_lines_and_too_few_rows_are_warnings(tmp_path: Path) -> None:
    report = checked(tmp_path, LINE + b"\n\n" + LINE)
    assert (report.rows, report.good_rows, report.errors) == (2, 2, {})
    assert report.warnings == {"blank-line": 1, "too-few-rows": 2}
    assert [found.line for found in report.findings if found.code == "blank-line"] == [2]


def test_a_file_over_the_limit_of_a_provider_is_a_warning_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(validation, "PROVIDER_LIMITS", (Limits("Tiny", 10, 65_536, 1), Limits("Large", 10**9, 10, 1)))
    [over_file, over_row] = checked(tmp_path, LINE).findings
    assert (over_file.code, over_row.code) == ("over-file-limit", "over-row-limit")
    assert "Tiny takes 0 MB" in over_file.message
    assert "Large takes 10" in over_row.message


def test_a_line_too_long_to_be_held_is_an_error_and_the_next_one_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "MAX_LINE_BYTES", 2 * len(LINE))
    long = changed(lambda r: r["messages"][3].update(content="sunny " * 10_000))
    report = checked(tmp_path, LINE + b"\n" + long + b"\n" + LINE)
    assert (report.rows, report.good_rows, report.errors) == (3, 2, {"line-too-long": 1})
    assert [found.line for found in report.findings if found.severity == "error"] == [2]


def test_an_argument_that_the_tool_does_not_list_is_a_warning(tmp_path: Path) -> None:
    arguments = '{"city": "Paris", "wind": true}'
    row = row_with(lambda r: r["messages"][2]["tool_calls"].__setitem__(0, call("call_1", arguments)))
    assert warnings_of(tmp_path, row) == {"arguments-schema": 10}


def test_an_invented_value_is_shown_with_its_path(tmp_path: Path) -> None:
    row = row_with(lambda r: r["messages"][1].update(content="And in Rome?"))
    [found] = [f for f in checked(tmp_path, json.dumps(row).encode()).findings if f.code == "value-never-seen"]
    assert found.path == "$.messages[2].tool_calls[0].function.arguments"
    assert found.message == "get_weather city 'Paris' was not said before, by the customer, a tool or the prompt"


def test_of_many_findings_of_a_kind_the_first_are_shown_and_all_are_counted(tmp_path: Path) -> None:
    report = checked(tmp_path, b"{\n" * (FIRST_OF_A_KIND + 30))
    assert report.errors == {"json": FIRST_OF_A_KIND + 30}
    assert [found.line for found in report.findings if found.code == "json"] == list(range(1, FIRST_OF_A_KIND + 1))


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    def peak(rows: int) -> int:
        tracemalloc.start()
        checked(tmp_path, (LINE + b"\n") * rows)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most - rows * (len(LINE) + 1)  # the content itself is made here

    peak(10)
    assert peak(1000) < peak(100) + 100_000


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Cannot read .*nowhere\.jsonl': No such file"):
        validate_file(tmp_path / "nowhere.jsonl")


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_whatever_is_put_into_a_row_is_judged_and_a_good_row_can_be_read_as_a_whole(data: st.DataObject) -> None:
    row = good_row()
    *parents, last = data.draw(st.sampled_from(places(row)))
    target: Any = row
    for key in parents:
        target = target[key]
    target[last] = data.draw(json_values)
    cache = ToolCache()
    problems = list(row_problems(row, cache))
    assert all(problem.path.startswith("$") and problem.message and problem.remedy for problem in problems)
    if not any(problem.severity == "error" for problem in problems):
        assert row["messages"][-1]["role"] == "assistant"
        list(Habits().take(1, row, cache.read(row.get("tools"))[0]))
