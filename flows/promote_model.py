"""From a measured model to the champion, and back."""

import math

from prefect import flow
from prefect.exceptions import FlowPauseTimeout
from prefect.flow_runs import pause_flow_run
from prefect.input import RunInput
from prefect.runtime import flow_run
from pydantic import Field

from tasks import promoting
from tasks.core.config import Profile
from tasks.core.promotion import Case, Decision, Promotion, Rollback
from tasks.progress import stage
from tasks.report import gate_table

# How often the answer of a person is looked for, in seconds.
LOOK_EVERY_S = 2


class Approval(RunInput):
    """What a person says in the form of the Prefect UI."""

    approve: bool = Field(False, description="Make this model the champion.")
    name: str = Field(min_length=1, description="Who you are; the evidence bundle keeps it.")
    reason: str = Field("", description="Why, or why not.")


@flow(name="promote-model", flow_run_name="promote the model of {run_id}")
def promote_model(profile: Profile, run_id: str) -> Promotion:
    """Hold the model of a finished MLflow run against its gate; it is the champion where gate and people agree."""
    case = promoting.examined(profile, run_id)
    return promoting.settled(profile, case, _decided(case))


def _decided(case: Case) -> Decision:
    rules = case.rules
    if not rules.approval or not case.verdict.passed or case.champion == case.candidate:
        return Decision(answer="approved", by="the gate")
    champion = case.champion.model_id if case.champion else "none"
    text = f"All rules passed. The champion so far: {champion}.\n\n{gate_table(case.verdict)}"
    try:
        return approve_model(case.candidate.model_id, text, rules.approval_minutes)
    except FlowPauseTimeout:
        return Decision(answer="waiting", by="nobody", reason=f"No answer within {rules.approval_minutes:g} minutes.")


# A run of its own: Prefect fails a paused run whose time is over, and the promotion goes on.
@flow(name="approve-model", flow_run_name="approve {model_id}?")
def approve_model(model_id: str, text: str, minutes: float) -> Decision:
    """Pause with a form until a person says yes or no.

    Raises:
        FlowPauseTimeout: Nobody did in time.
    """
    with stage("approval") as progress:
        progress.warn(f"{model_id} waits {minutes:g} minutes for a yes: press Resume on {flow_run.ui_url}")
        given = pause_flow_run(
            wait_for_input=Approval.with_initial_data(description=text),
            timeout=math.ceil(60 * minutes),
            poll_interval=LOOK_EVERY_S,
        )
        answer = "approved" if given.approve else "declined"
        progress.result(f"{answer} by {given.name}")
    return Decision(answer=answer, by=given.name, reason=given.reason)


@flow(name="rollback-model", flow_run_name="roll {profile.promotion.registered_model} back")
def rollback_model(profile: Profile, by: str, reason: str = "") -> Rollback:
    """Make the previous champion the champion again."""
    return promoting.rolled_back(profile, by, reason, str(flow_run.id))
