"""A run is estimated before it is paid for, and refused where it would cost too much."""

import os
from datetime import date
from pathlib import Path

import pytest
import yaml

from tasks import blueprints, plan, world
from tasks.artifacts import Dataset, workspace
from tasks.core.config import ArmConfig, Profile, load_profile
from tasks.core.endpoints import AzureConfig, ProviderConfig
from tasks.core.errors import ConfigError
from tasks.core.plan import Asking, Estimate, Price, Usage, price_of, total, training_cost
from tasks.core.run import Stage
from tasks.core.statistics import Reach
from tasks.teacher import teach
from tests import runs, staff
from tests.fake_provider import FakeProvider
from tests.worlds import small_shop

PRICE = Price(
    provider="openai",
    model="gpt-4.1-mini*",
    training=5.0,
    input=0.4,
    output=1.6,
    tuned_input=0.8,
    tuned_output=3.2,
    hosting=0.0,
    source="a test",
    read=date(2026, 11, 1),
)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return Dataset(split=runs.a_split(tmp_path), decisions=runs.a_decision_set(tmp_path))


def a_profile(folder: Path, *overrides: str) -> Profile:
    return load_profile("local", (f"workspace={folder}", *overrides))


def asking(price: Price | None, tuned: bool, prompt: int, completion: int) -> float | None:
    return Asking("openai", price, tuned, Usage(prompt, completion)).cost


def test_costs_are_tokens_times_the_prices_of_base_or_tuned() -> None:
    assert training_cost("openai", PRICE, 2_000_000) == 10.0
    assert asking(PRICE, False, 1_000_000, 500_000) == pytest.approx(0.4 + 0.8)
    assert asking(PRICE, True, 2_000_000, 500_000) == pytest.approx(1.6 + 1.6)


def test_a_missing_price_makes_the_cost_unknown_but_on_this_machine_it_is_nothing() -> None:
    unpriced = PRICE.model_copy(update={"training": None, "tuned_output": None})
    assert training_cost("openai", unpriced, 10) is None
    assert training_cost("openai", PRICE, None) is None
    assert asking(unpriced, True, 10, 10) is None
    assert asking(unpriced, False, 10, 10) is not None
    assert asking(None, False, 10, 10) is None
    assert training_cost("local", None, 10) == Asking("local", None, True, Usage(10, 10)).cost == 0.0
    assert (total([1.5, 2.0]), total([1.5, None]), total([])) == (3.5, None, 0.0)


def test_a_price_is_found_by_provider_pattern_and_tier() -> None:
    assert price_of([PRICE], "openai", "gpt-4.1-mini-2025-04-14") == PRICE
    assert price_of([PRICE], "azure", "gpt-4.1-mini-2025-04-14") is None
    assert price_of([PRICE], "openai", "gpt-4.1") is None
    tiered = PRICE.model_copy(update={"tier": "DeveloperTier", "training": 2.5})
    assert price_of([tiered, PRICE], "openai", "gpt-4.1-mini", "DeveloperTier") == tiered
    assert price_of([tiered, PRICE], "openai", "gpt-4.1-mini", "Standard") == PRICE


@pytest.mark.parametrize("name", ["openai", "azure"])
def test_the_bases_of_the_hosted_profiles_have_a_price_for_everything(name: str, dataset: Dataset) -> None:
    made = plan.plan_of(load_profile(name), dataset)
    assert made.cost is not None
    assert made.cost > 0
    assert made.hosting == 0.0  # a DeveloperTier deployment, where deployments cost at all
    assert {offer.provider for offer in made.elsewhere} == {"openai", "azure"}


def test_a_deployment_that_costs_by_the_hour_is_told_and_a_regional_training_has_no_price(dataset: Dataset) -> None:
    profile = load_profile("azure")
    azure = AzureConfig(subscription_id="s", resource_group="g", account="a", sku="Standard", training_type="Standard")
    regional = profile.model_copy(update={"provider": profile.provider.model_copy(update={"azure": azure})})
    made = plan.plan_of(regional, dataset)
    assert made.hosting == 1.70
    assert made.training.cost is None
    assert made.evaluation.cost is not None


def test_a_plan_counts_the_dataset_its_epochs_and_all_who_are_asked(tmp_path: Path, dataset: Dataset) -> None:
    size = Path(dataset.split.train.path).stat().st_size
    asked = Path(dataset.decisions.path).stat().st_size // 4 + 4 * 40
    profile = a_profile(tmp_path, "training.n_epochs=2", "evaluation.arms=[]")
    made = plan.plan_of(profile, dataset)
    assert (made.rows, made.decisions, made.models, made.training.tokens) == (3, 4, 2, size // 4 * 2)
    assert (made.cost, made.minutes, made.evaluation.tokens) == (0.0, None, 2 * asked)
    plan.check_limit(a_profile(tmp_path, "training.max_cost=0"), made)
    more = plan.plan_of(a_profile(tmp_path), dataset)
    assert (more.models, more.evaluation.tokens) == (4, 4 * asked)
    choosing = plan.plan_of(a_profile(tmp_path, "training.checkpoint_decisions=2", "evaluation.arms=[]"), dataset)
    assert choosing.evaluation.tokens == pytest.approx(2 * asked + 3 * asked / 2, abs=3)


def test_what_could_be_found_out_is_taken_from_the_last_interval_or_else_from_the_worst_case(
    tmp_path: Path, dataset: Dataset
) -> None:
    profile = a_profile(tmp_path)
    many = dataset.decisions.model_copy(update={"call_items": 400, "conversations": 80})
    dataset = dataset.model_copy(update={"decisions": many})
    reach = Reach(0.95, 0.8)
    assert plan.plan_of(profile, dataset).detectable == reach.detectable((0.5 / 400) ** 0.5, 80)
    write_summary(tmp_path, age=0)  # an interval of 0.05 to each side, over 260 decisions
    error = 0.05 / 1.959964 * (260 / 400) ** 0.5
    assert plan.plan_of(profile, dataset).detectable == pytest.approx(reach.detectable(error, 80))
    few = dataset.model_copy(update={"decisions": many.model_copy(update={"conversations": 3})})
    assert plan.plan_of(profile, few).detectable is None


def test_a_run_over_the_limit_or_without_a_price_is_refused(tmp_path: Path, dataset: Dataset) -> None:
    made = plan.plan_of(a_profile(tmp_path), dataset)
    profile = a_profile(tmp_path, "training.max_cost=3")
    dear = made.model_copy(update={"training": Estimate(cost=3.0), "evaluation": Estimate(cost=0.5)})
    with pytest.raises(ConfigError, match=r"about 3\.50 USD, and the profile allows 3 \(training\.max_cost\)"):
        plan.check_limit(profile, dear)
    with pytest.raises(ConfigError, match=r"is not known\. Add it to configs/prices\.yaml"):
        plan.check_limit(profile, made.model_copy(update={"training": Estimate()}))
    plan.check_limit(a_profile(tmp_path), dear)


def test_what_was_spent_is_what_the_providers_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "configs").mkdir()
    priced = [PRICE.model_copy(update={"model": model}).model_dump(mode="json") for model in ("base", "large")]
    (tmp_path / "configs" / "prices.yaml").write_text(yaml.safe_dump(priced))
    local = a_profile(tmp_path, "training.base_model=base")
    arms = (ArmConfig(name="large", model="large"), ArmConfig(name="short", model="tuned"))
    hosted = local.model_copy(
        update={
            "provider": ProviderConfig(kind="openai"),
            "evaluation": local.evaluation.model_copy(update={"arms": arms}),
        }
    )
    reports = [runs.a_report(tmp_path, arm, 0.5) for arm in ("base", "tuned", "large", "short")]
    assert plan.spent(hosted, runs.a_job(), reports) == (0.0, None, None)
    monkeypatch.chdir(tmp_path)
    assert {(report.prompt_tokens, report.completion_tokens) for report in reports} == {(1000, 100)}
    job = runs.a_job().model_copy(update={"trained_tokens": 1_000_000})
    asked = 2 * (0.4 * 1000 + 1.6 * 100) + 2 * (0.8 * 1000 + 3.2 * 100)
    assert plan.spent(hosted, job, reports) == (0.0, 5.0, pytest.approx(asked / 1_000_000))
    assert plan.spent(hosted, job.model_copy(update={"trained_tokens": None}), reports).training is None
    assert plan.spent(local, job, reports) == (0.0, 0.0, 0.0)


def write_summary(folder: Path, *, age: int, **changes: object) -> None:
    path = folder / "runs" / str(age) / "summary.json"
    path.parent.mkdir(parents=True)
    path.write_text(runs.a_summary(folder, **changes).model_dump_json())
    os.utime(path, (1000.0 - age, 1000.0 - age))


def test_times_are_those_of_the_last_run_there_that_did_the_work_scaled_to_this_dataset(
    tmp_path: Path, dataset: Dataset
) -> None:
    profile = a_profile(tmp_path, "training.base_model=base", "training.n_epochs=1", "evaluation.arms=[]")
    assert plan.plan_of(profile, dataset).minutes is None

    def ran(age: int, seconds: float, *, reused: bool = False, **changes: object) -> None:
        names = ("synthesis", "training", "evaluation of base", "evaluation of tuned")
        stages = tuple(Stage(name=name, seconds=seconds, reused=reused) for name in names)
        write_summary(tmp_path, age=age, stages=stages, **changes)

    ran(0, 1.0, reused=True)
    ran(1, 1.0, provider="openai")
    ran(2, 60.0)
    ran(3, 6000.0)
    made = plan.plan_of(profile, dataset)
    assert made.synthesis.minutes == 1.0  # as many conversations as then
    assert made.training.tokens is not None
    assert made.training.minutes == pytest.approx(made.training.tokens / 2_500_000)
    assert made.evaluation.minutes == pytest.approx(2.0)
    assert made.minutes == pytest.approx(2.0 + made.training.minutes)


def test_the_models_of_a_teacher_are_planned_before_they_are_asked_by_what_they_cost_last(
    tmp_path: Path, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (world, blueprints):
        monkeypatch.setattr(module, "open_shop", lambda _world: small_shop())
    small = ("synthesis.intents={order_status: 1}", "synthesis.trap_rate=0", "synthesis.max_requests=1")
    teacher = "teacher={agent: {model: big, price: {prompt: 1, completion: 10}}}"
    with FakeProvider(staff.play) as provider:

        def profile_of(train: int) -> Profile:
            counts = (f"synthesis.{split}_conversations={n}" for split, n in zip(SPLITS, (train, 1, 1), strict=True))
            return a_profile(tmp_path, *small, *counts, teacher, f"provider.base_url={provider.base_url}")

        assert plan.synthesis_ahead(profile_of(2)) == Estimate()
        usage = teach(profile_of(2), workspace(profile_of(2)).conversations).report.usage
        assert plan.synthesis_ahead(profile_of(2)) is None
        assert plan.plan_of(profile_of(2), dataset).synthesis == Estimate(tokens=usage.tokens, cost=usage.cost)
        assert plan.synthesis_ahead(profile_of(6)) == Estimate(tokens=usage.tokens, cost=usage.cost)
        others = plan.synthesis_ahead(profile_of(6).model_copy(update={"seed": 8}))
    assert usage.cost
    assert others == Estimate(tokens=2 * usage.tokens, cost=2 * usage.cost)
    assert plan.synthesis_ahead(a_profile(tmp_path)) is None


SPLITS = ("train", "valid", "heldout")
