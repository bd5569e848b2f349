"""The table of decisions in a real MLflow store: one row an item, with what was right and what the model did."""

from pathlib import Path

import pytest

from tasks import track, track_items
from tasks.clients import mlflow_client
from tasks.core.config import load_profile
from tasks.core.evaluation import DecisionSet
from tasks.core.run import PrefectRun
from tasks.evaluate import Decision
from tests.fake_provider import call
from tests.planted import measured, perfect
from tests.stores import a_store


@pytest.mark.anyio
async def test_every_decision_is_a_row_and_is_written_once(
    decision_set: DecisionSet, decisions: list[Decision], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile = load_profile("local", (f"tracking.mlflow_uri={a_store(tmp_path)}",))
    wrong = next(decision for decision in decisions if decision.meta.kind == "text")

    def planted(decision: Decision, gold: list[tuple[str, dict[str, object]]]) -> object:
        return call("list_products", {}) if decision == wrong else perfect(decision, gold)

    found = await measured(planted, decision_set, tmp_path)
    # Without a server the artifacts lie in the working folder.
    monkeypatch.chdir(tmp_path)
    run = track.open_run(profile, PrefectRun(run_id="p-1", name="retrain", address=""), {})
    arm = track.arm(profile.tracking, run, found.report, decision_set, [])
    for _ in range(2):
        track_items.table(profile.tracking, arm, decision_set, found.report)
    client = mlflow_client(profile.tracking)
    rows = client.load_table(run.experiment_id, track_items.TABLE, [arm.run_id])
    assert list(rows["item"]) == [decision.meta.item_id for decision in decisions]
    assert dict(rows["outcome"].value_counts()) == {"right": len(decisions) - 1, "extra_call": 1}
    [row] = rows[rows["outcome"] == "extra_call"].to_dict("records")
    assert (row["item"], row["score"]) == (wrong.meta.item_id, 0.0)
    assert "list_products" in row["answer"]
    assert {entry.dataset.digest for entry in client.get_run(arm.run_id).inputs.dataset_inputs} == {
        decision_set.sha256[:36]
    }


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
