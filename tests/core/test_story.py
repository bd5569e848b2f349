"""The customer of the Noah Brown story, and the verdict on what a model did."""

import json
from typing import Any

import pytest

from tasks.core.conversation import ToolCall
from tasks.core.drawing import noah_brown_story
from tasks.core.story import PlayedCall, StoryCustomer, judge

STORY = noah_brown_story()
CUSTOMER = StoryCustomer(STORY, "Noah Brown", "80279")


def played(name: str, arguments: dict[str, Any], result: str, turn: int = 1, **more: Any) -> PlayedCall:
    call = ToolCall(id=name, name=name, arguments=json.dumps(arguments))
    return PlayedCall(turn=turn, call=call, result=result, is_error=more.pop("is_error", False), **more)


LOOKUP = played("find_user_id_by_name_zip", {"zip": "80279"}, "noah_brown_6181")
DETAILS = played("get_user_details", {"user_id": "noah_brown_6181"}, "{}")
UPDATE = played("update_address", {"user_id": "noah_brown_6181"}, "{}", turn=2)


def test_the_customer_opens_with_name_zip_and_wish() -> None:
    assert CUSTOMER.opening() == (
        "Hi, I am Noah Brown, my zip is 80279. I want to update my address to "
        "415 Maple Avenue, Apt 203, Denver, CO 80202, USA."
    )


@pytest.mark.parametrize(
    ("agent", "customer"),
    [
        ("I will set your address to 415 Maple Avenue, zip 80202. Do you confirm (yes/no)?", "Yes, please go ahead."),
        ("Your new address: 415 Maple Avenue. Is that right (yes/no)?", "Yes, please go ahead."),
        ("Shall I change it to this address?", "Yes, please go ahead."),
        ("Please give me your email, or your name and zip code.", "I am Noah Brown, my zip is 80279."),
        ("Could you verify who you are?", "I am Noah Brown, my zip is 80279."),
        (
            "What is the new address?",
            "My new address is 415 Maple Avenue, Apt 203, Denver, CO 80202, USA.",
        ),
        ("Your address is updated. Anything else?", None),
        ("Is there something else that I can do?", None),
        ("Done, I changed your address.", None),
        ("Hello!", "Please update my address to 415 Maple Avenue, Apt 203, Denver, CO 80202, USA."),
        ("", "Please update my address to 415 Maple Avenue, Apt 203, Denver, CO 80202, USA."),
    ],
)
def test_the_customer_answers_what_the_agent_asks(agent: str, customer: str | None) -> None:
    assert CUSTOMER.answer(agent) == customer


def test_the_story_passes_when_the_id_is_handed_on_and_the_address_is_changed() -> None:
    verdict = judge([LOOKUP, DETAILS, UPDATE], address_changed=True, nothing_else_changed=True)
    assert (verdict.passed, verdict.reasons) == (True, ())
    assert (verdict.lookup_id, verdict.details_id) == ("noah_brown_6181", "noah_brown_6181")


def test_an_invented_id_fails_the_story_and_is_named() -> None:
    invented = played("get_user_details", {"user_id": "noah_brown_80279"}, "No customer", is_error=True).model_copy(
        update={"invented": ("user_id 'noah_brown_80279'",)}
    )
    verdict = judge([LOOKUP, invented], address_changed=False, nothing_else_changed=True)
    assert not verdict.passed
    assert verdict.reasons == (
        "get_user_details was called with 'noah_brown_80279', but the lookup had returned 'noah_brown_6181'",
        "made up: get_user_details: user_id 'noah_brown_80279'",
        "the address in the shop is not the new one",
    )


@pytest.mark.parametrize(
    ("calls", "reason"),
    [
        ([], "the customer was not looked up"),
        ([LOOKUP.model_copy(update={"is_error": True})], "the customer was not looked up"),
        ([LOOKUP], "get_user_details was not called right after the lookup"),
        ([LOOKUP, UPDATE, DETAILS], "get_user_details was not called right after the lookup"),
        ([LOOKUP, DETAILS.model_copy(update={"turn": 2})], "get_user_details was not called right after the lookup"),
    ],
)
def test_the_profile_must_be_fetched_right_after_the_lookup(calls: list[PlayedCall], reason: str) -> None:
    verdict = judge(calls, address_changed=True, nothing_else_changed=True)
    assert verdict.reasons == (reason,)


def test_a_lookup_that_was_corrected_counts_from_the_one_that_succeeded() -> None:
    typo = played("find_user_id_by_name_zip", {"zip": "80278"}, "No customer", is_error=True)
    assert judge([typo, LOOKUP, DETAILS], address_changed=True, nothing_else_changed=True).passed


def test_any_other_change_in_the_shop_fails_the_story() -> None:
    verdict = judge([LOOKUP, DETAILS, UPDATE], address_changed=True, nothing_else_changed=False)
    assert verdict.reasons == ("something else in the shop was changed",)
