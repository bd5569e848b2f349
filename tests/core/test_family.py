"""The customer's part of a family member, and what two models made of a pack."""

import pytest

from tasks.core.errors import EvaluationError
from tasks.core.family import FamilyRow, Part, PartCustomer, family_p_value, family_table, regressions
from tasks.core.story import YES
from tests.runs import a_family

CONFIRM = "I will set your address. Do you confirm (yes/no)?"
MORE = "Done. Anything else?"
ANSWERS = {"identity": "I am Noah.", "email": "My email is n@example.com.", "other": "Please do it."}


BASE, TUNED = a_family("base", False, True, False, False), a_family("tuned", True, False, True, True)


def test_the_customer_answers_what_is_asked() -> None:
    customer = PartCustomer(Part(opening="Hi", answers=ANSWERS))
    assert customer.opening() == "Hi"
    assert customer.answer("Please give me your email, or your name and zip code.") == "I am Noah."
    assert customer.answer("Please give me your email.") == "My email is n@example.com."
    assert customer.answer("What is the new street?") == "Please do it."
    assert customer.answer(CONFIRM) == YES
    assert customer.answer(MORE) is None


def test_a_detour_comes_before_the_yes_and_the_customer_comes_back_from_it() -> None:
    customer = PartCustomer(Part(opening="Hi", answers=ANSWERS, detour="And my order?", resume="Go on."))
    assert [customer.answer(words) for words in (CONFIRM, MORE, CONFIRM, MORE)] == [
        "And my order?",
        "Go on.",
        YES,
        None,
    ]


def test_recorded_turns_are_said_in_order_whatever_is_asked() -> None:
    customer = PartCustomer(Part(opening="Hi", answers=ANSWERS, turns=("one", "two")))
    assert [customer.answer(words) for words in (MORE, CONFIRM, CONFIRM, MORE)] == ["one", "two", YES, None]


def test_the_table_counts_each_kind_and_all() -> None:
    assert family_table([BASE, TUNED]) == [
        FamilyRow("id_near_zip", 2, (0, 2)),
        FamilyRow("email", 2, (1, 1)),
        FamilyRow("all", 4, (1, 3)),
    ]
    assert family_table([]) == []


def test_what_the_candidate_lost_is_named() -> None:
    assert regressions(BASE, TUNED) == ("email/1",)
    assert regressions(TUNED, TUNED) == ()
    assert family_p_value(BASE, TUNED) == pytest.approx(0.625)


def test_different_packs_are_not_compared() -> None:
    other = a_family("tuned", True, True, True, True, pack="q")
    for compare in (family_table, lambda pair: regressions(*pair)):
        with pytest.raises(EvaluationError, match="'base' and 'tuned' played different replay packs"):
            compare([BASE, other])
