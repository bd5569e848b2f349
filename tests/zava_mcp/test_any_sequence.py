"""Any sequence of tool calls on the imported snapshot ends in the state that the rules prescribe."""

import copy
import json
from typing import Any

import anyio
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tests.zava_mcp.calls import Call, calls
from tests.zava_mcp.conftest import SNAPSHOT
from tests.zava_mcp.reference import Reference, RefusedError, compact
from zava_mcp.entities import Record
from zava_mcp.errors import RetailError
from zava_mcp.local import LocalShop
from zava_mcp.snapshot import dump_snapshot, load_snapshot, parse_snapshot

CONTENT = json.loads(SNAPSHOT.read_text(encoding="utf-8"))
IMPORTED = load_snapshot(SNAPSHOT)
CALLS = calls(CONTENT)


def with_gift_cards(balance: float) -> dict[str, Any]:
    """Return the snapshot with so much on every gift card: the published ones rarely make a difference."""
    content = copy.deepcopy(CONTENT)
    for user in content["users"].values():
        for method in user["payment_methods"].values():
            method.update({"balance": balance} if method["source"] == "gift_card" else {})
    return content


WORLDS = [
    (content, parse_snapshot(content, source="the snapshot"))
    for content in (CONTENT, with_gift_cards(0.0), with_gift_cards(5000.0))
]


def answer(reference: Reference, call: Call) -> Any:
    try:
        return reference.call(*call)
    except RefusedError:
        return RefusedError


class Shop(RuleBasedStateMachine):
    @initialize(world=st.sampled_from(range(len(WORLDS))))
    def open(self, world: int) -> None:
        content, store = WORLDS[world]
        self.store = store.fork()
        self.reference = Reference(content)

    # Several calls a step, for hypothesis ends most runs after a handful of steps.
    @rule(sequence=st.lists(CALLS, min_size=6, max_size=12))
    def converse(self, sequence: list[Call]) -> None:
        for call in sequence:
            self.call(call)

    def call(self, call: Call) -> None:
        tool, arguments = call
        before = self.store.digest()
        expected = answer(self.reference, call)
        if expected is RefusedError:
            self.refuse(tool, arguments)
            assert self.store.digest() == before
            return
        result = getattr(self.store, tool)(**arguments)
        assert (result.to_json() if isinstance(result, Record) else result) == expected

    def refuse(self, tool: str, arguments: dict[str, Any]) -> None:
        try:
            result = getattr(self.store, tool)(**arguments)
        except RetailError:
            return
        raise AssertionError(f"{tool}({arguments}) was not refused: {result}")

    @rule()
    def work_on_a_fork(self) -> None:
        self.store = self.store.fork()

    @invariant()
    def the_state_is_the_reference_s(self) -> None:
        assert {key: user.to_json() for key, user in self.store.users.items()} == self.reference.state["users"]
        assert {key: order.to_json() for key, order in self.store.orders.items()} == self.reference.state["orders"]

    def teardown(self) -> None:
        assert dump_snapshot(self.store) == self.reference.state


def test_any_sequence_of_calls_ends_in_the_prescribed_state() -> None:
    run_state_machine_as_test(
        Shop, settings=settings(max_examples=100, stateful_step_count=10, deadline=None, derandomize=True)
    )


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.lists(CALLS, min_size=1, max_size=12))
def test_the_same_holds_over_mcp_with_the_record_as_compact_json(sequence: list[Call]) -> None:
    anyio.run(_play, sequence)


async def _play(sequence: list[Call]) -> None:
    reference = Reference(CONTENT)
    async with LocalShop(IMPORTED) as shop:
        for call in sequence:
            expected = answer(reference, call)
            text, is_error = await shop.call(*call)
            assert is_error == (expected is RefusedError)
            if not is_error:
                assert json.loads(text) == expected if text.startswith(("{", "[")) else text == expected
                assert text == compact(json.loads(text) if text.startswith(("{", "[")) else text)
        assert dump_snapshot(shop.store) == reference.state


def test_the_imported_shop_itself_was_never_changed() -> None:
    assert dump_snapshot(IMPORTED) == CONTENT
