"""Reliability over trials, tasks in the published layout, and a scripted customer that hears."""

import itertools
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.core.config import EvaluationConfig
from tasks.core.conversation import Message
from tasks.core.customer import ScriptedCustomer
from tasks.core.drawing import draw_scenarios
from tasks.core.episodes import EpisodeResult, pass_hat, read_task, report_episodes, task_of_scenario, unsaid
from tasks.core.errors import EvaluationError
from tasks.core.hearing import HearingCustomer, brief_of, question_in
from tests.worlds import phrases, small_view, synthesis

CONFIG = EvaluationConfig(bootstrap_samples=200)
ACTION = {"action_id": "0_0", "name": "modify_user_address", "arguments": {"user_id": "a"}, "info": None}
TASK: dict[str, Any] = {
    "id": "0",
    "description": {"purpose": None},
    "user_scenario": {
        "persona": None,
        "instructions": {"reason_for_call": "You moved.", "known_info": "You are Ann.", "unknown_info": None},
    },
    "evaluation_criteria": {"actions": [ACTION], "communicate_info": ["1093.34"], "nl_assertions": None},
}


def a_result(task: str, trial: int, *, success: bool, **changes: Any) -> EpisodeResult:
    values: dict[str, Any] = {
        "task_id": task,
        "trial": trial,
        "reached": success,
        "success": success,
        "blame": None if success else "agent",
        "reasons": (),
        "breaches": (),
        "calls": 1,
        "messages": (),
    }
    return EpisodeResult(**{**values, **changes})


@given(st.integers(1, 6).flatmap(lambda n: st.tuples(st.just(n), st.lists(st.integers(0, n), min_size=1, max_size=5))))
def test_pass_hat_is_the_share_of_draws_of_k_trials_that_are_all_right(case: tuple[int, list[int]]) -> None:
    trials, counts = case
    for k, found in enumerate(pass_hat(counts, trials), start=1):
        draws = [
            all(drawn)
            for right in counts
            for drawn in itertools.combinations([*[1] * right, *[0] * (trials - right)], k)
        ]
        assert found == pytest.approx(sum(draws) / len(draws))


def test_a_report_counts_trials_tasks_and_blame() -> None:
    results = [a_result("a", trial, success=True) for trial in range(2)]
    results += [a_result("b", 0, success=True)]
    results += [a_result("b", 1, success=False, reached=True, breaches=("no yes", "no yes", "late"))]
    made = report_episodes(
        results, model_id="m", customer="scripted", tasks_sha256="s", trials=2, config=CONFIG, seconds=1.0
    )
    assert (made.success.value, made.reached.value, made.success.n) == (0.75, 1.0, 4)
    assert (made.success_hat, made.reached_hat) == ((0.75, 0.5), (1.0, 1.0))
    assert made.blamed == {"agent": 1}
    assert made.broken_rules == {"no yes": 1, "late": 1}
    with pytest.raises(EvaluationError, match="Each task is played 3 times; there are 4 results"):
        report_episodes(
            results, model_id="m", customer="scripted", tasks_sha256="s", trials=3, config=CONFIG, seconds=1.0
        )


def test_a_published_task_is_read_with_the_tools_names_of_this_shop() -> None:
    task = read_task(TASK)
    assert task.brief is not None
    assert (task.brief.reason_for_call, task.brief.known_info, task.brief.unknown_info) == (
        "You moved.",
        "You are Ann.",
        "",
    )
    assert [(call.name, call.arguments) for call in task.goal] == [("update_address", {"user_id": "a"})]
    assert task.communicate == ("1093.34",)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"user_scenario": "You are Ann."}, "user_scenario is missing"),
        ({"user_scenario": {"instructions": "Be Ann."}}, "instructions is missing"),
        ({"evaluation_criteria": None}, "evaluation_criteria is missing"),
        ({"evaluation_criteria": {"actions": [{}]}}, "an entry without a name"),
        ({"evaluation_criteria": {"actions": [{"name": "a", "arguments": [1]}]}}, "arguments: "),
        ({"evaluation_criteria": {"communicate_info": [1]}}, r"communicate\.0: "),
    ],
)
def test_a_broken_task_says_what_is_wrong(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_task({**TASK, **changes})


def test_what_must_be_said_is_found_without_case_and_commas() -> None:
    messages = [
        Message(role="user", content="Is it 5?"),
        Message(role="assistant", content="It is $1,093.34 of Cotton."),
    ]
    assert unsaid(("1093.34", "cotton", "5"), messages) == ("5",)


@pytest.mark.parametrize(
    ("acts", "question"),
    [
        (("ask_identity",), "identity"),
        (("ask_request",), "request"),
        (("ask_reason",), "reason"),
        (("ask_refund",), "refund"),
        (("ask_payment",), "payment"),
        (("confirm.",), "confirmation"),
        (("done.", "status", "products", "refuse.", "kept"), "anything_else"),
        (("transferred", "goodbye"), None),
    ],
)
def test_the_customer_understands_whatever_the_expert_says(acts: tuple[str, ...], question: str | None) -> None:
    said = [text for act, texts in phrases().agent.items() if act.startswith(acts) for text in texts]
    assert said
    assert {text: question_in(text) for text in said} == dict.fromkeys(said, question)


@pytest.mark.parametrize(
    ("words", "question"),
    [
        ("Could you please verify your identity?", "identity"),
        ("Which card should I charge?", "payment"),
        ("Shall I go ahead?", "confirmation"),
        ("What can I do for you today?", "request"),
        ("Your order was cancelled.", "anything_else"),
        ("What colour is it?", None),
        ("", None),
    ],
)
def test_the_customer_understands_other_words_too(words: str, question: str | None) -> None:
    assert question_in(words) == question


def test_the_task_of_a_question_asks_for_its_answer() -> None:
    wanted = synthesis(intents={"order_status": 1.0, "order_status_by_item": 1.0}, trap_rate=0.0, max_requests=1)
    for scenario in draw_scenarios(small_view(), wanted, "heldout", 12, 3):
        facts = scenario.requests[0].facts
        own = [small_view().orders[order_id] for order_id in small_view().users[scenario.customer_id]["orders"]]
        [order] = [
            order
            for order in own
            if order["order_id"] == facts.get("order_id") or facts.get("item") in [i["name"] for i in order["items"]]
        ]
        assert task_of_scenario(scenario, small_view()).communicate == (order["status"],)


def a_script(seed: int) -> tuple[ScriptedCustomer, Any]:
    [scenario] = draw_scenarios(small_view(), synthesis(max_requests=1), "heldout", 1, seed)
    user = small_view().users[scenario.customer_id]
    return ScriptedCustomer(scenario, user, phrases(), random.Random(seed)), scenario


@pytest.mark.parametrize("seed", range(12))
def test_no_question_at_any_point_is_too_much_for_the_customer(seed: int) -> None:
    script, _ = a_script(seed)
    customer = HearingCustomer(script)
    assert customer.opening()
    asked = [
        "Why?",
        "Which payment method?",
        "Refund to what?",
        "Do you confirm?",
        "Your email?",
        "How can I help you?",
    ]
    for words in random.Random(seed).choices(asked, k=20):
        customer.answer(words)


def test_a_customer_gives_up_on_what_they_do_not_understand_and_says_whose_fault_it_is() -> None:
    for words, fault in (("What colour is it?", True), ("Hello.", False)):
        script, _ = a_script(1)
        customer = HearingCustomer(script)
        opening = customer.opening()
        assert [customer.answer(words) for _ in range(3)] == [opening, opening, None]
        assert customer.gave_up
        assert (customer.fault is not None) == fault


@pytest.mark.parametrize("seed", range(6))
def test_a_brief_holds_who_the_customer_is_and_every_fact_of_the_request(seed: int) -> None:
    _, scenario = a_script(seed)
    user = small_view().users[scenario.customer_id]
    brief = brief_of(scenario, user, phrases(), random.Random(seed))
    known = user["email"] if scenario.authenticate_by == "email" else user["address"]["zip"]
    assert known in brief.known_info
    for value in scenario.requests[0].facts.values():
        if isinstance(value, str) and value.startswith("#W"):
            assert value in brief.reason_for_call
