"""From word that the shop changed to a new model, where policy or tools are others than the last one learned."""

from prefect import flow, get_run_logger

from flows.retrain import retrain
from flows.starting import named
from tasks import stages
from tasks.core.config import Profile
from tasks.core.finding import Finding


@flow(name="follow-contract", flow_run_name=named("follow the contract of"))
def follow_contract(profile: Profile) -> list[Finding]:
    """Retrain where the contract that is served now is another than the last tuned model's; return what differs.

    The run looks, not the receiver of the message: a process that runs for weeks knows the tools of its beginning.
    """
    found = stages.drifted_models(profile)
    log = get_run_logger()
    if not found:
        log.info("No tuned model was trained under another contract than is served now; nothing to do.")
    for finding in found:
        log.info(finding.note)
        retrain(profile)
    return found
