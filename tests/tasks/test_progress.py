"""Stages tell their listeners what happens, and only while they listen."""

import pytest

from tasks.progress import Event, listening, stage


def test_a_stage_tells_start_steps_and_end() -> None:
    heard: list[Event] = []
    with listening(heard.append), stage("synthesis") as progress:
        progress.step(1, 2, "one")
        progress.warn("slow")
        progress.result("2 made", reused=True)
    assert [event.kind for event in heard] == ["start", "step", "warning", "end"]
    assert (heard[1].done, heard[1].total, heard[1].note) == (1, 2, "one")
    assert (heard[3].note, heard[3].reused) == ("2 made", True)
    with stage("later"):
        pass
    assert len(heard) == 4


def test_a_failing_stage_tells_why_and_lets_the_error_rise() -> None:
    heard: list[Event] = []
    with listening(heard.append), pytest.raises(ValueError, match="no rows"), stage("validation"):
        raise ValueError("no rows")
    assert [(event.kind, event.note) for event in heard] == [("start", ""), ("failed", "no rows")]
