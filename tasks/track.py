"""Records a run in MLflow so that it can be walked back from the model id to its scenarios; repeatable throughout.

Every run has the same names of metrics: those of `tasks.core.metrics` plain, all else under a prefix, such as `took/`,
which MLflow's UI draws together.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from tasks import mlflow_store
from tasks.core.blueprint import Spent, TeacherReport
from tasks.core.config import Profile, TrackingConfig
from tasks.core.coverage import CoverageRow
from tasks.core.dataset import DatasetFile, DatasetSplit, FunnelStep
from tasks.core.evaluation import Comparison, DecisionSet, Difference, EvalReport, Metric
from tasks.core.outcomes import failures
from tasks.core.plan import Plan, total
from tasks.core.run import PrefectRun, RunSummary, TrackedRun
from tasks.core.standings import Standings
from tasks.core.training import TrainingJob

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput

RUN_TAG = "zava.prefect_run_id"
# MLflow keeps 36 characters of a digest; the whole one stands in a tag beside it.
DIGEST_LENGTH = 36
DECISIONS = "decisions.jsonl"
PARENT = "mlflow.parentRunId"
GATE_PARAM = "gate"
LOCAL_SOURCE = "LocalArtifactDatasetSource"


def open_run(profile: Profile, prefect: PrefectRun, tags: Mapping[str, str]) -> TrackedRun:
    """Return the MLflow run of a Prefect run, made with the whole profile where there is none yet.

    Raises:
        ServiceError: MLflow does not answer.
    """
    with mlflow_store.connected(profile.tracking, "open the run") as client:
        experiment = mlflow_store.experiment(client, profile.tracking.experiment)
        run_id = mlflow_store.find_run(client, experiment, {RUN_TAG: prefect.run_id})
        if run_id is None:
            linked = {
                RUN_TAG: prefect.run_id,
                "zava.prefect_url": prefect.address,
                "mlflow.note.content": f"Prefect run: [{prefect.name}]({prefect.address})",
                **tags,
            }
            run_id = str(client.create_run(experiment, run_name=prefect.name, tags=linked).info.run_id)
        # Also for a run that is there: the process that made it may have been killed right after.
        values = profile.model_dump(mode="json")
        # A parameter is written once: the gate of this run is the one from before anything was measured.
        mlflow_store.log_params(client, run_id, _flat(values) | {GATE_PARAM: profile.promotion.model_dump_json()})
        client.log_text(run_id, yaml.safe_dump(values, sort_keys=False), "profile.yaml")
    return tracked(profile.tracking, experiment, run_id)


def tracked(tracking: TrackingConfig, experiment_id: str, run_id: str) -> TrackedRun:
    """Return the record of a run with its address in the MLflow UI."""
    address = f"{tracking.mlflow_uri}/#/experiments/{experiment_id}/runs/{run_id}"
    return TrackedRun(experiment_id=experiment_id, run_id=run_id, address=address)


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, entry in value.items():
        if isinstance(entry, Mapping):
            flat |= _flat(entry, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = str(entry)
    return flat


def dataset(tracking: TrackingConfig, run: TrackedRun, split: DatasetSplit, decisions: DecisionSet) -> None:
    """Record the datasets as inputs under their own digests, their rows, the gate funnel and all files.

    Raises:
        ServiceError: MLflow does not answer.
    """
    files = (("training", split.train), ("validation", split.valid), ("heldout", split.heldout))
    with mlflow_store.connected(tracking, "record the datasets") as client:
        inputs = [_input(file.path, file.sha256, f"{file.split}.jsonl", context) for context, file in files]
        inputs.append(_decisions_input(decisions))
        client.log_inputs(run.run_id, datasets=inputs)
        counts: dict[str, float] = {f"dataset/rows_{file.split}": file.rows for _, file in files}
        counts |= {"dataset/decisions": decisions.items, "dataset/decisions_call": decisions.call_items}
        counts |= {"dataset/played": split.funnel.played, "dataset/kept": split.funnel.kept}
        counts |= {f"dataset/stopped_{gate}": count for gate, count in split.funnel.stopped.items()}
        mlflow_store.log_metrics(client, run.run_id, counts)
        client.log_dict(run.run_id, split.funnel.model_dump(mode="json"), "dataset/funnel.json")
        mlflow_store.set_tags(
            client,
            run.run_id,
            {
                "zava.train_sha256": split.train.sha256,
                "zava.valid_sha256": split.valid.sha256,
                "zava.heldout_sha256": split.heldout.sha256,
                "zava.decisions_sha256": decisions.sha256,
                "zava.policy_sha256": split.policy_sha256,
                "zava.tools_sha256": split.tools_sha256,
            },
        )
        for path in _paths(split, decisions):
            client.log_artifact(run.run_id, path, "dataset")


def tables(
    tracking: TrackingConfig,
    run: TrackedRun,
    named: Mapping[str, Sequence[FunnelStep] | Sequence[CoverageRow] | Sequence[Spent]],
) -> None:
    """Record tables of the dataset that MLflow shows and compares, each once.

    Raises:
        ServiceError: MLflow does not answer.
    """
    with mlflow_store.connected(tracking, "record the tables of the dataset") as client:
        there = {artifact.path for artifact in client.list_artifacts(run.run_id, "dataset")}
        for name, rows in named.items():
            path = f"dataset/{name}_table.json"
            # MLflow appends to a table that is there.
            if path not in there and rows:
                columns = {field: [getattr(row, field) for row in rows] for field in rows[0]._fields}
                client.log_table(run.run_id, columns, path)


def taught(tracking: TrackingConfig, run: TrackedRun, report: TeacherReport) -> None:
    """Record what the models of a teacher were asked and what that cost, for each conversation and in all.

    Raises:
        ServiceError: MLflow does not answer.
    """
    tables(tracking, run, {"teacher_usage": report.conversations})
    used = {name: value for name, value in report.usage.model_dump().items() if value is not None}
    with mlflow_store.connected(tracking, "record what the teacher took") as client:
        mlflow_store.log_metrics(client, run.run_id, {f"teacher/{name}": value for name, value in used.items()})


def _paths(split: DatasetSplit, decisions: DecisionSet) -> Iterator[str]:
    file: DatasetFile | DecisionSet
    for file in (split.train, split.valid, split.heldout, decisions):
        yield file.path
        yield file.meta_path


def _decisions_input(decisions: DecisionSet) -> "DatasetInput":
    return _input(decisions.path, decisions.sha256, DECISIONS, "evaluation")


def _input(path: str, sha256: str, name: str, context: str) -> "DatasetInput":
    from mlflow.data.dataset_source_registry import get_registered_sources, resolve_dataset_source
    from mlflow.data.meta_dataset import MetaDataset
    from mlflow.entities import DatasetInput, InputTag

    # Two sources of this name are registered, for a path and for a file address, and either would do.
    local = next(source for source in get_registered_sources() if getattr(source, "__name__", "") == LOCAL_SOURCE)
    # Its base declares `profile` abstract, and the class works without.
    made = MetaDataset(  # type: ignore[abstract]
        source=resolve_dataset_source(path, candidate_sources=[local]), name=name, digest=sha256[:DIGEST_LENGTH]
    )
    tags = [InputTag("mlflow.data.context", context), InputTag("sha256", sha256)]
    return DatasetInput(dataset=made._to_mlflow_entity(), tags=tags)


def job(tracking: TrackingConfig, run: TrackedRun, trained: TrainingJob) -> None:
    """Record which job trains for this run.

    Raises:
        ServiceError: MLflow does not answer.
    """
    with mlflow_store.connected(tracking, "record the job") as client:
        mlflow_store.set_tags(
            client,
            run.run_id,
            {
                "zava.job_id": trained.job_id,
                "zava.job_key": trained.job_key,
                "zava.base_model": trained.base_model,
                "zava.model_id": trained.model_id or "",
            },
        )


def plan(tracking: TrackingConfig, run: TrackedRun, made: Plan) -> None:
    """Record what a run was estimated to take: each figure beside the one of the same name that it then took.

    Raises:
        ServiceError: MLflow does not answer.
    """
    steps = {"synthesis": made.synthesis, "training": made.training, "evaluation": made.evaluation}
    figures = {
        "trained_tokens": made.training.tokens,
        "evaluation_tokens": made.evaluation.tokens,
        "cost": total(step.cost for step in steps.values()),
        "detectable_difference": made.detectable,
    }
    figures |= {f"cost_{name}": step.cost for name, step in steps.items()}
    figures |= {f"seconds_{name}": step.minutes and 60 * step.minutes for name, step in steps.items()}
    values = {f"planned/{name}": float(value) for name, value in figures.items() if value is not None}
    with mlflow_store.connected(tracking, "record the plan") as client:
        mlflow_store.log_metrics(client, run.run_id, values)


def tags(tracking: TrackingConfig, run: TrackedRun, values: Mapping[str, str]) -> None:
    """Record tags; an empty value is left out.

    Raises:
        ServiceError: MLflow does not answer.
    """
    with mlflow_store.connected(tracking, "record tags") as client:
        mlflow_store.set_tags(client, run.run_id, values)


def arm(
    tracking: TrackingConfig, run: TrackedRun, report: EvalReport, decisions: DecisionSet, files: Iterable[Path]
) -> TrackedRun:
    """Record one arm as a child run: every metric under the same name in every run, its interval beside it.

    Raises:
        ServiceError: MLflow does not answer.
    """
    with mlflow_store.connected(tracking, f"record the arm {report.arm!r}") as client:
        tags = {PARENT: run.run_id, "zava.arm": report.arm}
        child = mlflow_store.find_run(client, run.experiment_id, tags)
        if child is None:
            created = client.create_run(run.experiment_id, run_name=report.arm, tags=tags)
            child = str(created.info.run_id)
        mlflow_store.set_tags(
            client,
            child,
            {
                "zava.model_id": report.model_id,
                "zava.decisions_sha256": report.decision_set_sha256,
                "zava.scores_sha256": report.scores_sha256,
            },
        )
        client.log_inputs(child, datasets=[_decisions_input(decisions)])
        mlflow_store.log_metrics(client, child, _metrics_of(report))
        for path in files:
            client.log_artifact(child, str(path))
        client.set_terminated(child)
    return tracked(tracking, run.experiment_id, child)


def _metrics_of(report: EvalReport) -> dict[str, float]:
    values: dict[str, float] = {}
    for name, metric in report.metrics.items():
        values |= {name: metric.value} | _interval(name, metric) | {f"interval/{name}_n": metric.n}
        if metric.worst is not None and metric.best is not None:
            values |= {f"interval/{name}_worst": metric.worst, f"interval/{name}_best": metric.best}
    values |= {f"failures/{kind}": count for kind, count in failures(report).items()}
    return values | {
        "answers/errored": report.errored,
        "answers/latency_p50_s": report.latency_p50_s,
        "answers/latency_p95_s": report.latency_p95_s,
        "answers/prompt_tokens": report.prompt_tokens,
        "answers/completion_tokens": report.completion_tokens,
        "answers/seconds": report.seconds,
    }


def _interval(name: str, one: Metric | Difference) -> dict[str, float]:
    return {f"interval/{name}_low": one.low, f"interval/{name}_high": one.high}


def comparison(tracking: TrackingConfig, run: TrackedRun, compared: Comparison) -> None:
    """Record the paired differences in the parent run, and the tuned arm's metrics, so that runs line up in a table.

    Raises:
        ServiceError: MLflow does not answer.
    """
    values = _metrics_of(compared.tuned)
    for change in compared.differences:
        values |= {f"gain/{change.metric}": change.difference} | _interval(f"gain_{change.metric}", change)
    with mlflow_store.connected(tracking, "record the comparison") as client:
        mlflow_store.log_metrics(client, run.run_id, values)
        client.log_dict(run.run_id, compared.model_dump(mode="json"), "evaluation/comparison.json")


def standings(tracking: TrackingConfig, run: TrackedRun, ranked: Standings) -> None:
    """Record all arms side by side in the parent run, and why an arm was left out.

    Raises:
        ServiceError: MLflow does not answer.
    """
    with mlflow_store.connected(tracking, "record the standings") as client:
        client.log_dict(run.run_id, ranked.model_dump(mode="json"), "evaluation/standings.json")
        skipped = {f"zava.arm_skipped.{one.arm}": one.skipped for one in ranked.skipped}
        mlflow_store.set_tags(client, run.run_id, skipped)


def files(tracking: TrackingConfig, run: TrackedRun, paths: Iterable[Path], folder: str) -> None:
    """Record files under a folder of the run.

    Raises:
        ServiceError: MLflow does not answer.
    """
    with mlflow_store.connected(tracking, "record files") as client:
        for path in paths:
            client.log_artifact(run.run_id, str(path), folder)


def outcome(tracking: TrackingConfig, run: TrackedRun, summary: RunSummary, sentence: str) -> None:
    """Record verdict, times, cost and the verdicts of the replay: `planned/NAME` of the plan is `took/NAME` here.

    Raises:
        ServiceError: MLflow does not answer.
    """
    took: dict[str, float | None] = {f"seconds_{s.name.replace(' ', '_')}": s.seconds for s in summary.stages}
    took["seconds_evaluation"] = sum(s.seconds for s in summary.stages if s.name.startswith("evaluation of "))
    took |= _cost_of(summary)
    values = {f"took/{name}": value for name, value in took.items() if value is not None}
    values |= {f"replay/passed_{story.arm}": float(story.passed) for story in summary.stories}
    values |= {f"replay/family_passed_{family.arm}": family.passed for family in summary.families}
    with mlflow_store.connected(tracking, "record the outcome") as client:
        mlflow_store.log_metrics(client, run.run_id, values)
        mlflow_store.set_tags(client, run.run_id, {"zava.verdict": sentence})


def _cost_of(summary: RunSummary) -> dict[str, float | None]:
    cost = summary.cost
    reports = summary.standings.reports if summary.standings else ()
    return {
        "seconds": summary.seconds,
        "cost": cost.amount,
        "cost_synthesis": cost.synthesis,
        "cost_training": cost.training,
        "cost_evaluation": cost.evaluation,
        "evaluation_tokens": sum(report.prompt_tokens + report.completion_tokens for report in reports) or None,
        "cpu_minutes": cost.cpu_minutes,
        "trained_tokens": cost.trained_tokens,
    }


def close_run(tracking: TrackingConfig, run: TrackedRun, *, status: str, tags: Mapping[str, str]) -> None:
    """Set last tags and end the run: `FINISHED`, `FAILED` or `KILLED`.

    Raises:
        ServiceError: MLflow does not answer.
    """
    with mlflow_store.connected(tracking, "close the run") as client:
        mlflow_store.set_tags(client, run.run_id, tags)
        client.set_terminated(run.run_id, status)
