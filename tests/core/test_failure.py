"""The taxonomy of failures: exactly one kind for each decision that came out wrong."""

import json
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.core.conversation import ToolCall
from tasks.core.failure import STAGES, FailureKind, Missed, ShopFacts, failure_of

A: tuple[str, dict[str, Any]] = ("get_order_details", {"order_id": "#W1"})
B: tuple[str, dict[str, Any]] = ("get_user_details", {"user_id": "ann_lee_1"})
OTHER: tuple[str, dict[str, Any]] = ("get_order_details", {"order_id": "#W2"})
FOREIGN: tuple[str, dict[str, Any]] = ("get_order_details", {"order_id": "#W9"})
LIMIT: tuple[str, dict[str, Any]] = ("search_products", {"query": "lamp", "limit": 3})
AS_TEXT: tuple[str, dict[str, Any]] = ("search_products", {"query": "lamp", "limit": "3"})
WRITE: tuple[str, dict[str, Any]] = ("cancel_pending_order", {"order_id": "#W1"})
NESTED: tuple[str, dict[str, Any]] = ("get_order_details", {"order_id": {"ids": ["#W9"]}})
OWNERS = {"ann_lee_1": "ann_lee_1", "#W1": "ann_lee_1", "#W2": "ann_lee_1", "#W9": "bob_ray_2", "6086": None}
TOOLS = frozenset({"get_order_details", "get_user_details", "search_products", "cancel_pending_order"})


def missed(
    expected: list[tuple[str, Any]], made: list[tuple[str, Any]], text: str = "", invented: bool = False
) -> Missed:
    calls = [
        ToolCall(id="1", name=name, arguments=given if isinstance(given, str) else json.dumps(given))
        for name, given in made
    ]
    shop = ShopFacts(writes=frozenset({"cancel_pending_order"}), owners=OWNERS)
    return Missed(expected, calls, text, TOOLS, "ann_lee_1", invented, shop)


@pytest.mark.parametrize(
    ("decision", "kind"),
    [
        (missed([A], [("get_order_details", '{"order_id":')]), "malformed_json"),
        (missed([A], [("open_the_door", {})]), "unknown_tool"),
        (missed([A], [FOREIGN]), "foreign_id"),
        (missed([A], [NESTED]), "foreign_id"),
        (missed([], [FOREIGN]), "foreign_id"),
        (missed([A], [A], invented=True), "invented_id"),
        (missed([], [WRITE]), "early_write"),
        (missed([], [A, WRITE]), "early_write"),
        (missed([], [A]), "extra_call"),
        (missed([A], [A, B]), "extra_call"),
        (missed([A], [A, A]), "extra_call"),
        (missed([A], [], text="Hm."), "text_instead_of_call"),
        (missed([A], [], text=" "), "missing_call"),
        (missed([A, B], [A]), "missing_call"),
        (missed([A, B], [LIMIT]), "wrong_tool"),
        (missed([A], [B]), "wrong_tool"),
        (missed([A], [OTHER]), "stale_id"),
        (missed([A], [("get_order_details", {"order_id": "6086"})]), "stale_id"),
        (missed([A], [("get_order_details", {"order_id": "80279"})]), "wrong_argument"),
        (missed([LIMIT], [AS_TEXT]), "wrong_argument"),
        (missed([A], [("get_order_details", {})]), "wrong_argument"),
    ],
)
def test_each_failure_has_its_kind(decision: Missed, kind: FailureKind) -> None:
    assert failure_of(decision) == kind


def test_every_kind_has_its_step() -> None:
    assert list(STAGES) == list(get_args(FailureKind))


names = st.sampled_from([*sorted(TOOLS), "open_the_door"])
arguments = st.one_of(
    st.text(max_size=8),
    st.dictionaries(st.sampled_from(["order_id", "limit"]), st.sampled_from([*OWNERS, 3, None, [1]])),
)
calls = st.lists(st.tuples(names, arguments), max_size=3)
expected = st.lists(st.sampled_from([A, B, LIMIT, WRITE]), max_size=2)


@settings(deadline=None)
@given(expected, calls, st.text(max_size=3), st.booleans())
def test_whatever_a_model_does_has_one_kind_and_always_the_same(
    right: list[tuple[str, Any]], made: list[tuple[str, Any]], text: str, invented: bool
) -> None:
    decision = missed(right, made, text, invented)
    kind = failure_of(decision)
    assert kind in STAGES
    assert kind != "no_answer"
    assert failure_of(decision) == kind
    if not made:
        assert kind in {"text_instead_of_call", "missing_call"} or invented
