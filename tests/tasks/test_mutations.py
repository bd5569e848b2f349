"""Good conversations, damaged in the ways that data is damaged: every harmful change must be caught by some gate."""

import asyncio
import random
import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import get_args

import pytest
from anyio.from_thread import start_blocking_portal
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tasks.core.config import Gate, ValidationConfig
from tasks.core.conversation import Conversation, GateVerdict, Message
from tasks.core.dataset import row_of
from tasks.core.drawing import draw_scenarios
from tasks.core.policy import RETAIL
from tasks.core.scenario import Hurdle, Trap
from tasks.expert import play
from tasks.gatekeeper import Gatekeeper
from tasks.world import RetailWorld
from tests.worlds import phrases, shop_tools, small_shop, small_view, synthesis
from zava_mcp import policy
from zava_mcp.local import LocalShop

EASY, HARD = 40, 40
LONG_NUMBER = re.compile(r"\d{4,}(?![A-Za-z0-9])")
Judge = Callable[[Conversation], GateVerdict | None]
draws = st.integers(0, 2**32).map(random.Random)


@cache
def good() -> list[Conversation]:
    hard = synthesis(trap_rate=0.6, traps=get_args(Trap), hurdles=dict.fromkeys(get_args(Hurdle), 0.5))
    scenarios = draw_scenarios(small_view(), synthesis(trap_rate=0.25), "train", EASY, 11)
    scenarios += draw_scenarios(small_view(), hard, "train", HARD, 12)

    async def play_all() -> list[Conversation]:
        async with LocalShop(small_shop()) as shop:
            return [await play(scenario, shop, phrases(), policy.text()) for scenario in scenarios]

    return asyncio.run(play_all())


def verdicts(conversations: Sequence[Conversation]) -> list[GateVerdict | None]:
    rows, world = [row_of(one, shop_tools()) for one in conversations], RetailWorld(small_shop())

    async def judge() -> list[GateVerdict | None]:
        async with world.sandbox() as sandbox:
            gates = Gatekeeper(ValidationConfig(), sandbox, world.procedure)
            return [await gates.first_failure(one, row) for one, row in zip(conversations, rows, strict=True)]

    return asyncio.run(judge())


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    """Return the gates over one open shop, but those against duplicates, which no single conversation can fail."""
    gates = tuple(gate for gate in get_args(Gate) if not gate.endswith("duplicate"))
    world = RetailWorld(small_shop())
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(world.sandbox()) as sandbox:
        keeper = Gatekeeper(ValidationConfig(gates=gates), sandbox, world.procedure)
        yield lambda one: portal.call(keeper.first_failure, one, row_of(one, shop_tools()))


def with_messages(conversation: Conversation, messages: Sequence[Message]) -> Conversation:
    return conversation.model_copy(update={"messages": tuple(messages)})


def replaced(conversation: Conversation, turn: int, **update: object) -> Conversation:
    messages = list(conversation.messages)
    messages[turn] = messages[turn].model_copy(update=update)
    return with_messages(conversation, messages)


def calls(conversation: Conversation) -> list[int]:
    return [turn for turn, message in enumerate(conversation.messages) if message.tool_calls]


def results(conversation: Conversation) -> list[int]:
    return [turn for turn, message in enumerate(conversation.messages) if message.role == "tool"]


def with_arguments(conversation: Conversation, turn: int, arguments: str) -> Conversation:
    call = conversation.messages[turn].tool_calls[0]
    return replaced(conversation, turn, tool_calls=(call.model_copy(update={"arguments": arguments}),))


def drop_a_call(conversation: Conversation, rng: random.Random) -> Conversation:
    """Drop a call and its result.

    Not a look into something that no later turn of the agent speaks of, nor a look-up that found nobody: without it the
    agent says that there is no such account without having looked, which no gate reads out of free words.
    """
    turn = rng.choice(calls(conversation))
    [call] = conversation.messages[turn].tool_calls
    later = [m for m in conversation.messages[turn + 2 :] if m.role == "assistant"]
    said = " ".join([*(m.content or "" for m in later), *(c.arguments for m in later for c in m.tool_calls)])
    assume(" " not in str(conversation.messages[turn + 1].content) or call.name not in RETAIL.lookups)
    record = (call.parsed() or {}).get("order_id")
    assume(record is None or call.name in RETAIL.writes or str(record) in said)
    if call.name == "get_product_details":
        others = [c.name for m in conversation.messages for c in m.tool_calls].count(call.name) - 1
        assume("kept" not in conversation.outcome and not ("not_available" in conversation.outcome and others))
    return with_messages(conversation, [*conversation.messages[:turn], *conversation.messages[turn + 2 :]])


def change_a_digit(conversation: Conversation, rng: random.Random) -> Conversation:
    """Change a digit of an id or a zip code, in a call, a result, a reply or, of an order, in the customer's words."""
    turn = rng.randrange(1, len(conversation.messages))
    message = conversation.messages[turn]
    text = message.tool_calls[0].arguments if message.tool_calls else message.content or ""
    numbers = [m.span() for m in LONG_NUMBER.finditer(text) if message.role != "user" or text[m.start() - 2] == "#"]
    assume(numbers)
    start, end = rng.choice(numbers)
    place = rng.randrange(start, end)
    digit = rng.choice([d for d in "0123456789" if d != text[place]])
    changed = f"{text[:place]}{digit}{text[place + 1 :]}"
    return (
        with_arguments(conversation, turn, changed)
        if message.tool_calls
        else replaced(conversation, turn, content=changed)
    )


def swap_customers(conversation: Conversation, rng: random.Random) -> Conversation:
    """Let another customer's id stand for this one's: in the record of the conversation, or wherever it was said."""
    other = rng.choice([one.customer_id for one in good() if one.customer_id != conversation.customer_id])
    if rng.random() < 0.3:
        return conversation.model_copy(update={"customer_id": other})
    swapped = conversation.model_dump_json().replace(conversation.customer_id, other)
    return Conversation.model_validate_json(swapped)


def remove_a_confirmation(conversation: Conversation, rng: random.Random) -> Conversation:
    """Go straight from the wish to the change, or let the question stand and the yes be a no."""
    writes = [t for t in calls(conversation) if conversation.messages[t].tool_calls[0].name in RETAIL.writes]
    assume(writes)
    turn = rng.choice(writes)
    if rng.random() < 0.5:
        return replaced(conversation, turn - 1, content="No, please do not do that.")
    return with_messages(conversation, [*conversation.messages[: turn - 2], *conversation.messages[turn:]])


def reorder_results(conversation: Conversation, rng: random.Random) -> Conversation:
    one, other = rng.sample(results(conversation), 2)
    messages = conversation.messages
    if rng.random() < 0.5:
        swapped = replaced(conversation, one, tool_call_id=messages[other].tool_call_id)
        return replaced(swapped, other, tool_call_id=messages[one].tool_call_id)
    assume(messages[one].content != messages[other].content)
    swapped = replaced(conversation, one, content=messages[other].content)
    return replaced(swapped, other, content=messages[one].content)


def duplicate_a_call_id(conversation: Conversation, rng: random.Random) -> Conversation:
    one, other = sorted(rng.sample(calls(conversation), 2))
    call_id = conversation.messages[one].tool_calls[0].id
    call = conversation.messages[other].tool_calls[0].model_copy(update={"id": call_id})
    return replaced(replaced(conversation, other, tool_calls=(call,)), other + 1, tool_call_id=call_id)


def truncate_arguments(conversation: Conversation, rng: random.Random) -> Conversation:
    turn = rng.choice(calls(conversation))
    text = conversation.messages[turn].tool_calls[0].arguments
    return with_arguments(conversation, turn, text[: rng.randrange(len(text))])


def test_good_conversations_raise_no_alarm() -> None:
    assert [verdict for verdict in verdicts(good()) if verdict is not None] == []


@pytest.mark.parametrize(
    "mutate",
    [
        drop_a_call,
        change_a_digit,
        swap_customers,
        remove_a_confirmation,
        reorder_results,
        duplicate_a_call_id,
        truncate_arguments,
    ],
    ids=lambda mutate: mutate.__name__,
)
def test_every_harmful_change_is_caught(judge: Judge, mutate: object) -> None:
    @settings(deadline=None, max_examples=60, database=None)
    @given(st.integers(0, EASY + HARD - 1), draws)
    def caught(number: int, rng: random.Random) -> None:
        damaged = mutate(good()[number], rng)  # type: ignore[operator]  # one of the functions above
        verdict = judge(damaged)
        assert verdict is not None, damaged
        assert verdict.reason

    caught()
