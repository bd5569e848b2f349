"""The whole loop on a real Prefect server and a real MLflow store, with a provider over HTTP."""

from pathlib import Path
from typing import NamedTuple

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

from flows.follow_contract import follow_contract
from flows.retrain import retrain
from tasks.clients import mlflow_client
from tasks.core.config import Profile, load_profile
from tasks.core.errors import TrainingFailedError
from tasks.core.run import RunSummary, verdict
from tasks.model_card import keep_card, read_card
from tests.fake_finetuning import FakeFinetuning
from tests.loop import Shared

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_server")]
CREATE = "POST /fine_tuning/jobs"
CHAT = "POST /chat/completions"


class Ran(NamedTuple):
    """A run, and what the provider had been asked for when it ended."""

    profile: Profile
    provider: FakeFinetuning
    summary: RunSummary
    creations: int
    jobs: int


@pytest.fixture(scope="module")
def ran(shared: Shared, prefect_server: None) -> Ran:
    """Run the whole loop, with arms and replays, past a fault that passes and a creation whose answer is lost."""
    profile, provider = shared
    arms = load_profile("local").evaluation.arms
    profile = profile.model_copy(
        update={
            "evaluation": profile.evaluation.model_copy(update={"arms": arms}),
            "replay": profile.replay.model_copy(update={"seeds": 1}),
        }
    )
    provider.fail("POST", "/fine_tuning/jobs", status=503)
    provider.fail("POST", "/fine_tuning/jobs", reset=True, acted=True)
    summary = retrain(profile)
    return Ran(profile, provider, summary, provider.count(CREATE), len(provider.jobs))


def test_a_passing_fault_is_tried_again_and_a_lost_answer_to_the_creation_leaves_one_job(ran: Ran) -> None:
    assert (ran.creations, ran.jobs) == (2, 1)


def test_nothing_is_asked_of_the_models_before_the_plan_and_its_figures_stand_beside_the_real_ones(ran: Ran) -> None:
    stages = [stage.name for stage in ran.summary.stages]
    assert stages.index("sunset") < stages.index("synthesis") < stages.index("plan") < stages.index("serving")
    found = mlflow_client(ran.profile.tracking).get_run(ran.summary.tracked.run_id).data.metrics
    names = {"evaluation_tokens", "cost", "cost_synthesis", "cost_training", "cost_evaluation"}
    assert {f"{when}/{name}" for name in names for when in ("planned", "took")} <= found.keys()
    assert found["planned/trained_tokens"] > 0  # this provider does not count the real ones
    assert found["planned/detectable_difference"] > 0
    assert found["took/seconds_evaluation"] > found["took/seconds_evaluation_of_base"] > 0


def test_a_run_makes_a_better_model_and_can_be_walked_back_to_its_data(ran: Ran) -> None:
    profile, provider, summary = ran.profile, ran.provider, ran.summary
    assert verdict(summary.comparison).better
    assert [(family.arm, len(family.results)) for family in summary.families] == [("base", 10), ("tuned", 10)]
    assert summary.comparison.tuned.metrics["next_tool_call_accuracy"].value == 1.0
    assert [(story.arm, story.passed) for story in summary.stories] == [("base", False), ("tuned", True)]
    assert summary.standings is not None
    reached = {r.arm: r.metrics["next_tool_call_accuracy"].value for r in summary.standings.reports}
    assert reached == {"base": 0.0, "tuned": 1.0, "tuned-short": 1.0, "base-examples": 0.0}
    assert {(one.arm, one.against) for one in summary.standings.contrasts} >= {("base-examples", "tuned")}
    client = mlflow_client(profile.tracking)
    run = client.get_run(summary.tracked.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.tags["zava.prefect_run_id"] == summary.prefect.run_id
    assert run.data.tags["zava.model_id"] == summary.model_id
    assert run.data.tags["zava.train_sha256"] == summary.dataset.train.sha256
    assert run.data.tags["zava.job_id"] in provider.jobs
    steps = [entry.step for entry in client.get_metric_history(run.info.run_id, "training/train_loss")]
    assert steps == list(range(1, 13))
    assert [entry.path for entry in client.list_artifacts(run.info.run_id, "training")] == ["training/file-result.csv"]
    arms = {child.info.run_name: child for child in client.search_runs([run.info.experiment_id])}
    assert {"base", "tuned", "tuned-short", "base-examples"} <= arms.keys()
    assert len({frozenset(arms[arm].data.metrics) - {"tool_name_accuracy"} for arm in ("tuned", "tuned-short")}) == 1
    # One story and a family of ten, with every answer and call.
    where = [run.info.experiment_id]
    held = {arm: client.search_traces(locations=where, run_id=arms[arm].info.run_id) for arm in ("base", "tuned")}
    assert {arm: len(traces) for arm, traces in held.items()} == {"base": 11, "tuned": 11}
    story = next(trace for trace in held["tuned"] if trace.info.tags["mlflow.traceName"] == "replay Noah Brown")
    assert [verdict.value for verdict in story.info.assessments] == [True]
    [model] = client.search_logged_models(where, f"source_run_id = '{run.info.run_id}'")
    assert len(client.search_traces(locations=where, model_id=model.model_id)) == 11
    table = client.load_table(run.info.experiment_id, "evaluation_table.json", [arms["tuned"].info.run_id])
    assert len(table) == summary.decisions.items
    kept = [entry.path for entry in client.list_artifacts(run.info.run_id, "evaluation")]
    assert kept == ["evaluation/comparison.json", "evaluation/standings.json"]
    with get_client(sync_client=True) as prefect:
        flow_run = prefect.read_flow_run(summary.prefect.run_id)  # type: ignore[arg-type]
        assert flow_run.name.startswith("retrain local by hand 20")
        wanted = ArtifactFilter(key=ArtifactFilterKey(any_=["retrain-summary"]))
        artifacts = prefect.read_artifacts(artifact_filter=wanted)
    # The server is shared with other tests, and so are its artifacts: this run's is the one with its address.
    assert any(summary.tracked.address in str(artifact.data) for artifact in artifacts)
    report = Path(summary.report_path).read_text()
    assert "The tuned model is better" in report
    for text in ("All arms", "base-examples", "Where the gain came from", "text instead of call"):
        assert text in report
    assert "The replay family" in report


def test_a_second_run_with_the_same_profile_finds_all_its_work_done(ran: Ran) -> None:
    first, provider = ran.summary, ran.provider
    asked, uploads = provider.count(CHAT), provider.count("POST /files")
    # But for the family, which is played live.
    profile = ran.profile.model_copy(update={"replay": ran.profile.replay.model_copy(update={"seeds": 0})})
    second = retrain(profile)
    assert second.model_id == first.model_id
    assert second.tracked.run_id != first.tracked.run_id
    assert provider.count(CREATE) == ran.creations
    assert provider.count("POST /files") == uploads
    # Only the replay is live: one turn after another, never a decision of the set.
    replayed = provider.count(CHAT) - asked
    assert replayed < first.decisions.items
    reused = {entry.name for entry in second.stages if entry.reused}
    assert {"synthesis", "validation", "upload", "fine-tuning", "training", "evaluation of base"} <= reused
    client = mlflow_client(profile.tracking)
    assert len(client.get_metric_history(second.tracked.run_id, "training/train_loss")) == 12
    # What the first run took is what this one is planned by.
    assert client.get_run(second.tracked.run_id).data.metrics["planned/seconds_evaluation"] > 0


def test_word_of_a_new_contract_retrains_only_where_it_is_another_than_the_model_learned(ran: Ran) -> None:
    # The family is played live; it has nothing to do with it.
    profile = ran.profile.model_copy(update={"replay": ran.profile.replay.model_copy(update={"seeds": 0})})
    client = mlflow_client(profile.tracking)
    experiment = ran.summary.tracked.experiment_id
    recorded = len(client.search_runs([experiment], "tags.`zava.profile` = 'local'"))
    assert follow_contract(profile) == []
    assert len(client.search_runs([experiment], "tags.`zava.profile` = 'local'")) == recorded
    card = read_card(profile, ran.summary.model_id)
    assert card is not None
    keep_card(profile, card.model_copy(update={"contract": card.contract.model_copy(update={"policy_sha256": "old"})}))
    [found] = follow_contract(profile)
    assert "the policy changed" in found.note
    assert len(client.search_runs([experiment], "tags.`zava.profile` = 'local'")) == recorded + 1
    assert read_card(profile, ran.summary.model_id) == card


def test_a_failed_job_fails_the_run_with_the_providers_reason(ran: Ran) -> None:
    ran.provider.states = ["running", "failed"]
    another = ran.profile.model_copy(update={"training": ran.profile.training.model_copy(update={"seed": 8})})
    with pytest.raises(TrainingFailedError, match="the data is not good"):
        retrain(another)
    client = mlflow_client(ran.profile.tracking)
    experiment = client.get_experiment_by_name(ran.profile.tracking.experiment)
    runs = client.search_runs([experiment.experiment_id], "tags.`zava.profile` = 'local'")
    assert [run.info.status for run in runs if run.data.params["training.seed"] == "8"] == ["FAILED"]
    assert ran.provider.count(CREATE) == ran.creations + 1
