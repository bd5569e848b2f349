"""The tuned model in MLflow: an external model of its run, with its job, its contract and its metrics."""

import time
from typing import TYPE_CHECKING

from tasks import mlflow_store
from tasks.core.config import TrackingConfig
from tasks.core.evaluation import EvalReport
from tasks.core.run import TrackedRun
from tasks.core.training import TrainingJob
from tasks.track import DECISIONS, DIGEST_LENGTH

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel, Metric

MODEL_TAG = "zava.model_id"


def model(tracking: TrackingConfig, run: TrackedRun, trained: TrainingJob, model_id: str) -> str:
    """Record the tuned model of a run, once, and return its MLflow id.

    Raises:
        ServiceError: MLflow does not answer.
    """
    with mlflow_store.connected(tracking, "record the model") as client:
        if found := _of_run(client, run):
            return str(found.model_id)
        import mlflow

        made = mlflow.create_external_model(
            # MLflow allows neither '/', ':' nor '.' in a name.
            name="".join(char if char.isalnum() or char in "-_" else "-" for char in model_id),
            source_run_id=run.run_id,
            experiment_id=run.experiment_id,
            params={"base_model": trained.base_model, "job_id": trained.job_id, "job_key": trained.job_key},
            tags={MODEL_TAG: model_id},
            model_type="agent",
        )
    return str(made.model_id)


def measured(tracking: TrackingConfig, run: TrackedRun, report: EvalReport) -> None:
    """Record the metrics of a run's model under the decisions that they are over, once.

    Raises:
        ServiceError: MLflow does not answer.
    """
    with mlflow_store.connected(tracking, "record the metrics of the model") as client:
        held = _of_run(client, run)
        if held is None or held.metrics:
            return
        client.set_logged_model_tags(held.model_id, {"zava.decisions_sha256": report.decision_set_sha256})
        client.log_batch(run.run_id, metrics=_metrics(report, run.run_id, held.model_id))


def logged(tracking: TrackingConfig, run: TrackedRun, model_id: str) -> str | None:
    """Return the MLflow id of a run's model, or None where it is another one, such as the base.

    Raises:
        ServiceError: MLflow does not answer.
    """
    with mlflow_store.connected(tracking, "find the model") as client:
        held = _of_run(client, run)
        return str(held.model_id) if held and held.tags.get(MODEL_TAG) == model_id else None


def _of_run(client: "MlflowClient", run: TrackedRun) -> "LoggedModel | None":
    found = client.search_logged_models(
        [run.experiment_id], filter_string=f"source_run_id = '{run.run_id}'", max_results=1
    )
    return found[0] if found else None


def _metrics(report: EvalReport, run_id: str, model_id: str) -> "list[Metric]":
    from mlflow.entities import Metric

    now, digest = int(1000 * time.time()), report.decision_set_sha256[:DIGEST_LENGTH]
    return [
        Metric(name, one.value, now, 0, model_id=model_id, run_id=run_id, dataset_name=DECISIONS, dataset_digest=digest)
        for name, one in report.metrics.items()
    ]
