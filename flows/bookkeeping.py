"""Keeps a run's times and its use of this machine, and makes its summary."""

import time
from types import TracebackType
from typing import Self

import psutil

from flows import services
from tasks import plan
from tasks.artifacts import Dataset
from tasks.core.config import Profile
from tasks.core.evaluation import Comparison
from tasks.core.plan import total
from tasks.core.run import Cost, RunSummary, Stage, Story, TrackedRun
from tasks.core.standings import Standings
from tasks.core.training import TrainingJob, TrainingMetric
from tasks.progress import Event, listening
from tasks.recording import this_run, training_curve


class Bookkeeping:
    """Listens to the stages of one run from its start."""

    def __init__(self, profile: Profile) -> None:
        """Note the time and what the machine has worked so far."""
        self._profile = profile
        self._started_at = time.time()
        self._began = time.monotonic()
        self._cpu_s = _cpu_seconds(profile)
        self._stages: dict[str, Stage] = {}
        self._listening = listening(self._note)

    def __enter__(self) -> Self:
        """Begin to listen."""
        self._listening.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop listening."""
        self._listening.__exit__(kind, error, trace)

    def _note(self, event: Event) -> None:
        """Add up a stage's time; one that ran several times, or was tried again, counts as one."""
        if event.kind not in {"end", "failed"}:
            return
        before = self._stages.get(event.stage)
        self._stages[event.stage] = Stage(
            name=event.stage,
            seconds=round(event.seconds + (before.seconds if before else 0.0), 3),
            reused=event.reused,
            note=(event.note if event.kind == "end" else "") or (before.note if before else ""),
        )

    def summary(
        self,
        dataset: Dataset,
        job: TrainingJob,
        comparison: Comparison,
        standings: Standings,
        stories: tuple[Story, ...],
        tracked: TrackedRun,
    ) -> RunSummary:
        """Return the whole run as one value; its report is yet to be written."""
        return RunSummary(
            profile=self._profile.name,
            provider=self._profile.provider.kind,
            started_at=self._started_at,
            seconds=time.monotonic() - self._began,
            base_model=comparison.base.model_id,
            model_id=comparison.tuned.model_id,
            dataset=dataset.split,
            decisions=dataset.decisions,
            job=job,
            curve=self._curve(tracked),
            comparison=comparison,
            standings=standings,
            evaluation=self._profile.evaluation,
            stories=stories,
            stages=tuple(self._stages.values()),
            cost=self._cost(job, standings),
            prefect=this_run(),
            tracked=tracked,
            report_path="",
        )

    def _curve(self, tracked: TrackedRun) -> tuple[TrainingMetric, ...]:
        return training_curve(self._profile, tracked)

    def _cost(self, job: TrainingJob, standings: Standings) -> Cost:
        worked = _cpu_seconds(self._profile) - self._cpu_s
        spent = plan.spent(self._profile, job, standings.reports)
        return Cost(amount=total(spent), **spent._asdict(), cpu_minutes=worked / 60, trained_tokens=job.trained_tokens)


def _cpu_seconds(profile: Profile) -> float:
    """Return the CPU time of this process and of the local services so far, in seconds over all cores."""
    own = psutil.Process().cpu_times()
    return float(own.user + own.system) + services.cpu_seconds(profile)
