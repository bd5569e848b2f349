"""Learns from Prefect that a run was cancelled, and passes it on to the provider."""

import time
from collections.abc import Callable
from uuid import UUID

from prefect.client.orchestration import get_client

from tasks import train
from tasks.artifacts import workspace
from tasks.clients import openai_client
from tasks.core.config import Profile
from tasks.core.training import FINISHED

ASK_EVERY_S = 5.0


def cancellation_of(run_id: str, *, now: Callable[[], float] = time.monotonic) -> Callable[[], bool]:
    """Return a question that asks the server, at most every five seconds, whether the flow run is being cancelled."""
    asked_at = float("-inf")
    answer = False

    def is_cancelled() -> bool:
        nonlocal asked_at, answer
        if not answer and now() - asked_at >= ASK_EVERY_S:
            asked_at = now()
            with get_client(sync_client=True) as client:
                state = client.read_flow_run(UUID(run_id)).state
            answer = state is not None and (state.is_cancelling() or state.is_cancelled())
        return answer

    return is_cancelled


def cancel_jobs_of(profile: Profile, run_id: str) -> list[str]:
    """Cancel the living jobs that a flow run started or adopted, and return their ids.

    Raises:
        ProviderUnavailableError: The provider does not answer; a job may go on and cost.
    """
    cancelled = []
    with openai_client(profile.provider) as client:
        for entry in workspace(profile).ledger.of_run(run_id):
            if entry.job_id is None:
                continue
            job = train.read_job(client, entry.job_id, entry.job_key)
            if job.state not in FINISHED:
                train.cancel_job(client, job.job_id, job.job_key)
                cancelled.append(job.job_id)
    return cancelled
