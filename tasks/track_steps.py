"""The steps of a training in MLflow: each value written once, whatever was killed in between."""

import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from tasks import mlflow_store
from tasks.core.config import TrackingConfig
from tasks.core.run import TrackedRun
from tasks.core.training import TrainingMetric

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

# MLflow's UI draws metrics with a common prefix together.
PREFIX = "training/"


class StepLog:
    """Writes the steps of a training into a run, each value once, also when a killed process wrote some before."""

    def __init__(self, tracking: TrackingConfig, run: TrackedRun) -> None:
        """Name the run; what it holds already is read at the first write."""
        self._tracking = tracking
        self._run = run
        self._written: set[tuple[str, int]] | None = None

    def __call__(self, metrics: Iterable[TrainingMetric]) -> None:
        """Write what is new.

        Raises:
            ServiceError: MLflow does not answer.
        """
        from mlflow.entities import Metric

        with mlflow_store.connected(self._tracking, "record the steps of training") as client:
            if self._written is None:
                self._written = _steps_in(client, self._run.run_id)
            now = int(1000 * time.time())
            values = {
                (name, metric.step): value
                for metric in metrics
                for name, value in metric.model_dump(exclude={"step"}, exclude_none=True).items()
            }
            fresh = {place: value for place, value in values.items() if place not in self._written}
            mlflow_store.log_all(
                client, self._run.run_id, [Metric(PREFIX + name, v, now, step) for (name, step), v in fresh.items()]
            )
            self._written.update(fresh)


def _steps_in(client: "MlflowClient", run_id: str) -> set[tuple[str, int]]:
    return {(name, entry.step) for name, entry in _history(client, run_id)}


def _history(client: "MlflowClient", run_id: str) -> "Iterator[tuple[str, Metric]]":
    there = client.get_run(run_id).data.metrics
    for name in TrainingMetric.model_fields:
        if PREFIX + name in there:
            yield from ((name, entry) for entry in client.get_metric_history(run_id, PREFIX + name))


def curve(tracking: TrackingConfig, run: TrackedRun) -> tuple[TrainingMetric, ...]:
    """Return the steps of training that a run holds, in order.

    Raises:
        ServiceError: MLflow does not answer.
    """
    steps: dict[int, dict[str, float]] = {}
    with mlflow_store.connected(tracking, "read the steps of training") as client:
        for name, entry in _history(client, run.run_id):
            steps.setdefault(entry.step, {})[name] = entry.value
    return tuple(TrainingMetric.model_validate({"step": step, **steps[step]}) for step in sorted(steps))
