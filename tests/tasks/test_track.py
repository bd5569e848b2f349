"""Runs in a real MLflow store on SQLite."""

from pathlib import Path

import pytest

from tasks import track, track_model, track_steps
from tasks.clients import mlflow_client
from tasks.core.blueprint import Take, TeacherReport, Usage
from tasks.core.config import Profile, load_profile
from tasks.core.errors import ServiceError
from tasks.core.run import PrefectRun
from tasks.core.training import TrainingMetric
from tests import runs
from tests.stores import a_store

PREFECT = PrefectRun(run_id="p-1", name="retrain local", address="http://127.0.0.1:4200/runs/flow-run/p-1")


@pytest.fixture
def profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Profile:
    profile = load_profile("local", (f"tracking.mlflow_uri={a_store(tmp_path)}",))
    # Without a server the artifacts lie in the working folder.
    monkeypatch.chdir(tmp_path)
    return profile


def test_a_prefect_run_has_one_mlflow_run_with_its_profile(profile: Profile) -> None:
    first = track.open_run(profile, PREFECT, {"zava.git_commit": "abc"})
    assert track.open_run(profile, PREFECT, {}) == first
    other = track.open_run(profile, PREFECT.model_copy(update={"run_id": "p-2"}), {})
    assert other.run_id != first.run_id
    run = mlflow_client(profile.tracking).get_run(first.run_id)
    assert run.data.params["training.base_model"] == profile.training.base_model
    assert run.data.params["synthesis.intents.cancel"] == "2.0"
    assert run.data.tags["zava.prefect_url"] == PREFECT.address
    assert run.data.tags["zava.git_commit"] == "abc"
    assert run.info.run_name == "retrain local"


def test_datasets_are_inputs_under_their_own_digests(profile: Profile, tmp_path: Path) -> None:
    run = track.open_run(profile, PREFECT, {})
    split, decisions = runs.a_split(tmp_path), runs.a_decision_set(tmp_path)
    track.dataset(profile.tracking, run, split, decisions)
    track.dataset(profile.tracking, run, split, decisions)
    client = mlflow_client(profile.tracking)
    held = client.get_run(run.run_id)
    assert {entry.dataset.digest for entry in held.inputs.dataset_inputs} == {
        sha[:36] for sha in (split.train.sha256, split.valid.sha256, split.heldout.sha256, decisions.sha256)
    }
    assert held.data.metrics["dataset/rows_train"] == 3
    assert held.data.metrics["dataset/stopped_provenance"] == 2
    assert held.data.tags["zava.policy_sha256"] == split.policy_sha256
    names = {artifact.path for artifact in client.list_artifacts(run.run_id, "dataset")}
    assert {"dataset/train.jsonl", "dataset/train.meta.jsonl", "dataset/decisions.jsonl"} <= names
    assert len(client.get_metric_history(run.run_id, "dataset/rows_train")) == 1


def test_tables_are_recorded_once(profile: Profile, tmp_path: Path) -> None:
    run = track.open_run(profile, PREFECT, {})
    steps = list(runs.a_split(tmp_path).funnel.steps())
    for _ in range(2):
        track.tables(profile.tracking, run, {"funnel": steps, "coverage": []})
    client = mlflow_client(profile.tracking)
    assert [a.path for a in client.list_artifacts(run.run_id, "dataset")] == ["dataset/funnel_table.json"]
    recorded = client.load_table(run.experiment_id, "dataset/funnel_table.json", [run.run_id])
    assert list(recorded["gate"]) == ["format", "execution", "provenance"]
    assert list(recorded["passed"]) == [9, 9, 7]


def test_what_a_teacher_took_is_recorded_for_each_conversation_and_in_all(profile: Profile) -> None:
    run = track.open_run(profile, PREFECT, {})
    usage = [Usage(calls=3, prompt_tokens=200, completion_tokens=20, cost=0.5), Usage(calls=1, cost=0.25)]
    takes = [
        Take(id=f"c{n}", split="train", blueprint=None, conversation=None, passed=n == 0, blames=(), usage=used)
        for n, used in enumerate(usage)
    ]
    for _ in range(2):
        track.taught(profile.tracking, run, TeacherReport.of(takes))
    client = mlflow_client(profile.tracking)
    recorded = client.load_table(run.experiment_id, "dataset/teacher_usage_table.json", [run.run_id])
    assert list(zip(recorded["conversation"], recorded["passed"], recorded["cost"], strict=True)) == [
        ("c0", True, 0.5),
        ("c1", False, 0.25),
    ]
    metrics = client.get_run(run.run_id).data.metrics
    assert (metrics["teacher/calls"], metrics["teacher/prompt_tokens"], metrics["teacher/cost"]) == (4, 200, 0.75)


def test_steps_are_written_once_also_by_a_later_process(profile: Profile) -> None:
    run = track.open_run(profile, PREFECT, {})
    curve = runs.a_curve(30)
    track_steps.StepLog(profile.tracking, run)(curve[:20])
    again = track_steps.StepLog(profile.tracking, run)
    again(curve)
    again(curve[5:10])
    history = mlflow_client(profile.tracking).get_metric_history(run.run_id, "training/train_loss")
    assert [entry.step for entry in history] == list(range(1, 31))
    assert track_steps.curve(profile.tracking, run) == curve


def test_more_steps_than_one_call_takes_are_all_written(profile: Profile) -> None:
    run = track.open_run(profile, PREFECT, {})
    curve = tuple(TrainingMetric(step=step, train_loss=1.0) for step in range(2500))
    track_steps.StepLog(profile.tracking, run)(curve)
    assert len(track_steps.curve(profile.tracking, run)) == 2500


def test_arms_are_child_runs_with_the_same_names_and_their_intervals(profile: Profile, tmp_path: Path) -> None:
    run = track.open_run(profile, PREFECT, {})
    compared = runs.a_comparison(tmp_path)
    for report in (compared.base, compared.tuned, compared.tuned):
        track.arm(profile.tracking, run, report, runs.a_decision_set(tmp_path), [Path(report.scores_path)])
    track.comparison(profile.tracking, run, compared)
    client = mlflow_client(profile.tracking)
    children = client.search_runs([run.experiment_id], f"tags.`mlflow.parentRunId` = '{run.run_id}'")
    assert sorted(child.info.run_name for child in children) == ["base", "tuned"]
    assert set(children[0].data.metrics) == set(children[1].data.metrics)
    tuned = next(child for child in children if child.info.run_name == "tuned")
    assert tuned.data.metrics["next_tool_call_accuracy"] == 0.9
    assert tuned.data.metrics["interval/next_tool_call_accuracy_low"] == pytest.approx(0.85)
    assert [artifact.path for artifact in client.list_artifacts(tuned.info.run_id)] == ["tuned.scores.jsonl"]
    parent = client.get_run(run.run_id).data.metrics
    assert parent["gain/next_tool_call_accuracy"] == pytest.approx(0.6)


def test_the_model_points_to_its_job_and_metrics_and_is_made_once(profile: Profile, tmp_path: Path) -> None:
    run = track.open_run(profile, PREFECT, {})
    report = runs.a_report(tmp_path, "tuned", 0.9)
    track.job(profile.tracking, run, runs.a_job())
    model_id = track_model.model(profile.tracking, run, runs.a_job(), report.model_id)
    assert track_model.model(profile.tracking, run, runs.a_job(), report.model_id) == model_id
    for _ in range(2):
        track_model.measured(profile.tracking, run, report)
    assert track_model.logged(profile.tracking, run, report.model_id) == model_id
    assert track_model.logged(profile.tracking, run, "base") is None
    held = mlflow_client(profile.tracking).get_logged_model(model_id)
    assert held.source_run_id == run.run_id
    assert held.tags["zava.model_id"] == "ft:base:retail"
    assert held.params["job_id"] == "ftjob-1"
    [metric] = [metric for metric in held.metrics if metric.key == "next_tool_call_accuracy"]
    assert (metric.value, metric.dataset_name, metric.dataset_digest) == (0.9, "decisions.jsonl", "d" * 36)


def test_a_closed_run_has_its_status_and_last_tags(profile: Profile) -> None:
    run = track.open_run(profile, PREFECT, {})
    track.close_run(profile.tracking, run, status="FINISHED", tags={"zava.verdict": "better"})
    held = mlflow_client(profile.tracking).get_run(run.run_id)
    assert held.info.status == "FINISHED"
    assert held.data.tags["zava.verdict"] == "better"


def test_a_server_that_is_down_is_told_with_the_way_out(profile: Profile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    tracking = profile.tracking.model_copy(update={"mlflow_uri": "http://127.0.0.1:9"})
    with pytest.raises(ServiceError, match=r"Cannot open the run in MLflow at http://127\.0\.0\.1:9.*zava status"):
        track.open_run(profile.model_copy(update={"tracking": tracking}), PREFECT, {})
