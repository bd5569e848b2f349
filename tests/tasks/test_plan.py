"""A run is estimated before it is paid for, and refused where it would cost too much."""

import os
from datetime import date
from pathlib import Path

import pytest
import yaml

from tasks import plan
from tasks.artifacts import Dataset
from tasks.core.config import Profile, load_profile
from tasks.core.endpoints import ProviderConfig
from tasks.core.errors import ConfigError
from tasks.core.plan import Price, Usage, detectable_difference, evaluation_cost, price_of, training_cost
from tasks.core.run import Stage
from tests import runs

PRICE = Price(
    provider="openai",
    model="gpt-4.1-mini*",
    training=5.0,
    input=0.4,
    output=1.6,
    tuned_input=0.8,
    tuned_output=3.2,
    source="a test",
    read=date(2026, 11, 1),
)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return Dataset(split=runs.a_split(tmp_path), decisions=runs.a_decision_set(tmp_path))


def a_profile(folder: Path, *overrides: str) -> Profile:
    return load_profile("local", (f"workspace={folder}", *overrides))


def test_costs_are_tokens_times_prices_for_both_arms() -> None:
    assert training_cost("openai", PRICE, 2_000_000) == 10.0
    asked, more = Usage(1_000_000, 500_000), Usage(2_000_000, 500_000)
    assert evaluation_cost("openai", PRICE, asked, asked) == pytest.approx(0.4 + 0.8 + 0.8 + 1.6)
    assert evaluation_cost("openai", PRICE, asked, more) == pytest.approx(0.4 + 0.8 + 1.6 + 1.6)


def test_a_missing_price_makes_the_cost_unknown_but_on_this_machine_it_is_nothing() -> None:
    unpriced = PRICE.model_copy(update={"training": None, "tuned_output": None})
    assert training_cost("openai", unpriced, 10) is None
    assert training_cost("openai", PRICE, None) is None
    asked = Usage(10, 10)
    assert evaluation_cost("openai", unpriced, asked, asked) is None
    assert evaluation_cost("openai", None, asked, asked) is None
    assert training_cost("local", None, 10) == evaluation_cost("local", None, asked, asked) == 0.0


def test_a_price_is_found_by_provider_and_pattern() -> None:
    assert price_of([PRICE], "openai", "gpt-4.1-mini-2025-04-14") == PRICE
    assert price_of([PRICE], "azure", "gpt-4.1-mini-2025-04-14") is None
    assert price_of([PRICE], "openai", "gpt-4.1") is None
    assert all(price.source for price in plan.known_prices())


def test_more_decisions_find_smaller_differences() -> None:
    assert detectable_difference(400, None, 0) == pytest.approx(0.099, abs=0.001)
    assert detectable_difference(400, 0.05, 100) == pytest.approx(0.05 * 2.80 / 1.96 / 2)


def test_a_plan_counts_the_dataset_and_its_epochs(tmp_path: Path, dataset: Dataset) -> None:
    size = Path(dataset.split.train.path).stat().st_size
    made = plan.plan_of(a_profile(tmp_path, "training.n_epochs=2"), dataset)
    assert (made.rows, made.decisions, made.training_tokens) == (3, 4, size // 4 * 2)
    assert (made.cost, made.minutes) == (0.0, None)
    plan.check_limit(a_profile(tmp_path, "training.max_cost=0"), made)


def test_a_run_over_the_limit_or_without_a_price_is_refused(tmp_path: Path, dataset: Dataset) -> None:
    made = plan.plan_of(a_profile(tmp_path), dataset)
    profile = a_profile(tmp_path, "training.max_cost=3")
    dear = made.model_copy(update={"training_cost": 3.0, "evaluation_cost": 0.5})
    with pytest.raises(ConfigError, match=r"about 3\.50 USD, and the profile allows 3 \(training\.max_cost\)"):
        plan.check_limit(profile, dear)
    with pytest.raises(ConfigError, match=r"is not known\. Add it to configs/prices\.yaml"):
        plan.check_limit(profile, made.model_copy(update={"training_cost": None}))
    plan.check_limit(a_profile(tmp_path), dear)


def test_what_was_spent_is_what_the_provider_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "configs").mkdir()
    priced = [PRICE.model_copy(update={"model": "base"}).model_dump(mode="json")]
    (tmp_path / "configs" / "prices.yaml").write_text(yaml.safe_dump(priced))
    local = a_profile(tmp_path, "training.base_model=base")
    hosted = local.model_copy(update={"provider": ProviderConfig(kind="openai")})
    compared = runs.a_comparison(tmp_path)
    assert plan.spent(hosted, runs.a_job(), compared) is None
    monkeypatch.chdir(tmp_path)
    base, tuned = compared.base, compared.tuned
    asked = 0.4 * base.prompt_tokens + 1.6 * base.completion_tokens
    asked += 0.8 * tuned.prompt_tokens + 3.2 * tuned.completion_tokens
    job = runs.a_job().model_copy(update={"trained_tokens": 1_000_000})
    assert plan.spent(hosted, job, compared) == pytest.approx(5.0 + asked / 1_000_000)
    assert plan.spent(hosted, job.model_copy(update={"trained_tokens": None}), compared) is None
    assert plan.spent(local, job, compared) == 0.0


def test_time_is_that_of_the_last_run_that_trained(tmp_path: Path, dataset: Dataset) -> None:
    profile = a_profile(tmp_path)
    for age, (seconds, reused) in enumerate([(60.0, True), (1200.0, False), (2400.0, False)]):
        stages = (Stage(name="training", seconds=seconds, reused=reused),)
        path = tmp_path / "runs" / str(age) / "summary.json"
        path.parent.mkdir(parents=True)
        path.write_text(runs.a_summary(tmp_path, stages=stages, seconds=seconds).model_dump_json())
        os.utime(path, (1000.0 - age, 1000.0 - age))
    assert plan.plan_of(profile, dataset).minutes == 20.0
