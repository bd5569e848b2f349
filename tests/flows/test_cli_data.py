"""`zava synthesize` and `zava validate`: datasets made and datasets checked."""

import json
from pathlib import Path

from tests.shell import settings, zava


def test_a_dataset_is_made_and_its_file_is_valid(tmp_path: Path) -> None:
    small = settings(
        tmp_path,
        synthesis__train_conversations=4,
        synthesis__valid_conversations=2,
        synthesis__heldout_conversations=2,
        synthesis__max_requests=1,
    )
    code, out, _ = zava("synthesize", "--json", *small)
    assert code == 0
    rows = json.loads(out)["split"]["train"]["path"]
    code, out, _ = zava("synthesize", *small)
    assert (code, out.count("; distinct-1/2/3: 0.")) == (0, 2)
    code, out, _ = zava("validate", rows)
    assert (code, "4 of 4 rows are good" in out.splitlines()[-1]) == (0, True)
    code, out, _ = zava("validate", "--json", "--world", "local", rows)
    assert (code, json.loads(out)[0]["errors"]) == (0, {})


def test_a_broken_line_is_named_and_ends_with_one(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"messages": [\n')
    code, out, _ = zava("validate", str(path))
    assert code == 1
    assert out.startswith(f"error: {path}:1: not JSON: Expecting value at character 15 -> the line is cut off")


def test_a_file_that_cannot_be_read_ends_with_two(tmp_path: Path) -> None:
    assert zava("validate", str(tmp_path / "nowhere.jsonl"))[0] == 2
    (tmp_path / "folder.jsonl").mkdir()
    assert zava("validate", str(tmp_path / "folder.jsonl"))[0] == 2
