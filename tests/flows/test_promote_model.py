"""Promotion, refusal, approval and rollback as flows on a real Prefect server, with a real MLflow registry."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName
from prefect.client.schemas.objects import FlowRun

from flows import promote_model as flow_module
from flows.promote_model import promote_model, rollback_model
from flows.retrain import retrain
from tasks.champion import champion_here
from tasks.core.config import Profile, load_profile
from tasks.core.promotion import Promotion
from tests.cases import faults, good_evidence
from tests.fake_finetuning import FakeFinetuning
from tests.promotions import a_finished_run, a_store, aliases, bundles, settings

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_server")]

# What a summary alone decides; the other two need a history.
BY_SUMMARY = {"champion", "not_rolled_back"}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return a_store(tmp_path_factory.mktemp("mlflow"))


@pytest.fixture
def promotable(store: Path, tmp_path: Path) -> Iterator[Profile]:
    with FakeFinetuning() as provider:
        yield load_profile("local", settings(store, tmp_path, provider.base_url))


def test_a_model_is_promoted_refused_by_each_rule_and_taken_back(promotable: Profile, tmp_path: Path) -> None:
    first, second = (a_finished_run(promotable, model_id) for model_id in ("ft:one", "ft:two"))
    assert promote_model(promotable, first).outcome == "promoted"
    for rule, changes in faults(good_evidence(tmp_path)).items():
        if rule in BY_SUMMARY:
            continue
        run_id = a_finished_run(promotable, "ft:bad", **changes)
        made = promote_model(promotable, run_id)
        assert (made.outcome, [one.rule for one in made.case.verdict.failed]) == ("refused", [rule])
        assert [name.split("-")[1] for name in bundles(promotable, run_id)] == ["refused.json"]
        assert aliases(promotable) == {"champion": "ft:one"}
    assert promote_model(promotable, second).outcome == "promoted"
    assert aliases(promotable) == {"champion": "ft:two", "previous": "ft:one"}
    with FakeFinetuning(models={"ft:one"}) as provider:
        served = promotable.provider.model_copy(update={"base_url": provider.base_url})
        made_back = rollback_model(promotable.model_copy(update={"provider": served}), "bob", "wrong refunds")
    assert made_back.restored.model_id == "ft:one"
    assert aliases(promotable) == {"champion": "ft:one", "previous": "ft:two"}
    refused = promote_model(promotable, second)
    assert [one.rule for one in refused.case.verdict.failed] == ["not_rolled_back"]


def approving(profile: Profile, minutes: float) -> Profile:
    rules = profile.promotion.model_copy(update={"approval": True, "approval_minutes": minutes})
    return profile.model_copy(update={"promotion": rules})


def paused(client: SyncPrefectClient, model_id: str) -> FlowRun:
    """Return the run that waits for a yes to this model."""
    named = FlowRunFilter(name=FlowRunFilterName(any_=[f"approve {model_id}?"]))
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        for found in client.read_flow_runs(flow_run_filter=named):
            if found.state and found.state.is_paused():
                return found
        time.sleep(0.2)
    raise AssertionError(f"nothing waits for a yes to {model_id}")


def answered(run_id: UUID, client: SyncPrefectClient, form: dict[str, Any]) -> str:
    """Fill the form in, as the UI does, and return what the server says of it."""
    said = client.request("POST", "/flow_runs/{id}/resume", path_params={"id": run_id}, json={"run_input": form})
    return str(said.json()["status"])


@pytest.mark.parametrize(("approve", "outcome"), [(True, "promoted"), (False, "declined")])
def test_a_person_answers_in_the_form_of_the_paused_run(
    approve: bool, outcome: str, promotable: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow_module, "LOOK_EVERY_S", 0.5)
    profile = approving(promotable, 5)
    model_id = f"ft:{outcome}"
    run_id = a_finished_run(profile, model_id)

    def person() -> list[str]:
        with get_client(sync_client=True) as client:
            run = paused(client, model_id)
            forms = ({"approve": approve}, {"approve": approve, "name": "ada", "reason": "after a look"})
            return [answered(run.id, client, form) for form in forms]

    with ThreadPoolExecutor(1) as pool:
        said = pool.submit(copy_context().run, person)
        made = promote_model(profile, run_id)
    assert said.result() == ["REJECT", "ACCEPT"]
    assert made.outcome == outcome
    assert (made.decision.by, made.decision.reason) == ("ada", "after a look")
    assert aliases(profile) == ({"champion": model_id} if approve else {})


def test_without_an_answer_in_time_the_model_stays_the_challenger_and_the_flow_succeeds(
    promotable: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow_module, "LOOK_EVERY_S", 0.5)
    profile = approving(promotable, 1 / 60)
    state = promote_model(profile, a_finished_run(profile, "ft:late"), return_state=True)
    assert state.is_completed()
    made = state.result()
    assert made.outcome == "waiting"
    assert aliases(profile) == {"challenger": "ft:late"}
    assert champion_here(profile) is None


def with_rules(profile: Profile, **rules: object) -> Profile:
    changed = profile.promotion.model_copy(update={"min_stories": 0, **rules})
    return profile.model_copy(update={"promotion": changed})


def test_promotion_is_the_last_stage_of_a_retraining_and_holds_it_against_the_champion(
    profile: Profile, provider: FakeFinetuning
) -> None:
    profile = with_rules(profile, min_yield=0.0)
    first = retrain(profile)
    assert aliases(profile) == {"champion": first.model_id}
    assert champion_here(profile) == first.model_id
    report = Path(first.report_path).read_text()
    assert f"{first.model_id} is the champion." in report

    # The next model does not answer as well.
    answer = provider.chat
    provider.chat = lambda request: (
        {"role": "assistant", "content": "No."} if request["model"].endswith("ftjob-2") else answer(request)
    )
    worse = profile.training.model_copy(update={"seed": 9})
    second = retrain(profile.model_copy(update={"training": worse}))
    assert second.model_id.endswith("ftjob-2")
    assert aliases(profile) == {"champion": first.model_id}
    [name] = bundles(profile, second.tracked.run_id)
    kept = Promotion.model_validate_json(
        (profile.workspace / "runs" / second.tracked.run_id / "promotion" / name).read_text()
    )
    failed = {one.rule: one.figure for one in kept.case.verdict.failed}
    assert failed["champion"] == pytest.approx(-1.0)
    assert "gain" in failed
