"""Promotion and rollback as Prefect tasks, each safe to retry."""

from prefect.artifacts import create_markdown_artifact

from tasks import promote, report, rollback
from tasks.core.config import Profile
from tasks.core.promotion import Case, Decision, Promotion, Rollback
from tasks.stages import stage_task


@stage_task("promotion gate", "hold the model of {run_id} against its gate")
def examined(profile: Profile, run_id: str) -> Case:
    """Register a run's model and judge it by the gate that was written down before."""
    return promote.examine(profile, run_id)


@stage_task("promotion", "settle {case.candidate.model_id}", timeout_seconds=900)
def settled(profile: Profile, case: Case, decision: Decision) -> Promotion:
    """Promote or refuse, leave the evidence bundle, and show the rules in Prefect."""
    made = promote.settle(profile, case, decision)
    create_markdown_artifact(
        f"**{made.sentence}**\n\n{report.gate_table(case.verdict)}", key="promotion", description=made.sentence
    )
    return made


@stage_task("rollback", "roll {profile.promotion.registered_model} back", timeout_seconds=900)
def rolled_back(profile: Profile, by: str, reason: str, key: str) -> Rollback:
    """Make the previous champion the champion again."""
    made = rollback.rollback(profile, rollback.Order(by, reason, key))
    create_markdown_artifact(f"**{made.sentence}** {reason}", key="rollback", description=made.sentence)
    return made
