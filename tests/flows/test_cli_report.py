"""`zava report` and `zava cost`: stored runs told again, and compared where they can be."""

import json
from pathlib import Path

import pytest

from tasks.core.run import RunSummary
from tasks.report import write_report
from tests import cases
from tests.measured import a_measured_run, right
from tests.pages import Page
from tests.shell import settings, zava


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> list[RunSummary]:
    folder = tmp_path_factory.mktemp("measured")
    return [a_measured_run(folder / "r1"), a_measured_run(folder / "r2", tuned=right)]


@pytest.fixture
def runs(tmp_path: Path, measured: list[RunSummary]) -> list[RunSummary]:
    """Return two runs that lie in a workspace: the second is right everywhere."""
    stored = []
    for name, run in zip(("ab1", "ab2"), measured, strict=True):
        tracked = run.tracked.model_copy(update={"run_id": name})
        stored.append(run.model_copy(update={"tracked": tracked}))
        write_report(stored[-1], tmp_path / "workspace" / "runs" / name)
    return stored


def test_a_report_is_made_again_from_the_stored_run_with_its_gate(tmp_path: Path, runs: list[RunSummary]) -> None:
    folder = tmp_path / "workspace" / "runs" / "ab1"
    (folder / "report.html").unlink()
    bundle = cases.a_refusal(tmp_path, "by bob").model_dump_json()
    (folder / "promotion").mkdir()
    (folder / "promotion" / "20261118T110600.000000Z-refused.json").write_text(bundle)
    code, out, err = zava("report", "ab1", *settings(tmp_path))
    assert (code, err) == (0, "")
    assert str(folder / "report.html") in out
    page = Page((folder / "report.html").read_text())
    assert "the gate refused it for not_rolled_back" in page.text
    assert page.row("tuned the-tuned; no price known")


def test_several_runs_are_compared_on_one_page(tmp_path: Path, runs: list[RunSummary]) -> None:
    code, out, _ = zava("report", "ab1", "ab2", "--json", "--output", str(tmp_path / "out"), *settings(tmp_path))
    made = json.loads(out)
    assert code == 0
    first, second = made["runs"]
    assert (first["against_first"], second["against_first"]["n"]) == (None, 16)
    assert second["against_first"]["difference"] == pytest.approx(1 / 16)
    page = Page((tmp_path / "out" / "comparison.html").read_text())
    assert page.row("text instead of call")[1:] == ["1", "0"]
    assert "| +6.2 points" in (tmp_path / "out" / "comparison.md").read_text()
    assert "ab2" in zava("report", "ab1", "ab2", *settings(tmp_path))[1]


def test_runs_on_different_decision_sets_are_refused_with_the_reason(tmp_path: Path, runs: list[RunSummary]) -> None:
    other = runs[1].model_copy(update={"decisions": runs[1].decisions.model_copy(update={"sha256": "0" * 64})})
    write_report(other, tmp_path / "workspace" / "runs" / "ab2")
    code, _, err = zava("report", "ab1", "ab2", *settings(tmp_path))
    assert code == 1
    assert "Runs 'ab1' and 'ab2' were measured on different decision sets" in err


def test_a_run_that_is_not_there_or_not_named_well_is_told_with_those_that_are(
    tmp_path: Path, runs: list[RunSummary]
) -> None:
    code, _, err = zava("report", "zz", *settings(tmp_path))
    assert (code, "No finished run 'zz'" in err, "ab1, ab2" in err) == (2, True, True)
    code, _, err = zava("cost", "ab", *settings(tmp_path))
    assert (code, "2 finished runs begin with 'ab'" in err) == (2, True)
    code, _, err = zava("cost", *settings(tmp_path / "empty"))
    assert (code, "`zava run` makes one" in err) == (2, True)


def test_costs_are_a_table_or_json(tmp_path: Path, runs: list[RunSummary]) -> None:
    code, out, _ = zava("cost", "ab1", "--json", *settings(tmp_path))
    made = json.loads(out)
    assert (code, made["run_id"], [arm["arm"] for arm in made["arms"]]) == (0, "ab1", ["base", "tuned", "teacher"])
    code, out, _ = zava("cost", str(tmp_path / "workspace" / "runs" / "ab1"), *settings(tmp_path))
    assert code == 0
    assert "teacher: a program of this project: it asks no model" in out
    assert max(map(len, out.splitlines()[:4])) <= 80
