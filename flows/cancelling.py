"""Passes the cancellation of a flow run on to the provider."""

from typing import Any

from prefect.client.schemas.objects import FlowRun, State
from prefect.flows import Flow
from prefect.logging import get_logger

from tasks.cancellation import cancel_jobs_of
from tasks.core.config import Profile


# Prefect calls hooks by keyword, so the names are its own.
def cancel_jobs(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Cancel the jobs that a cancelled run would otherwise leave running."""
    profile = Profile.model_validate(flow_run.parameters["profile"])
    for job_id in cancel_jobs_of(profile, str(flow_run.id)):
        get_logger(__name__).info("Cancelled job %s of the cancelled run %s.", job_id, flow_run.name)
