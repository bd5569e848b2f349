"""The cost of a run: measured tokens and times, prices of the data file, and words where a price is missing."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.core.config import ArmConfig, Profile, load_profile
from tasks.core.cost import ArmCost, CostReport
from tasks.core.errors import ConfigError
from tasks.core.evaluation import EvalReport
from tasks.core.run import RunSummary
from tasks.cost import cost_of
from tasks.evaluate import read_scores
from tests.measured import CONVERSATIONS, a_measured_run

HOSTED = {"provider": "openai", "model": "base", "training": 5.0, "input": 0.4, "output": 1.6}
TUNED = {"tuned_input": 0.8, "tuned_output": 3.2, "hosting": 1.7}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunSummary:
    return a_measured_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Profile:
    profile = load_profile("local")
    monkeypatch.chdir(tmp_path)
    return profile


def priced(folder: Path, **price: Any) -> None:
    (folder / "configs").mkdir(exist_ok=True)
    made = {"source": "a test", "read": date(2026, 11, 1), **price}
    (folder / "configs" / "prices.yaml").write_text(yaml.safe_dump([made]))


def arm(made: CostReport, name: str) -> ArmCost:
    return next(one for one in made.arms if one.arm == name)


def hosted(profile: Profile, run: RunSummary) -> tuple[Profile, RunSummary]:
    provider = profile.provider.model_copy(update={"kind": "openai"})
    return profile.model_copy(update={"provider": provider}), run.model_copy(update={"provider": "openai"})


def test_a_hosted_model_is_paid_by_the_tokens_that_were_counted(tmp_path: Path, here: Profile, run: RunSummary) -> None:
    priced(tmp_path, **HOSTED, **TUNED)
    made = cost_of(*hosted(here, run), conversations=1000)
    base, tuned = arm(made, "base"), arm(made, "tuned")
    counted = run.comparison.base
    assert base.prompt_tokens == pytest.approx(1000 * counted.prompt_tokens / CONVERSATIONS)
    paid = (0.4 * counted.prompt_tokens + 1.6 * counted.completion_tokens) / 1e6
    assert base.inference == pytest.approx(1000 * paid / CONVERSATIONS)
    assert tuned.inference == pytest.approx(2 * base.inference)
    assert (base.hosting, tuned.hosting, tuned.training, base.training) == (0.0, 1.7, pytest.approx(12.5), None)
    assert [one.source for one in made.prices] == ["a test"]
    [against] = made.break_evens
    assert (against.arm, against.against, against.volume) == ("tuned", "base", None)


def test_a_self_hosted_model_costs_machine_hours_and_money_once_the_hour_has_a_price(
    tmp_path: Path, here: Profile, run: RunSummary
) -> None:
    job = run.job.model_copy(update={"created_at": 0, "finished_at": 1800})
    run = run.model_copy(update={"job": job})
    without = cost_of(here, run)
    busy = sum(score.latency_s for score in read_scores(run.comparison.tuned)) / 8
    tuned = arm(without, "tuned")
    assert tuned.machine_hours == pytest.approx(1000 * busy / 3600 / CONVERSATIONS)
    assert (tuned.inference, tuned.training, tuned.training_hours, tuned.hosting) == (None, None, 0.5, None)
    assert "no price known: see configs/prices.yaml" in tuned.note
    assert without.by_hours
    assert without.break_evens[0].note == "not known: no price of tuned"
    priced(tmp_path, provider="local", model="*", hosting=2.0)
    within = cost_of(here, run)
    tuned = arm(within, "tuned")
    assert tuned.inference == pytest.approx(2.0 * (tuned.machine_hours or 0))
    assert (tuned.training, tuned.hosting, within.by_hours) == (1.0, 2.0, False)


def test_unanswered_decisions_are_counted_as_if_they_had_been_answered(
    tmp_path: Path, here: Profile, run: RunSummary
) -> None:
    priced(tmp_path, **HOSTED, **TUNED)
    profile, run = hosted(here, run)
    whole = arm(cost_of(profile, run), "base")
    half = run.comparison.base.model_copy(update={"errored": run.decisions.items // 2})
    compared = run.comparison.model_copy(update={"base": half})
    without = arm(cost_of(profile, run.model_copy(update={"comparison": compared, "standings": None})), "base")
    assert without.prompt_tokens == pytest.approx(2 * (whole.prompt_tokens or 0))


def test_every_arm_that_was_asked_for_has_a_line_and_the_expert_asks_no_model(here: Profile, run: RunSummary) -> None:
    def short(report: EvalReport) -> EvalReport:
        return report.model_copy(update={"arm": "tuned-short"})

    arms = (ArmConfig(name="tuned-short", model="tuned", prompt="short"),)
    assert run.standings is not None
    ranked = run.standings.model_copy(
        update={"reports": (*run.standings.reports, short(run.comparison.tuned)), "notes": {"tuned-short": "shorter"}}
    )
    evaluation = run.evaluation.model_copy(update={"arms": arms})
    made = cost_of(here, run.model_copy(update={"standings": ranked, "evaluation": evaluation}))
    assert [one.arm for one in made.arms] == ["base", "tuned", "tuned-short", "teacher"]
    assert arm(made, "tuned-short").note.startswith("shorter; ")
    assert arm(made, "teacher").note == "a program of this project: it asks no model"
    assert {one.arm for one in made.break_evens} <= {"tuned", "tuned-short"}


def test_a_profile_of_another_provider_is_refused(here: Profile, run: RunSummary) -> None:
    profile, _ = hosted(here, run)
    with pytest.raises(ConfigError, match=r"was at provider 'local'.*Name the profile"):
        cost_of(profile, run)
