"""Models that call the wrong thing, at the wrong time or of somebody else: what they get for it."""

import json
from itertools import pairwise, takewhile
from pathlib import Path

import pytest

from tasks.core.evaluation import DecisionSet
from tasks.core.outcomes import outcome_of
from tasks.evaluate import Decision
from tests.fake_provider import Reply, call
from tests.planted import WRITES, Gold, count, gold_of, measured, perfect
from tests.worlds import small_shop

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


async def test_calls_of_other_tools(decision_set: DecisionSet, decisions: list[Decision], tmp_path: Path) -> None:
    def planted(decision: Decision, gold: Gold) -> Reply:
        if decision.meta.tool == "get_user_details":
            return call("open_the_door", {})
        if decision.meta.tool in WRITES:
            return call("list_products", {})
        return perfect(decision, gold)

    found = await measured(planted, decision_set, tmp_path)
    assert found.failed() == {
        "unknown_tool": count(decisions, "get_user_details"),
        "wrong_tool": count(decisions, *WRITES),
    }
    assert found.report.outcomes["write"] == {"wrong_tool": count(decisions, *WRITES)}


async def test_ids_of_others_and_of_before(
    decision_set: DecisionSet, decisions: list[Decision], tmp_path: Path
) -> None:
    stranger = next(order for order in small_shop().orders.values() if not _is_customer(order.user_id, decisions))

    def planted(decision: Decision, gold: Gold) -> Reply:
        if decision.meta.tool == "get_order_details":
            return call("get_order_details", {"order_id": stranger.order_id})
        if decision.meta.tool == "get_user_details":
            return call("get_user_details", {"user_id": small_shop().user(decision.meta.customer_id).orders[0]})
        return perfect(decision, gold)

    def kind_of(decision: Decision) -> str:
        """An order id in place of the user id comes from nowhere, unless the customer named the order."""
        order_id = small_shop().user(decision.meta.customer_id).orders[0]
        return "stale_id" if order_id.strip("#") in json.dumps(decision.item.item["messages"]) else "invented_id"

    found = await measured(planted, decision_set, tmp_path)
    assert {score.failure for score in found.those("get_order_details")} == {"foreign_id"}
    profiles = [(d, score) for d, score in found.pairs if d.meta.tool == "get_user_details"]
    assert [score.failure for _, score in profiles] == [kind_of(decision) for decision, _ in profiles]
    assert "invented_id" in {score.failure for _, score in profiles}


def _is_customer(user_id: str, decisions: list[Decision]) -> bool:
    return any(d.meta.customer_id == user_id for d in decisions)


async def test_the_last_order_again_instead_of_the_next(
    decision_set: DecisionSet, decisions: list[Decision], tmp_path: Path
) -> None:
    def planted(decision: Decision, gold: Gold) -> Reply:
        wrong = {"order_id": _other_order(decision)}
        return call("get_order_details", wrong) if wrong["order_id"] else perfect(decision, gold)

    def _other_order(decision: Decision) -> str | None:
        if decision.meta.tool != "get_order_details":
            return None
        right = gold_of(decision)[0][1]["order_id"]
        orders = small_shop().user(decision.meta.customer_id).orders
        return next((order for order in orders if order != right), None)

    found = await measured(planted, decision_set, tmp_path)
    planted_on = [score for d, score in found.pairs if _other_order(d)]
    # Another order that the expert reads a moment later anyway is as good: reads commute.
    assert {outcome_of(score) for score in planted_on} <= {"stale_id", "equivalent"}
    assert found.failed()["stale_id"] == sum(not score.equivalent for score in planted_on)


async def test_changes_before_the_yes_and_changes_that_are_wrong_cost_points(
    decision_set: DecisionSet, decisions: list[Decision], tmp_path: Path
) -> None:
    """Where the right move asks for a yes, make the change that comes next; where it changes, change something else."""
    following = {d.meta.item_id: gold_of(n) for d, n in pairwise(decisions)}

    def planted(decision: Decision, gold: Gold) -> Reply:
        coming = following.get(decision.meta.item_id, [])
        if not gold and coming and coming[0][0] in WRITES:
            return call(*coming[0])
        if decision.meta.tool == "update_address":
            return call("update_address", gold[0][1] | {"address2": ""})
        return perfect(decision, gold)

    found = await measured(planted, decision_set, tmp_path)
    early = sum(not gold_of(d) and bool(c := following.get(d.meta.item_id)) and c[0][0] in WRITES for d in decisions)
    moved = [d for d in decisions if d.meta.tool == "update_address" and gold_of(d)[0][1]["address2"]]
    assert early > 0
    assert found.failed().get("early_write", 0) == early
    assert found.failed().get("wrong_argument", 0) == len(moved)
    wrong_writes = sum(score.wrong_write for score in found.scores)
    assert wrong_writes == early + len(moved)
    writes = count(decisions, *WRITES)
    points = len(decisions) + 2 * writes
    earned = points - early - 3 * len(moved) - 3 * wrong_writes
    assert found.value("weighted_score") == pytest.approx(earned / points)


async def test_the_right_call_with_another_beside_it(
    decision_set: DecisionSet, decisions: list[Decision], tmp_path: Path
) -> None:
    def planted(decision: Decision, gold: Gold) -> Reply:
        return call(*gold[0], ("list_products", {})) if gold else perfect(decision, gold)

    def listed_soon(place: int) -> bool:
        """Whether the right calls list the products too, before words or a change: reads commute."""
        here = decisions[place].meta.conversation_id
        coming = takewhile(
            lambda d: d.meta.conversation_id == here and d.meta.tool not in {None, *WRITES}, decisions[place:]
        )
        return any(decision.meta.tool == "list_products" for decision in coming)

    found = await measured(planted, decision_set, tmp_path)
    reads = [place for place, d in enumerate(decisions) if d.meta.tool not in {None, *WRITES}]
    # A change does the same with a read beside it; a read then tells more than was asked for.
    assert found.failed() == {"extra_call": sum(not listed_soon(place) for place in reads)}
