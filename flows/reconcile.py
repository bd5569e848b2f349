"""Puts in order what killed workers left behind; run it by hand, or let it run every so often."""

from prefect import flow
from prefect.artifacts import create_table_artifact

from flows.retrain import retrain
from flows.starting import named, wait_for_turn
from tasks import reconcile as left_behind
from tasks import stages
from tasks.core.config import Profile
from tasks.core.finding import Finding


@flow(name="reconcile", flow_run_name=named("reconcile"))
def reconcile(profile: Profile) -> list[Finding]:
    """Finish, adopt or report each run, job, upload and deployment that belongs to nobody; safe to repeat.

    Lost runs of a deployment begin again, `deployment.retries` times. Where a base model is about to be retired and the
    profile names a successor, that one is trained now; where policy or tools are others than the last model learned and
    the profile wants it, a new one is.
    """
    wait_for_turn(profile, "reconcile")
    found = [*stages.reconciled_runs(profile), *stages.lost_runs(profile), *stages.reconciled_jobs(profile)]
    found += [*stages.idle_things(profile), *stages.retiring_bases(profile), *stages.drifted_models(profile)]
    if found:
        rows = [finding.model_dump(mode="json") for finding in found]
        create_table_artifact(rows, key="reconcile", description="What was left behind, and what was done about it.")
    if wanted := left_behind.training_due(profile, found):
        retrain(wanted)
    return found
