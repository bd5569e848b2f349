"""`zava run`: what it will take, how it goes on, and what came of it."""

from pathlib import Path

import pytest
from rich.console import Console

from flows.cli.outcome import show
from flows.cli.progress import StageLines
from flows.cli.services import age
from tasks.progress import Event, listening, stage
from tests import runs
from tests.fake_finetuning import FakeFinetuning
from tests.shell import settings, small, zava


def rows_of(told: str) -> dict[str, str]:
    """Return the rows of a plan by their names; of several under one name the last."""
    return {name: rest.strip() for name, _, rest in (line.partition("  ") for line in told.splitlines()) if rest}


def test_a_plan_is_shown_and_a_no_ends_it_before_anything_is_started(tmp_path: Path) -> None:
    with FakeFinetuning() as provider:
        where = settings(tmp_path, provider__base_url=provider.base_url, training__n_epochs=2, **small(2))
        code, _, err = zava("run", "--plan", *where, given="n\n")
        assert provider.requests == []
    assert code == 0
    rows = rows_of(err)
    assert rows["provider and base"] == "local, zava-base"
    assert rows["rows to train on"] == "2"
    assert rows["synthesis"].startswith("no tokens, 0.00 USD, 0.")
    for step in ("training", "evaluation"):
        assert rows[step].startswith("about ")
        assert "tokens, 0.00 USD, time not known: no such run yet" in rows[step]
    assert rows["training"].endswith("at most 60 min")
    assert rows["to come"].startswith("0.00 USD")
    assert rows["detectable difference"] == "none: too few conversations"
    assert rows["elsewhere"].startswith("azure gpt-4.1-mini* DeveloperTier: training 0.")
    assert rows["elsewhere"].endswith("1.70 USD an hour deployed")
    assert not (tmp_path / "workspace" / "prefect").exists()


def test_a_plan_over_the_limit_of_the_profile_is_refused_without_a_question(tmp_path: Path) -> None:
    where = settings(tmp_path, provider__kind="openai", training__max_cost=0.001, **small(2))
    base = ("--set", "training.base_model=gpt-4.1-mini-2025-04-14")
    code, _, err = zava("run", "--plan", *where, *base)
    assert (code, "Go on?" in err) == (2, False)
    assert rows_of(err)["limit"] == "0.00 USD (training.max_cost)"
    assert "and the profile allows 0.001 (training.max_cost)" in err


def test_the_models_of_a_teacher_are_planned_before_they_are_asked(tmp_path: Path) -> None:
    with FakeFinetuning() as provider:
        where = settings(tmp_path, provider__base_url=provider.base_url, **small(2))
        teacher = "teacher={agent: {model: big, price: {prompt: 2, completion: 10}}, budget: {money: 5}}"
        code, _, err = zava("run", "--plan", *where, "--set", teacher, given="n\n")
        assert provider.requests == []
    rows = rows_of(err)
    assert (code, rows["synthesis"], rows["at most"]) == (0, "6 conversations by big", "5.0 USD (teacher.budget)")
    assert not (tmp_path / "workspace" / "conversations").exists()


def test_the_outcome_fits_eighty_columns_and_holds_the_addresses(tmp_path: Path) -> None:
    console = Console(width=200, record=True, file=None, quiet=False)
    with console.capture() as capture:
        show(console, runs.a_summary(tmp_path))
    text = capture.get()
    table = text.split("The tuned model is better")[0]
    assert max(len(line.rstrip()) for line in table.splitlines()) <= 80
    assert "30.0 (25.0..34.0)" in table
    assert "+60.0" in table
    assert "http://127.0.0.1:5000/#/experiments/1/runs/m1" in text
    assert "zava chat --model ft:base:retail" in text


def test_without_a_terminal_progress_is_plain_lines() -> None:
    console = Console(width=100, force_terminal=False)
    with console.capture() as capture, StageLines(console) as lines, listening(lines):
        with stage("synthesis") as progress:
            progress.step(5, 10)
            progress.result("10 conversations", reused=True)
        with stage("training") as progress:
            progress.warn("silent for long")
            progress.result("model ft:1")
    first, second, third = capture.get().splitlines()
    assert first.startswith("synthesis ")
    assert first.endswith("10 conversations (there already)")
    assert second.endswith("warning: silent for long")
    assert third.endswith("model ft:1")


def test_lines_without_a_terminal_come_in_longer_and_longer_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("flows.cli.progress.time.monotonic", lambda: now)
    console = Console(width=100, force_terminal=False)
    lines = StageLines(console)
    with console.capture() as capture:
        lines(Event("start", "training"))
        for second in range(1, 601):
            now = float(second)
            lines(Event("step", "training", now, second, 1200, counting=now))
    told = capture.get().splitlines()
    assert told[0].split() == ["training", "10/1,200", "1.0/s,", "about", "19", "min", "50", "s", "left"]
    assert len(told) == 11


def test_what_is_counted_in_a_unit_is_told_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("flows.cli.progress.time.monotonic", lambda: now)
    console = Console(width=100, force_terminal=False)
    lines = StageLines(console)
    with console.capture() as capture:
        lines(Event("start", "upload"))
        now = 10.0
        lines(Event("step", "upload", now, 20480, 40960, unit="KiB", counting=now))
    assert capture.get().split() == ["upload", "20,480/40,960", "KiB", "2,048.0/s,", "about", "10", "s", "left"]


def test_on_a_terminal_a_bar_shows_count_and_rate_and_is_gone_at_the_end() -> None:
    console = Console(width=100, force_terminal=True)
    with (
        console.capture() as capture,
        StageLines(console) as lines,
        listening(lines),
        stage("synthesis") as progress,
    ):
        progress.step(5, 10)
        lines._progress.refresh()
        progress.result("10 conversations")
    assert "5/10" in capture.get()
    assert "10 conversations" in capture.get()


@pytest.mark.parametrize(("seconds", "said"), [(5.4, "5 s"), (185, "3 min 05 s"), (7800, "2 h 10 min")])
def test_durations_are_said_as_a_person_says_them(seconds: float, said: str) -> None:
    assert age(seconds) == said
