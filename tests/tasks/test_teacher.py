"""The LLM teacher in the shop, against a provider that fails in every way that providers do."""

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasks import blueprints, world
from tasks.core.blueprint import Take
from tasks.core.config import Profile
from tasks.core.errors import BudgetSpentError, ConfigError, ProviderError, ProviderUnavailableError
from tasks.simulate import read_conversations
from tasks.teacher import report_of, teach
from tests import staff
from tests.fake_provider import FakeProvider, Reply, Request, call, fault, garbage, reset, say
from tests.worlds import small_shop
from zava_mcp import policy

CONVERSATIONS = 6
POLICY = policy.text()
REQUESTS = 6 * CONVERSATIONS  # two of the customer, four of the agent in each


@pytest.fixture(autouse=True)
def _small_world(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world, "open_shop", lambda _world: small_shop())
    monkeypatch.setattr(blueprints, "open_shop", lambda _world: small_shop())


def profile_of(base_url: str, **teacher: Any) -> Profile:
    return Profile.model_validate(
        {
            "name": "test",
            "synthesis": {
                "intents": {"order_status": 1},
                "trap_rate": 0,
                "max_requests": 1,
                "train_conversations": 3,
                "valid_conversations": 1,
                "heldout_conversations": 2,
            },
            "teacher": {"agent": {"model": "big"}, "customer": {"model": "small"}, "concurrency": 3, **teacher},
            "provider": {"kind": "local", "base_url": base_url},
            "training": {"base_model": "base"},
        }
    )


def failing_once(broken: Reply) -> Callable[[Request], Reply]:
    """Return a script on which every request fails the first time."""
    seen = Counter[str]()

    def script(request: Request) -> Reply:
        key = json.dumps(request)
        seen[key] += 1
        return broken if seen[key] == 1 else staff.play(request)

    return script


@pytest.mark.slow
def test_a_changed_tool_lets_only_the_conversations_that_use_it_be_held_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def calls_by_email(take: Take) -> bool:
        assert take.conversation is not None
        return any(one.name == "find_user_id_by_email" for m in take.conversation.messages for one in m.tool_calls)

    def change(name: str) -> None:
        serve = world.served_tools
        monkeypatch.setattr(world, "served_tools", lambda store: [anew(tool, name) for tool in serve(store)])

    def anew(tool: dict[str, Any], name: str) -> dict[str, Any]:
        function = tool["function"]
        said = f"{function['description']} Spell it right."
        return {**tool, "function": {**function, "description": said}} if function["name"] == name else tool

    with FakeProvider(staff.play) as provider:
        profile = profile_of(provider.base_url)
        teach(profile, tmp_path)
        touched = sum(map(calls_by_email, takes_in(tmp_path)))
        assert 0 < touched < CONVERSATIONS
        change("find_user_id_by_email")
        taught = teach(profile, tmp_path)
        assert taught.report.kept == CONVERSATIONS
        assert len(provider.requests) == REQUESTS + touched * REQUESTS // CONVERSATIONS
        asked = len(provider.requests)
        change("exchange_delivered_order_items")  # which nobody calls
        assert teach(profile, tmp_path).shards != taught.shards
        assert len(provider.requests) == asked
        monkeypatch.setattr(world.policy, "text", lambda: f"{POLICY} Be brief.")
        assert teach(profile, tmp_path).report.kept == CONVERSATIONS
        assert len(provider.requests) == asked + REQUESTS


def takes_in(folder: Path) -> list[Take]:
    return [Take.model_validate_json(file.read_bytes()) for file in sorted(folder.glob("*/takes/*.json"))]


def asked_once(provider: FakeProvider) -> bool:
    return max(Counter(json.dumps(request) for request in provider.requests).values()) == 1


def test_two_models_hold_the_conversations_so_many_at_a_time(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    with FakeProvider(staff.play, wait_for=3) as provider:
        taught = teach(profile_of(provider.base_url), tmp_path, lambda done, total: told.append((done, total)))
    assert provider.most_in_flight == 3
    assert sorted(told) == [(done, CONVERSATIONS) for done in range(1, CONVERSATIONS + 1)]
    played = list(read_conversations(taught.shards))
    assert Counter(c.split for c in played) == {"train": 3, "valid": 1, "heldout": 2}
    assert {c.teacher for c in played} == {"big"}
    assert {c.goal.outcome if c.goal else "" for c in played} == {"order_status: answered"}
    assert {request["model"] for request in provider.requests if staff.is_customer(request)} == {"small"}
    report = taught.report
    assert (report.planned, report.kept, report.faults, report.usage.calls) == (6, 6, {}, REQUESTS)
    assert (report.usage.tokens, report.usage.cost) == (110 * REQUESTS, None)


@pytest.mark.parametrize(
    "broken",
    [fault(429, retry_after=0.02), fault(500, retry_after=0.02), fault(503, retry_after=0.02)],
    ids=["429", "500", "503"],
)
def test_a_provider_that_is_busy_is_asked_again_when_it_says(tmp_path: Path, broken: Reply) -> None:
    with FakeProvider(failing_once(broken)) as provider:
        taught = teach(profile_of(provider.base_url), tmp_path)
    assert taught.report.kept == CONVERSATIONS
    assert taught.report.usage.calls == REQUESTS
    assert len(provider.requests) == 2 * REQUESTS


@pytest.mark.parametrize(
    ("broken", "timeout_s"),
    [(garbage(), 60), (fault(400), 60), (say("late").after(60), 4)],
    ids=["garbage", "400", "late"],
)
def test_what_is_not_answered_stays_open_and_nothing_else_is_asked_again(
    tmp_path: Path, broken: Reply, timeout_s: float
) -> None:
    def one_is_ill(request: Request) -> Reply:
        ill = not staff.is_customer(request) and len(request["messages"]) == 4 and not provider_is_well
        return broken if ill and "train-7-00001" in marks(request) else staff.play(request)

    def marks(request: Request) -> str:
        return "train-7-00001" if request["messages"][1]["content"] == ill_words[0] else ""

    provider_is_well, ill_words = True, [""]
    with FakeProvider(staff.play) as provider:
        first = teach(profile_of(provider.base_url), tmp_path / "well")
        ill_words = [c.messages[1].content or "" for c in read_conversations(first.shards) if "train-7-00001" in c.id]
    provider_is_well = False
    with FakeProvider(one_is_ill) as provider:
        profile = profile_of(provider.base_url, timeout_s=timeout_s)
        with pytest.raises(ProviderUnavailableError, match=r"5 of 6 conversations are finished and kept.*Run again"):
            teach(profile, tmp_path / "ill")
        asked = len(provider.requests)
        provider_is_well = True
        assert teach(profile, tmp_path / "ill").report.kept == CONVERSATIONS
        assert len(provider.requests) - asked == 4  # three more of the agent, one of the customer


@pytest.mark.parametrize("broken", [call("get_user_details", '{"user_id": '), call("open_door", {})])
def test_a_call_that_is_no_call_is_the_agents_fault_and_told_once(tmp_path: Path, broken: Reply) -> None:
    def script(request: Request) -> Reply:
        told = "first try at this was refused" in request["messages"][0]["content"]
        is_first = not staff.is_customer(request) and len(request["messages"]) == 2
        return broken if is_first and not told else staff.play(request)

    with FakeProvider(script) as provider:
        report = teach(profile_of(provider.base_url), tmp_path).report
    assert (report.kept, report.mended) == (CONVERSATIONS, CONVERSATIONS)
    [(fault_kind, count)] = report.faults.items()
    assert fault_kind.startswith("agent: format: arguments ")
    assert count == CONVERSATIONS


def test_an_agent_that_breaks_the_policy_of_the_shop_is_told_once(tmp_path: Path) -> None:
    def script(request: Request) -> Reply:
        told = "first try at this was refused" in request["messages"][0]["content"]
        if staff.is_customer(request) or told:
            return staff.play(request)
        if len(request["messages"]) == 2:
            return call("get_order_details", {"order_id": re.findall(r"#W\d+", request["messages"][1]["content"])[0]})
        return say(f"Your order is {json.loads(request['messages'][3]['content'])['status']}. Anything else?")

    with FakeProvider(script) as provider:
        report = teach(profile_of(provider.base_url), tmp_path).report
    assert (report.kept, report.mended) == (CONVERSATIONS, CONVERSATIONS)
    assert report.faults == {"agent: policy: acted before the customer was found": CONVERSATIONS}


@pytest.mark.parametrize(
    "refusal",
    [
        Reply(message={"role": "assistant", "content": None, "refusal": "I cannot do that."}),
        Reply(message={"role": "assistant", "content": ""}, finish_reason="content_filter"),
        fault(400, code="content_filter"),
        say(" "),
    ],
    ids=["refusal", "filtered", "filtered request", "silence"],
)
def test_a_model_that_refuses_gives_no_conversation_and_does_not_stop_the_others(
    tmp_path: Path, refusal: Reply
) -> None:
    def script(request: Request) -> Reply:
        has_email = "@" in request["messages"][1]["content"]
        return refusal if not staff.is_customer(request) and has_email else staff.play(request)

    with FakeProvider(script) as provider:
        report = teach(profile_of(provider.base_url), tmp_path).report
    by_email = sum("email" in (take.blueprint.facts if take.blueprint else {}) for take in takes_in(tmp_path))
    assert 0 < by_email < CONVERSATIONS
    assert report.kept == CONVERSATIONS - by_email
    assert sum(report.faults.values()) == 2 * by_email
    assert all(name.startswith("agent: ") for name in report.faults)


@pytest.mark.parametrize(
    ("budget", "most"),
    [({"calls": 10}, 10), ({"tokens": 1100}, 12), ({"money": 0.01}, 12)],
    ids=["calls", "tokens", "money"],
)
def test_a_budget_stops_cleanly_and_the_next_run_pays_only_for_the_rest(
    tmp_path: Path, budget: dict[str, float], most: int
) -> None:
    price = {"prompt": 8, "completion": 20}  # a request of 110 tokens costs 0.001 USD
    models = {"agent": {"model": "big", "price": price}, "customer": {"model": "small", "price": price}}
    with FakeProvider(staff.play) as provider:
        poor = profile_of(provider.base_url, budget=budget, **models)
        for _ in range(2):  # what was spent stays spent
            with pytest.raises(BudgetSpentError, match=rf"The budget is spent: .*budget\.{next(iter(budget))}"):
                teach(poor, tmp_path)
            assert 10 <= len(provider.requests) <= most
        taught = teach(profile_of(provider.base_url, **models), tmp_path)
        assert len(provider.requests) == REQUESTS
        assert asked_once(provider)
    assert taught.report.kept == CONVERSATIONS
    assert taught.report.usage.cost == pytest.approx(0.001 * REQUESTS)
    assert report_of(taught.shards) == taught.report
    assert sum(spent.cost or 0 for spent in taught.report.conversations) == pytest.approx(taught.report.usage.cost)


def test_a_run_that_dies_loses_no_answer(tmp_path: Path) -> None:
    class KilledError(Exception):
        pass

    def die(done: int, _total: int) -> None:
        if done == 2:
            raise KilledError

    with FakeProvider(staff.play) as provider:
        with pytest.raises(ExceptionGroup) as caught:
            teach(profile_of(provider.base_url), tmp_path, die)
        assert caught.group_contains(KilledError)
        assert len(takes_in(tmp_path)) >= 2
        taught = teach(profile_of(provider.base_url), tmp_path)
        # A request that was under way was paid for and is lost; each conversation has at most one.
        assert REQUESTS <= len(provider.requests) <= REQUESTS + 2
    with FakeProvider(staff.play) as provider:
        undisturbed = teach(profile_of(provider.base_url), tmp_path / "again")
    assert [p.read_bytes() for p in taught.shards] == [p.read_bytes() for p in undisturbed.shards]


def test_a_provider_that_is_gone_ends_the_run_and_one_that_refuses_the_model_too(tmp_path: Path) -> None:
    with pytest.raises(ProviderUnavailableError, match="0 of 6 conversations"):
        teach(profile_of("http://127.0.0.1:9/v1", timeout_s=0.2), tmp_path)
    with (
        FakeProvider(lambda _: fault(404, "no such model")) as provider,
        pytest.raises(ProviderError, match="no such model"),
    ):
        teach(profile_of(provider.base_url), tmp_path)


def test_a_profile_without_a_price_has_no_budget_in_money() -> None:
    with pytest.raises(ValueError, match="needs the price of both models"):
        profile_of("http://127.0.0.1:9/v1", budget={"money": 1})
    with pytest.raises(ConfigError, match="has no teacher"):
        teach(profile_of("http://127.0.0.1:9/v1").model_copy(update={"teacher": None}), Path("nowhere"))


def test_a_connection_that_is_reset_is_tried_again(tmp_path: Path) -> None:
    with FakeProvider(failing_once(reset())) as provider:
        profile = profile_of(provider.base_url)
        shape = {"train_conversations": 1, "valid_conversations": 1, "heldout_conversations": 1}
        profile = profile.model_copy(update={"synthesis": profile.synthesis.model_copy(update=shape)})
        assert teach(profile, tmp_path).report.kept == 3
