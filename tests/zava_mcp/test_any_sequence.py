"""Any sequence of tool calls on the imported snapshot ends in the state that the rules prescribe."""

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
from zava_mcp.snapshot import dump_snapshot, load_snapshot

CONTENT = json.loads(SNAPSHOT.read_text(encoding="utf-8"))
IMPORTED = load_snapshot(SNAPSHOT)
CALLS = calls(CONTENT)


def answer(reference: Reference, call: Call) -> Any:
    try:
        return reference.call(*call)
    except RefusedError:
        return RefusedError


class Shop(RuleBasedStateMachine):
    @initialize()
    def open(self) -> None:
        self.store = IMPORTED.fork()
        self.reference = Reference(CONTENT)

    @rule(call=CALLS)
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
        Shop, settings=settings(max_examples=40, stateful_step_count=25, deadline=None, derandomize=True)
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
