import random
from typing import Any

import pytest

from tasks.core.customer import ScriptedCustomer
from tasks.core.phrases import is_held_out
from tasks.core.scenario import Request, Scenario
from tests.worlds import phrases

USER = {
    "name": {"first_name": "Mia", "last_name": "Silva"},
    "email": "mia.silva@example.com",
    "address": {"zip": "90210"},
}
PAYPAL = {"id": "paypal_1234567", "source": "paypal", "said_as": "kind"}


def a_customer(*requests: Request, seed: int = 1, **changes: Any) -> ScriptedCustomer:
    values: dict[str, Any] = {
        "id": "s",
        "seed": seed,
        "split": "train",
        "customer_id": "mia_silva_1",
        "authenticate_by": "email",
        "opening": "all",
        "requests": requests,
        "gold_writes": (),
        "gold_outcome": "",
    }
    return ScriptedCustomer(Scenario(**{**values, **changes}), USER, phrases(), random.Random(seed))


def cancel(**changes: Any) -> Request:
    facts = {"order_id": "#W1234567", "reason": "no longer needed"}
    return Request(**{"intent": "cancel", "facts": facts, **changes})


@pytest.mark.parametrize("seed", range(20))
def test_the_words_hold_exactly_the_facts_that_they_disclose(seed: int) -> None:
    said = a_customer(cancel(), seed=seed).open()
    assert said.facts["identity"] == {"email": "mia.silva@example.com"}
    assert said.facts["request"] == {"intent": "cancel", "order_id": "#W1234567", "reason": "no longer needed"}
    assert "mia.silva@example.com" in said.text
    assert "#W1234567" in said.text


@pytest.mark.parametrize("seed", range(20))
def test_a_late_fact_is_told_only_when_asked_for(seed: int) -> None:
    customer = a_customer(cancel(late=("reason",)), seed=seed)
    assert "reason" not in customer.open().facts["request"]
    assert customer.answer("reason").facts == {"reason": "no longer needed"}


@pytest.mark.parametrize(
    ("opening", "identity", "request_told"),
    [("all", True, True), ("request_first", False, True), ("identity_first", True, False), ("vague", False, False)],
)
def test_an_opening_discloses_what_its_name_says(opening: str, identity: bool, request_told: bool) -> None:
    facts = a_customer(cancel(), opening=opening).open().facts
    assert ("identity" in facts, "request" in facts) == (identity, request_told)


def test_a_vague_customer_tells_name_and_wish_when_asked() -> None:
    customer = a_customer(cancel(), opening="vague", authenticate_by="name_zip")
    facts = customer.open().facts | customer.answer("identity").facts
    if "request" not in facts:
        facts |= customer.answer("request").facts
    assert facts["identity"] == {"first": "Mia", "last": "Silva", "zip": "90210"}
    assert facts["request"]["intent"] == "cancel"


@pytest.mark.parametrize(("trap", "confirms"), [(None, True), ("changes_mind", False)])
def test_only_who_changes_their_mind_says_no(trap: Any, confirms: bool) -> None:
    customer = a_customer(cancel(trap=trap))
    customer.open()
    assert customer.answer("confirmation").facts == {"confirms": confirms}


def test_after_the_last_request_the_customer_says_goodbye() -> None:
    customer = a_customer(cancel(), cancel())
    customer.open()
    assert "request" in customer.answer("anything_else").facts
    assert customer.answer("anything_else").facts == {"done": True}


@pytest.mark.parametrize(
    ("said_as", "mention", "words"),
    [
        ("kind", {"kind": "paypal"}, "my paypal"),
        ("id", {"id": "paypal_1234567"}, "paypal_1234567"),
        ("original", {"original": "original"}, "the original payment method"),
    ],
)
def test_a_payment_method_is_disclosed_no_more_than_it_is_named(said_as: str, mention: Any, words: str) -> None:
    facts = {"order_id": "#W1234567", "items": ["Desk Lamp"], "payment": {**PAYPAL, "said_as": said_as}}
    said = a_customer(Request(intent="return", facts=facts)).open()
    assert said.facts["request"]["payment"] == mention
    assert words in said.text.replace("Paypal", "paypal")
    assert "the Desk Lamp" in said.text


def test_every_new_option_of_every_item_is_said() -> None:
    changes = [
        {"item": "Desk Lamp", "options": {"color": "black", "power": "USB"}},
        {"item": "Kettle", "options": {"size": "large"}},
    ]
    facts = {"order_id": "#W1234567", "changes": changes, "payment": PAYPAL}
    said = a_customer(Request(intent="modify_items", facts=facts)).open()
    for word in ("Desk Lamp", "color", "black", "power", "USB", "Kettle", "size", "large"):
        assert word in said.text


def test_noise_is_small_talk_around_the_words_and_discloses_nothing() -> None:
    quiet, noisy = a_customer(cancel(), opening="vague"), a_customer(cancel(), opening="vague", noise_rate=1.0)
    assert quiet.open().facts == noisy.open().facts == {}
    assert any(template_id.startswith("small_talk.") for template_id in noisy.template_ids)
    assert not any(template_id.startswith("small_talk.") for template_id in quiet.template_ids)


def test_a_held_out_customer_speaks_held_out_templates_only() -> None:
    for seed in range(30):
        customer = a_customer(cancel(late=("reason",)), seed=seed, split="heldout", noise_rate=0.5)
        customer.open()
        for question in ("reason", "confirmation", "anything_else"):
            customer.answer(question)  # type: ignore[arg-type]  # mypy widens the loop variable
        assert all(map(is_held_out, customer.template_ids))
