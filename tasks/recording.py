"""What a run leaves behind, as Prefect tasks: its MLflow run, its report and its summary in Prefect."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact
from prefect.runtime import flow_run

from tasks import (
    card,
    cost,
    liveness,
    model_card,
    report,
    storing,
    traces,
    track,
    track_items,
    track_model,
    track_steps,
    train,
)
from tasks.artifacts import Dataset, workspace
from tasks.clients import mlflow_client, openai_client
from tasks.core.config import Profile
from tasks.core.coverage import table
from tasks.core.evaluation import DecisionSet, EvalReport
from tasks.core.family import FamilyReport
from tasks.core.plan import Plan
from tasks.core.run import PrefectRun, RunSummary, Story, TrackedRun, verdict
from tasks.core.training import TrainingJob, TrainingMetric
from tasks.evaluate import ANSWERS
from tasks.progress import stage
from tasks.stages import stage_task


def this_run() -> PrefectRun:
    """Return the flow run that this is called in."""
    return PrefectRun(run_id=str(flow_run.id), name=str(flow_run.name), address=str(flow_run.ui_url))


@contextmanager
def tracked_run(profile: Profile) -> Iterator[TrackedRun]:
    """Open the MLflow run of this flow run; end it as killed or failed where the flow does not come to its end."""
    with liveness.alive(workspace(profile).alive, this_run().run_id):
        tracked = opened(profile, this_run())
        status = "FAILED"
        try:
            yield tracked
            status = "FINISHED"
        except KeyboardInterrupt:
            status = "KILLED"
            raise
        finally:
            track.close_run(profile.tracking, tracked, status=status, tags={})


@stage_task("tracking", "open the MLflow run", timeout_seconds=900)
def opened(profile: Profile, prefect: PrefectRun) -> TrackedRun:
    """Open the MLflow run and link it with the Prefect run, both ways."""
    with stage("tracking") as progress:
        progress.step(0, 2, "loading MLflow")  # which takes seconds
        mlflow_client(profile.tracking)
        progress.step(1, 2, "opening the run")
        tracked = track.open_run(profile, prefect, {"zava.profile": profile.name, "zava.git_commit": _git_commit()})
        create_link_artifact(tracked.address, link_text="MLflow run", key="mlflow-run", description="Recorded here.")
        progress.result(f"MLflow run {tracked.run_id[:8]}")
    return tracked


def _git_commit() -> str:
    """Return the commit of the code, or nothing where it does not come from a repository."""
    try:
        asked = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return asked.stdout.strip()


@stage_task("tracking", "record the dataset", timeout_seconds=900)
def dataset_recorded(profile: Profile, tracked: TrackedRun, dataset: Dataset) -> None:
    """Record dataset inputs, row counts, funnel, coverage, card, files and what a teacher took; link it in Prefect."""
    made = card.card_in(Path(dataset.split.train.path).parent)
    with stage("tracking") as progress:
        progress.step(0, 3, "datasets")
        track.dataset(profile.tracking, tracked, dataset.split, dataset.decisions)
        progress.step(1, 3, "tables")
        track.tags(profile.tracking, tracked, {"zava.dataset_address": dataset.address})
        coverage = table(dataset.split.coverage, profile.synthesis.coverage)
        track.tables(profile.tracking, tracked, {"funnel": list(dataset.split.funnel.steps()), "coverage": coverage})
        if dataset.taught:
            track.taught(profile.tracking, tracked, dataset.taught)
        progress.step(2, 3, "card")
        track.files(profile.tracking, tracked, made.files, "dataset")
        create_table_artifact(
            [step._asdict() for step in dataset.split.funnel.steps()],
            key="dataset-funnel",
            description="What came to each gate, what passed, why the rest did not, and an example.",
        )
        create_link_artifact(
            f"{tracked.address}/artifacts/dataset/card.html",
            link_text="Dataset card",
            key="dataset-card",
            description="What is in the dataset, what was left out, and how to make it again.",
        )


@stage_task("tracking", "record {job.job_id}", timeout_seconds=900)
def job_recorded(profile: Profile, tracked: TrackedRun, job: TrainingJob) -> None:
    """Record which job trains for this run."""
    with stage("tracking"):
        track.job(profile.tracking, tracked, job)


@stage_task("tracking", "record the results of {job.job_id}", timeout_seconds=900)
def results_recorded(profile: Profile, tracked: TrackedRun, job: TrainingJob) -> None:
    """Record how the job ended, and the files that it made."""
    with stage("tracking"), openai_client(profile.provider) as client:
        track.job(profile.tracking, tracked, job)
        results = train.download_results(client, job, workspace(profile).run_folder(tracked.run_id))
        track.files(profile.tracking, tracked, results, "training")


@stage_task("tracking", "record the plan", timeout_seconds=900)
def plan_recorded(profile: Profile, tracked: TrackedRun, made: Plan) -> None:
    """Record the estimate, for the run's own figures to be held against."""
    track.plan(profile.tracking, tracked, made)


@stage_task("tracking", "record how long the base lives", timeout_seconds=900)
def sunset_recorded(profile: Profile, tracked: TrackedRun, told: list[str]) -> None:
    """Record what ends for the base model, so that a run can be found by it."""
    track.tags(profile.tracking, tracked, {"zava.retires": "; ".join(told)})


@stage_task("tracking", "record the contract of {model_id}", timeout_seconds=900)
def card_recorded(profile: Profile, tracked: TrackedRun, dataset: Dataset, job: TrainingJob, model_id: str) -> None:
    """Record a tuned model in MLflow, and under which contract it was trained, there and in the workspace."""
    made = model_card.write_card(profile, dataset, job, model_id)
    track_model.model(profile.tracking, tracked, job, model_id)
    track.tags(profile.tracking, tracked, {"zava.contract_sha256": made.contract.fingerprint})


@stage_task("tracking", "record the arm {measured.arm}", timeout_seconds=900)
def arm_recorded(
    profile: Profile,
    tracked: TrackedRun,
    measured: EvalReport,
    decisions: DecisionSet,
    story: Story | None = None,
    family: FamilyReport | None = None,
) -> None:
    """Record an arm as a child run: metrics, a row for each decision, answers, and the conversations that it held."""
    scores = Path(measured.scores_path)
    files = [scores, scores.with_name(f"{measured.arm}.report.json"), scores.with_name(ANSWERS)]
    if story is not None:
        files.append(report.write_transcript(story, workspace(profile).run_folder(tracked.run_id)))
    with stage("tracking") as progress:
        progress.step(0, 3, "metrics and files")
        child = track.arm(profile.tracking, tracked, measured, decisions, files)
        progress.step(1, 3, "decisions")
        track_items.table(profile.tracking, child, decisions, measured)
        progress.step(2, 3, "conversations")
        held = [Path(one.traces_path) for one in (story, family) if one and one.traces_path]
        logged = track_model.logged(profile.tracking, tracked, measured.model_id)
        traces.record(profile.tracking, child, [path for path in held if path.exists()], logged)


def training_curve(profile: Profile, tracked: TrackedRun) -> tuple[TrainingMetric, ...]:
    """Return the steps of training as the MLflow run holds them, also those that a killed process wrote.

    Raises:
        ServiceError: MLflow does not answer.
    """
    return track_steps.curve(profile.tracking, tracked)


@stage_task("report", "write the report", timeout_seconds=900)
def outcome_recorded(profile: Profile, summary: RunSummary) -> RunSummary:
    """Write the report, record the outcome in MLflow and show the summary in Prefect."""
    with stage("report") as progress:
        tracking, tracked = profile.tracking, summary.tracked
        folder = workspace(profile).run_folder(tracked.run_id)
        address = storing.report_address(profile, tracked.run_id)
        summary = summary.model_copy(update={"report_address": address})
        written = report.write_report(summary, folder, cost.cost_of(profile, summary))
        track.comparison(tracking, tracked, summary.comparison)
        if summary.standings:
            track.standings(tracking, tracked, summary.standings)
        track_model.model(tracking, tracked, summary.job, summary.model_id)
        track_model.measured(tracking, tracked, summary.comparison.tuned)
        track.outcome(tracking, tracked, summary, verdict(summary.comparison).sentence)
        track.files(tracking, tracked, [written.html, written.markdown, written.summary], "report")
        create_markdown_artifact(
            written.markdown.read_text(encoding="utf-8"), key="retrain-summary", description="The outcome of this run."
        )
        storing.publish_report(profile, tracked.run_id)
        track.tags(tracking, tracked, {"zava.report_address": address})
        progress.result(str(written.html))
    return summary.model_copy(update={"report_path": str(written.html)})
