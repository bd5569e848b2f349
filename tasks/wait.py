"""Waits for a fine-tuning job: reads its state, hands on each step's metrics once, ends it when it must end."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from openai import OpenAI
from openai.types.fine_tuning import FineTuningJobEvent

from tasks import train
from tasks.core.config import TrainingConfig
from tasks.core.errors import ProviderUnavailableError, TrainingFailedError
from tasks.core.training import FINISHED, TrainingJob, TrainingMetric
from tasks.provider_errors import translated

PAGE = 100
# Losses of single batches are noisy; a validation loss so many times its best is not noise.
OVERFIT = 1.2
METRIC_NAMES = tuple(name for name in TrainingMetric.model_fields if name != "step")


class Progress(NamedTuple):
    """How far the job is. `total_steps` is None where the provider does not tell."""

    state: str
    step: int
    total_steps: int | None
    train_loss: float | None


def _ignore(_: object) -> None:
    """Take no notice."""


@dataclass(frozen=True)
class Listeners:
    """Whom a wait tells what. `is_cancelled` is asked once a pass."""

    metrics: Callable[[list[TrainingMetric]], None] = _ignore
    progress: Callable[[Progress], None] = _ignore
    warning: Callable[[str], None] = _ignore
    is_cancelled: Callable[[], bool] = lambda: False


@dataclass
class _Watch:
    """What was seen of a job so far."""

    job: TrainingJob
    heard_at: float
    seen: set[str] = field(default_factory=set)
    told: set[tuple[int, str]] = field(default_factory=set)
    step: int = 0
    total_steps: int | None = None
    train_loss: float | None = None
    best_valid: tuple[float, float] | None = None
    overfits: bool = False
    stalled: bool = False


def wait_for_model(
    client: OpenAI,
    job: TrainingJob,
    config: TrainingConfig,
    listeners: Listeners,
    *,
    now: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> TrainingJob:
    """Return the job once it has ended, whatever its end; its model id is `training.finished_model_id`.

    A provider that is away is waited for until `stall_minutes` have passed. The job is cancelled at its deadline, when
    the run is cancelled, and on an interrupt from the keyboard; not when this process is killed, so that the next run
    finds it.

    Raises:
        TrainingFailedError: The deadline passed, or the run was cancelled.
        ProviderUnavailableError: The provider was away for too long.
    """
    watch = _Watch(job=job, heard_at=now())
    try:
        while True:
            _pass(client, watch, config, listeners, now)
            if watch.job.state in FINISHED:
                return watch.job
            _stop_where_due(client, watch.job, config, listeners, now())
            sleep(config.poll_seconds)
    except KeyboardInterrupt:
        train.cancel_job(client, job.job_id, job.job_key)
        listeners.warning(f"Interrupted: job {job.job_id} is cancelled.")
        raise


def _pass(
    client: OpenAI, watch: _Watch, config: TrainingConfig, listeners: Listeners, now: Callable[[], float]
) -> None:
    """Read the job, then its new events, so that a finished job's last event is never missed."""
    try:
        job = train.read_job(client, watch.job.job_id, watch.job.job_key)
        events = _new_events(client, job.job_id, watch.seen, to_the_end=job.state in FINISHED)
    except ProviderUnavailableError:
        if now() - watch.heard_at > 60 * config.stall_minutes:
            raise
        return
    silent = not events and job.provider_state == watch.job.provider_state
    watch.job = job
    if job.provider_state == "running" and silent:
        _warn_of_silence(watch, config, listeners, now())
    else:
        watch.heard_at, watch.stalled = now(), False
    _tell(watch, events, listeners)


def _new_events(client: OpenAI, job_id: str, seen: set[str], *, to_the_end: bool) -> list[FineTuningJobEvent]:
    """Return the events not seen before, oldest first, and remember them. Pages may come shuffled, and again.

    Providers list the newest first, so reading stops at a page that holds nothing new; `to_the_end` goes on until a
    page holds nothing that was not in the pages before it.
    """
    listed: dict[str, FineTuningJobEvent] = {}
    with translated(client, f"read the events of fine-tuning job {job_id}"):
        page = client.fine_tuning.jobs.list_events(job_id, limit=PAGE)
        while any(event.id not in listed and (to_the_end or event.id not in seen) for event in page.data):
            listed |= {event.id: event for event in page.data}
            if not page.has_next_page():
                break
            page = page.get_next_page()
    fresh = [event for event in listed.values() if event.id not in seen]
    seen.update(listed)
    return sorted(fresh, key=lambda event: event.created_at)


def _warn_of_silence(watch: _Watch, config: TrainingConfig, listeners: Listeners, now: float) -> None:
    if not watch.stalled and now - watch.heard_at > 60 * config.stall_minutes:
        watch.stalled = True
        listeners.warning(
            f"Job {watch.job.job_id} is running but has said nothing for {config.stall_minutes:g} minutes; it is "
            f"cancelled {config.deadline_minutes:g} minutes after its start."
        )


def _tell(watch: _Watch, events: list[FineTuningJobEvent], listeners: Listeners) -> None:
    metrics: list[TrainingMetric] = []
    for event in events:
        data = event.data if isinstance(event.data, Mapping) else {}
        if metric := _metric_of(data, watch.told):
            metrics.append(metric)
            if metric.step >= watch.step:
                watch.step = metric.step
                watch.train_loss = metric.train_loss if metric.train_loss is not None else watch.train_loss
                _warn_of_overfitting(watch, metric, listeners)
        total = data.get("total_steps")
        watch.total_steps = total if isinstance(total, int) else watch.total_steps
        if event.level != "info":
            listeners.warning(f"Job {watch.job.job_id}: {event.message}")
    if metrics:
        listeners.metrics(metrics)
    listeners.progress(Progress(watch.job.provider_state, watch.step, watch.total_steps, watch.train_loss))


def _warn_of_overfitting(watch: _Watch, metric: TrainingMetric, listeners: Listeners) -> None:
    """Say once that the model gets worse on what it has not seen while it still gets better on what it has."""
    valid = metric.full_valid_loss if metric.full_valid_loss is not None else metric.valid_loss
    if valid is None or watch.train_loss is None:
        return
    if watch.best_valid is None or valid < watch.best_valid[0]:
        watch.best_valid = (valid, watch.train_loss)
    elif not watch.overfits and valid > OVERFIT * watch.best_valid[0] and watch.train_loss < watch.best_valid[1]:
        watch.overfits = True
        listeners.warning(
            f"Job {watch.job.job_id} may overfit: at step {metric.step} the validation loss is {valid:.3f}, up from "
            f"{watch.best_valid[0]:.3f}, while the training loss fell. Try fewer epochs (training.n_epochs)."
        )


def _metric_of(data: Mapping[str, Any], told: set[tuple[int, str]]) -> TrainingMetric | None:
    """Return the metrics in an event that were not told before, or None where there are none."""
    step = data.get("step")
    if not isinstance(step, int) or isinstance(step, bool):
        return None
    values = {
        name: float(data[name]) for name in METRIC_NAMES if _is_number(data.get(name)) and (step, name) not in told
    }
    told.update((step, name) for name in values)
    return TrainingMetric.model_validate({"step": step, **values}) if values else None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _stop_where_due(client: OpenAI, job: TrainingJob, config: TrainingConfig, listeners: Listeners, now: float) -> None:
    if listeners.is_cancelled():
        reason = "the run was cancelled"
    elif job.created_at is not None and now - job.created_at > 60 * config.deadline_minutes:
        reason = f"it did not end within {config.deadline_minutes:g} minutes (training.deadline_minutes)"
    else:
        return
    last = train.cancel_job(client, job.job_id, job.job_key)
    if last.state != "succeeded":
        raise TrainingFailedError(f"Job {job.job_id} was cancelled: {reason}. It was {job.provider_state!r}.")
