"""A provider's message ends a wait early, once; one about something else, or one that came before, does not."""

from pathlib import Path
from typing import Any

import pytest

from tasks.webhook import Bells


def an_event(job_id: str = "ftjob-1", kind: str = "fine_tuning.job.succeeded") -> dict[str, Any]:
    return {"id": "evt_1", "object": "event", "created_at": 1, "type": kind, "data": {"id": job_id}}


@pytest.fixture
def bells(tmp_path: Path) -> Bells:
    return Bells(tmp_path / "bells")


def slept(bells: Bells, seconds: float, job_id: str = "ftjob-1") -> float:
    pauses: list[float] = []
    bells.sleeper(job_id, pauses.append)(seconds)
    return sum(pauses)


def test_a_message_ends_the_wait_for_its_job_once(bells: Bells) -> None:
    assert slept(bells, 60.0) == 60.0
    assert bells.accept(an_event(), "msg-1") == "ftjob-1"
    assert slept(bells, 60.0, "ftjob-2") == 60.0
    assert slept(bells, 60.0) == 0.0
    assert slept(bells, 0.7) == 0.7


def test_a_repeated_message_rings_nothing(bells: Bells) -> None:
    assert bells.accept(an_event(), "msg-1") == "ftjob-1"
    assert bells.accept(an_event(), "msg-1") is None
    assert bells.accept(an_event(), "msg-2") == "ftjob-1"


@pytest.mark.parametrize("event", [an_event(kind="batch.completed"), an_event(kind="something.new"), {}, {"data": 1}])
def test_a_message_about_something_else_rings_nothing(bells: Bells, event: dict[str, Any]) -> None:
    assert bells.accept(event, "msg-1") is None
    assert slept(bells, 5.0) == 5.0
