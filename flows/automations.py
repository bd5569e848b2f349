"""What Prefect does about runs that fail, come late or are lost, without anybody looking."""

from datetime import timedelta

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ActionTypes, CallWebhook, ChangeFlowRunState, SendNotification
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from prefect.exceptions import ObjectNotFound

from tasks.core.config import Profile
from tasks.core.errors import ConfigError

HEARTBEAT = "prefect.flow-run.heartbeat"
ENDED = frozenset(f"prefect.flow-run.{state}" for state in ("Completed", "Failed", "Cancelled", "Crashed", "TimedOut"))
TROUBLE = frozenset(f"prefect.flow-run.{state}" for state in ("Failed", "TimedOut", "Crashed", "Late"))
ANY_RUN = ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"})
WHAT = "{{ flow_run.name }} ({{ flow.name }}) is {{ flow_run.state.name }}: {{ flow_run.state.message }}"
ADDRESS = "{{ flow_run|ui_url }}"
TOLD = {
    "run": "flow_run.name",
    "flow": "flow.name",
    "state": "flow_run.state.name",
    "message": "flow_run.state.message",
    "address": "flow_run|ui_url",
}
PAYLOAD = "{" + ", ".join(f'"{name}": {{{{ ({value})|tojson }}}}' for name, value in TOLD.items()) + "}"


def automate(client: SyncPrefectClient, profile: Profile) -> list[str]:
    """Register the automations of a profile, anew where they are there; return their names.

    Raises:
        ConfigError: There is no block as `deployment.alerts` names it.
    """
    wanted = [lost_runs(profile, timedelta(seconds=profile.deployment.lost_after_s))]
    name = f"{profile.name}: alerts"
    if profile.deployment.alerts:
        wanted.append(_alerts(profile, name, _told(client, profile.deployment.alerts)))
    for old in (wanted[0].name, name):
        for found in client.read_automations_by_name(old):
            client.delete_automation(found.id)
    for automation in wanted:
        client.create_automation(automation)
    return [automation.name for automation in wanted]


def tag_of(profile: Profile) -> str:
    """Return the tag of all runs of a profile."""
    return f"profile:{profile.name}"


def lost_runs(profile: Profile, silence: timedelta) -> AutomationCore:
    """Return the automation that ends runs without a sign of life; `reconcile` begins them again."""
    trigger = EventTrigger(
        posture=Posture.Proactive,
        match=ANY_RUN,
        match_related=_of(profile),
        for_each={"prefect.resource.id"},
        after={HEARTBEAT},
        expect={HEARTBEAT, *ENDED},
        threshold=1,
        within=silence,
    )
    message = f"Lost: no sign of life for {silence.total_seconds():.0f} s."
    return AutomationCore(
        name=f"{profile.name}: lost runs",
        description="A run whose process or machine is gone ends as crashed.",
        trigger=trigger,
        actions=[ChangeFlowRunState(state=StateType.CRASHED, message=message)],
    )


def _alerts(profile: Profile, name: str, action: ActionTypes) -> AutomationCore:
    trigger = EventTrigger(
        posture=Posture.Reactive,
        match=ANY_RUN,
        match_related=_of(profile),
        for_each={"prefect.resource.id"},
        expect=set(TROUBLE),
        threshold=1,
        within=timedelta(0),
    )
    text = "Tells of failed, late and crashed runs."
    return AutomationCore(name=name, description=text, trigger=trigger, actions=[action])


def _of(profile: Profile) -> ResourceSpecification:
    return ResourceSpecification(
        {"prefect.resource.role": "tag", "prefect.resource.id": f"prefect.tag.{tag_of(profile)}"}
    )


def _told(client: SyncPrefectClient, block: str) -> ActionTypes:
    """Return the call of a block, a webhook's or a notification's."""
    kind, name = block.split("/")
    try:
        found = client.read_block_document_by_name(name, kind, include_secrets=False)
    except ObjectNotFound as error:
        raise ConfigError(f"Prefect has no block {block!r}, as deployment.alerts says; make it in its UI.") from error
    if kind == "webhook":
        return CallWebhook(block_document_id=found.id, payload=PAYLOAD)
    return SendNotification(block_document_id=found.id, subject=WHAT, body=f"{WHAT}\n{ADDRESS}")
