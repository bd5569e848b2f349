"""How a run begins: a name that says what it does and why, and a moment of patience where a schedule asks for it."""

import random
import time
from collections.abc import Callable
from datetime import UTC, datetime

from prefect import get_run_logger
from prefect.runtime import flow_run

from tasks.core.config import Profile
from tasks.core.operation import ScheduledFlow

# Prefect's own tag of what its scheduler made, and ours of what a message from outside began.
SCHEDULED, BY_WEBHOOK = "auto-scheduled", "by:webhook"


def why() -> str:
    """Return what began this run: a schedule, a webhook, another run, or a person."""
    if SCHEDULED in flow_run.tags:
        return "by schedule"
    if BY_WEBHOOK in flow_run.tags:
        return "by webhook"
    return "by another run" if flow_run.parent_flow_run_id else "by hand"


def named(what: str) -> Callable[[], str]:
    """Return a maker of names such as `retrain local by webhook 2026-11-22 14:03`, in UTC."""

    def run_name() -> str:
        return f"{what} {flow_run.parameters['profile'].name} {why()} {datetime.now(UTC):%Y-%m-%d %H:%M}"

    return run_name


def wait_for_turn(profile: Profile, flow: ScheduledFlow, sleep: Callable[[float], None] = time.sleep) -> None:
    """Wait a random part of the schedule's jitter where the clock began this run, so that not all begin at once."""
    schedule = profile.deployment.schedules.get(flow)
    if schedule is None or not schedule.jitter_minutes or SCHEDULED not in flow_run.tags:
        return
    seconds = random.uniform(0, 60 * schedule.jitter_minutes)
    get_run_logger().info("Begins in %.0f s.", seconds)
    sleep(seconds)
