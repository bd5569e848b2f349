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


def test_the_time_before_a_stage_counts_is_no_part_of_its_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 20.0, 20.0, 20.0, 30.0, 30.0, 30.0, 32.0, 32.0, 40.0, 40.0, 41.0])
    monkeypatch.setattr("tasks.progress.time.monotonic", lambda: next(clock))
    heard: list[Event] = []
    with listening(heard.append), stage("training") as progress:
        for done in (0, 0, 4, 20):
            progress.step(done, 100)
    steps = [event for event in heard if event.kind == "step"]
    assert [(event.seconds, event.counting) for event in steps] == [(20, 0), (30, 0), (32, 2), (40, 10)]
