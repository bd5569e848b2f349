"""Plays calls that are not those expected on a sandbox of the shop, at their point of the conversation.

A call is as good as the right one where it does the same to the shop, or where it tells nothing but what the right
calls tell from here on until the agent speaks or changes something: reads that commute are equivalent.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from tasks.core import grader
from tasks.core.evaluation import Answer, EvalItem, ItemMeta, Played
from tasks.core.failure import ShopFacts
from tasks.core.score import grade
from zava_mcp.local import LocalShop, ToolReply
from zava_mcp.store import RetailStore

Call = tuple[str, Any]
# A model may answer with a thousand calls; past so many they are no equivalent of one.
MOST_CALLS = 8


class Answered(NamedTuple):
    """A decision with a model's answer to it."""

    item: EvalItem
    meta: ItemMeta
    answer: Answer


class _Outcome(NamedTuple):
    """What calls gave, and the state that they left."""

    replies: list[ToolReply]
    shop: RetailStore

    @property
    def refused(self) -> bool:
        return any(reply.is_error for reply in self.replies)

    @property
    def told(self) -> list[Any]:
        return [_value(reply.text) for reply in self.replies]


class _Point(NamedTuple):
    """A decision in its conversation: the state before it, and what the right calls do there."""

    one: Answered
    start: RetailStore
    right: _Outcome


async def play(base: RetailStore, answered: Sequence[Answered]) -> list[Played | None]:
    """Return what came of the calls of each answer that has other calls than those expected, in order.

    None where there is nothing to play: no call, the expected calls, or a history that this shop does not reproduce.
    The decisions of a conversation are played together, in the order of their turns.
    """
    played: dict[int, Played] = {}
    async with LocalShop(base) as shop:
        places = sorted(range(len(answered)), key=lambda i: (answered[i].meta.conversation_id, answered[i].meta.turn))
        for _, group in groupby(places, key=lambda i: answered[i].meta.conversation_id):
            conversation = list(group)
            if any(_is_to_play(answered[place]) for place in conversation):
                played |= await _play_conversation(shop, base, {place: answered[place] for place in conversation})
    return [played.get(place) for place in range(len(answered))]


async def facts_of(base: RetailStore) -> ShopFacts:
    """Return what the taxonomy of failures must know of a shop: the tools that write, and whose each id is."""
    async with LocalShop(base) as shop:
        return ShopFacts(writes=await shop.writing_tools(), owners=dict(_owners(base)))


def _owners(base: RetailStore) -> Iterator[tuple[str, str | None]]:
    for product in base.products.values():
        yield product.product_id, None
        yield from ((item_id, None) for item_id in product.variants)
    for user in base.users.values():
        yield user.user_id, user.user_id
        yield from ((method_id, user.user_id) for method_id in user.payment_methods)
    yield from ((order.order_id, order.user_id) for order in base.orders.values())


def _is_to_play(one: Answered) -> bool:
    calls = one.answer.tool_calls
    return one.answer.error is None and 0 < len(calls) <= MOST_CALLS and grade(one.item, one.answer) < 1.0


async def _play_conversation(shop: LocalShop, base: RetailStore, answered: dict[int, Answered]) -> dict[int, Played]:
    """Follow the right calls of a conversation and branch off at each decision that has others."""
    points: list[_Point] = []
    state, done = base, list[Call]()
    for one in answered.values():
        history = _history(one.item)
        if history[: len(done)] != done:
            state, done = base, []
        reached = await _follow(shop, state, one.item, len(done))
        if reached is None:
            return {}
        state, done = reached, history
        points.append(_Point(one, state, await _run(shop, state, grader.expected_calls(one.item.item))))
    played: dict[int, Played] = {}
    for position, (place, one) in enumerate(answered.items()):
        if _is_to_play(one):
            calls = [(call.name, grader.read_arguments(call.arguments)) for call in one.answer.tool_calls]
            played[place] = _judge(await _run(shop, points[position].start, calls), points[position:])
    return played


def _judge(made: _Outcome, points: Sequence[_Point]) -> Played:
    """Compare what a model's calls gave with what the right ones give, here and at the points that follow."""
    start, right = points[0].start.digest(), points[0].right
    changed = made.shop.digest() != start
    if made.refused or right.refused or not right.replies:
        return Played(same=False, changed=changed)
    if right.shop.digest() != start:
        return Played(same=made.shop.digest() == right.shop.digest(), changed=changed)
    to_come = list(_information(points))
    return Played(same=not changed and all(told in to_come for told in made.told), changed=changed)


def _information(points: Sequence[_Point]) -> Iterator[Any]:
    """Yield what the right calls tell from the first point on, until words, a change, or a turn that is left out."""
    turn = points[0].one.meta.turn
    for point in points:
        right = point.right
        if not right.replies or point.one.meta.turn != turn or right.shop.digest() != point.start.digest():
            return
        yield from right.told
        turn += 1 + len(right.replies)


async def _follow(shop: LocalShop, state: RetailStore, item: EvalItem, done: int) -> RetailStore | None:
    """Return the state after the calls of an item's history beyond the first `done`; None where a result differs."""
    results = {m["tool_call_id"]: m["content"] for m in item.item["messages"] if m["role"] == "tool"}
    sandbox = shop.reset(state)
    for wire in _wires(item)[done:]:
        name, arguments = grader.read_call(wire)
        reply = await shop.call(name, arguments or {})
        if reply.text != results.get(wire.get("id")):
            return None
    return sandbox


async def _run(shop: LocalShop, start: RetailStore, calls: Iterable[Call]) -> _Outcome:
    """Run calls on a fork of a state; what cannot be read is refused."""
    sandbox = shop.reset(start)
    replies = [
        ToolReply("", is_error=True) if arguments is None else await shop.call(name, arguments)
        for name, arguments in calls
    ]
    return _Outcome(replies, sandbox)


def _history(item: EvalItem) -> list[Call]:
    return [grader.read_call(wire) for wire in _wires(item)]


def _wires(item: EvalItem) -> list[dict[str, Any]]:
    return [call for message in item.item["messages"] for call in message.get("tool_calls") or ()]


def _value(text: str) -> Any:
    """Return a result as a JSON value, so that the order of keys says nothing; a bare id stays the text that it is."""
    try:
        return json.loads(text) if text[:1] in "{[" else text
    except ValueError:
        return text
