"""The decisions that a report shows: the same few of each kind, and a reason where there are none."""

from pathlib import Path

import pytest

from tasks import close_ups
from tasks.core.run import RunSummary
from tests.measured import a_measured_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunSummary:
    return a_measured_run(tmp_path_factory.mktemp("run"))


def failures(run: RunSummary) -> close_ups.Failures:
    return close_ups.failures_of(run.comparison, run.decisions)


def test_of_each_kind_the_first_few_are_shown_those_of_the_tuned_model_first(run: RunSummary) -> None:
    found = failures(run)
    assert {kind: [case.item_id for case in cases] for kind, cases in found.of_kind.items()} == {
        "invented_id": ["c0-t1", "c1-t1", "c2-t1", "c3-t1"],
        "text_instead_of_call": ["c3-t0"],
    }
    assert found.missing == ""
    assert failures(run) == found


def test_both_models_stand_beside_the_right_move(run: RunSummary) -> None:
    [case] = failures(run).of_kind["text_instead_of_call"]
    assert [(move.who, move.outcome) for move in case.moves] == [
        ("right", ""),
        ("base", "right"),
        ("tuned", "text_instead_of_call"),
    ]
    assert case.moves[2].text == "What is your <b>email</b>?"


@pytest.mark.parametrize("name", ["items.jsonl", "items.meta.jsonl"])
def test_a_run_whose_decisions_are_gone_or_others_now_says_so(name: str, tmp_path: Path) -> None:
    run = a_measured_run(tmp_path)
    path = tmp_path / "set" / name
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[1], lines[0], *lines[2:]]) + "\n")
    assert failures(run).of_kind == {}
    assert failures(run).missing
    path.unlink()
    assert failures(run).missing == f"Cannot read {str(path)!r}: No such file or directory."
