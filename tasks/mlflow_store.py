"""Small calls to MLflow that several records are made of, all safe to repeat, with its errors told as the loop's."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tasks.clients import mlflow_client
from tasks.core.config import TrackingConfig
from tasks.core.errors import ServiceError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

# What the server takes in one call.
PARAMS_AT_ONCE = 100
METRICS_AT_ONCE = 1000
# What its UI shows first: runs and models, and traces beside them.
KIND_TAG = "mlflow.experimentKind"


@contextmanager
def connected(tracking: TrackingConfig, action: str) -> "Iterator[MlflowClient]":
    """Yield a client; `action` continues "Cannot ..." where MLflow fails.

    Raises:
        ServiceError: MLflow does not answer, or refuses.
    """
    client = mlflow_client(tracking)
    from mlflow.exceptions import MlflowException

    try:
        yield client
    except MlflowException as error:
        raise ServiceError(
            f"Cannot {action} in MLflow at {tracking.mlflow_uri}: {error}. Is it up? `zava status` tells."
        ) from error


def experiment(client: "MlflowClient", name: str) -> str:
    """Return the id of an experiment, made where it is missing."""
    from mlflow.exceptions import MlflowException

    if found := client.get_experiment_by_name(name):
        return str(found.experiment_id)
    try:
        return str(client.create_experiment(name, tags={KIND_TAG: "custom_model_development"}))
    except MlflowException:
        # Another run made it in between.
        if found := client.get_experiment_by_name(name):
            return str(found.experiment_id)
        raise


def find_run(client: "MlflowClient", experiment_id: str, tags: Mapping[str, str]) -> str | None:
    """Return the id of a run that carries these tags, or None."""
    wanted = " and ".join(f"tags.`{name}` = '{value}'" for name, value in tags.items())
    runs = client.search_runs([experiment_id], filter_string=wanted, max_results=1)
    return str(runs[0].info.run_id) if runs else None


def log_params(client: "MlflowClient", run_id: str, params: Mapping[str, str]) -> None:
    """Write parameters."""
    from mlflow.entities import Param

    entries = [Param(key, value) for key, value in params.items()]
    for start in range(0, len(entries), PARAMS_AT_ONCE):
        client.log_batch(run_id, params=entries[start : start + PARAMS_AT_ONCE])


def set_tags(client: "MlflowClient", run_id: str, tags: Mapping[str, str]) -> None:
    """Write tags; an empty value is left out."""
    from mlflow.entities import RunTag

    client.log_batch(run_id, tags=[RunTag(name, value) for name, value in tags.items() if value])


def log_metrics(client: "MlflowClient", run_id: str, values: Mapping[str, float]) -> None:
    """Write values at step 0, those that stand there already left out, so that a retry writes none twice."""
    from mlflow.entities import Metric

    have = client.get_run(run_id).data.metrics
    now = int(1000 * time.time())
    fresh = [Metric(name, float(value), now, 0) for name, value in values.items() if have.get(name) != value]
    log_all(client, run_id, fresh)


def log_all(client: "MlflowClient", run_id: str, metrics: "list[Metric]") -> None:
    """Write metrics in as few calls as the server allows."""
    for start in range(0, len(metrics), METRICS_AT_ONCE):
        client.log_batch(run_id, metrics=metrics[start : start + METRICS_AT_ONCE])
