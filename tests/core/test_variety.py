"""Variety is counted over words, never over the ids and numbers in them."""

from collections.abc import Sequence
from typing import Any

import pytest

from tasks.core.variety import MOST_CONVERSATIONS, SpokenVariety, VarietyMeter


def says(*texts: str, role: str = "user") -> list[dict[str, Any]]:
    return [{"role": role, "content": text} for text in texts]


def counted(*conversations: Sequence[dict[str, Any]]) -> dict[str, SpokenVariety]:
    meter = VarietyMeter()
    for messages in conversations:
        meter.add(messages)
    return {figures.speaker: figures for figures in meter.figures()}


def test_ids_make_utterances_distinct_but_no_wording() -> None:
    customer = counted(says("Cancel order #W1, please.", "Cancel order #W2, please.", "Cancel order #W2, please."))[
        "customer"
    ]
    assert (customer.utterances, customer.distinct, customer.wordings) == (3, 2, 1)
    assert customer.distinct_1 == pytest.approx(4 / 12)
    assert customer.distinct_2 == pytest.approx(3 / 9)
    assert customer.distinct_3 == pytest.approx(2 / 6)


def test_each_side_is_counted_by_itself_and_calls_and_results_not_at_all() -> None:
    call = {"role": "assistant", "content": None, "tool_calls": [{}]}
    figures = counted([*says("Hi."), *says("Hello, hello!", role="assistant"), call, *says("ann_1", role="tool")])
    assert (figures["customer"].utterances, figures["agent"].utterances) == (1, 1)
    assert figures["agent"].distinct_1 == 0.5
    assert figures["customer"].distinct_2 == 0.0


def test_a_thousand_conversations_are_counted_and_no_more() -> None:
    figures = counted(*[says(f"Number {'x' * number}") for number in range(MOST_CONVERSATIONS + 5)])
    assert figures["customer"].distinct == MOST_CONVERSATIONS
