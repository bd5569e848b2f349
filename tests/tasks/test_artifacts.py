"""A dataset on disk is used again only while it is whole."""

from pathlib import Path

import pytest

from tasks.artifacts import Dataset, Workspace, read_dataset, write_dataset
from tasks.core.config import load_profile
from tests import runs


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    made = Dataset(split=runs.a_split(tmp_path), decisions=runs.a_decision_set(tmp_path))
    write_dataset(tmp_path, made)
    return made


def test_a_whole_dataset_is_found(dataset: Dataset, tmp_path: Path) -> None:
    assert read_dataset(tmp_path) == dataset


@pytest.mark.parametrize("damage", ["change", "remove", "remove-meta", "cut-record"])
def test_a_damaged_dataset_is_made_anew(dataset: Dataset, tmp_path: Path, damage: str) -> None:
    rows = Path(dataset.split.train.path)
    if damage == "change":
        rows.write_text("{}\n")
    elif damage == "remove":
        rows.unlink()
    elif damage == "remove-meta":
        Path(dataset.split.train.meta_path).unlink()
    else:
        record = tmp_path / "dataset.json"
        record.write_text(record.read_text()[:50])
    assert read_dataset(tmp_path) is None


def test_another_gate_or_another_shard_is_another_dataset() -> None:
    profile, workspace = load_profile("local"), Workspace(Path("w"))
    fewer = load_profile("local", ("validation.gates=[format]",))
    one = workspace.dataset_folder(profile, [Path("a.jsonl")])
    assert one == workspace.dataset_folder(profile, [Path("elsewhere/a.jsonl")])
    assert one != workspace.dataset_folder(profile, [Path("b.jsonl")])
    assert one != workspace.dataset_folder(fewer, [Path("a.jsonl")])


def test_answers_of_a_base_model_that_was_made_anew_are_not_mixed_with_the_old_ones(tmp_path: Path) -> None:
    workspace, decisions = Workspace(tmp_path), runs.a_decision_set(tmp_path)
    assert workspace.evaluation_folder(decisions, "m", "1") != workspace.evaluation_folder(decisions, "m", "2")
