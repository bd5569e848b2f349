"""Makes a replay member of a transcript: the customer's words, and just the records of the shop that they are about."""

import asyncio
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tasks.core.conversation import Message
from tasks.core.errors import DataError
from tasks.core.family import RECORDED, Member, Part
from tasks.core.grader import read_arguments
from tasks.core.scenario import GoldCall
from tasks.core.score import invented_values
from tasks.core.story import PlayedCall, chain_faults
from tasks.endstate import wanted_state
from tasks.files import parse_json_lines, read_bytes, write_atomically
from tasks.replay_pack import world_of
from zava_mcp.local import LocalShop
from zava_mcp.store import RetailStore

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_ID = re.compile(r"#?\w+")


def add_member(transcript: Path, shop: RetailStore, folder: Path, goal: Path | None = None) -> Member:
    """Make a member of a transcript and put it into the pack's folder, named like the transcript.

    The wanted end is what the calls in `goal` lead to. Without them it is what the transcript led to where its chain
    from lookup to profile is whole and nothing in it is made up; of a transcript with such a fault the end is not
    judged, for it does not tell what the right one is.

    Raises:
        DataError: A file is broken, the shop has no customer of the transcript, the goal cannot be reached, or there is
            another member of this name.
    """
    messages = read_transcript(transcript)
    name = transcript.name.partition(".")[0]
    if not _NAME.fullmatch(name):
        raise DataError(f"{str(transcript)!r} gives no name for a member; use letters, digits, '.', '_' and '-'.")
    said = [message.content or "" for message in messages if message.role == "user"]
    if not said:
        raise DataError(f"{transcript} has no words of a customer.")
    member = Member(
        id=f"{RECORDED}/{name}",
        kind=RECORDED,
        world=_world(messages, shop, transcript),
        part=Part(opening=said[0], turns=tuple(said[1:]), answers={"other": said[0]}),
        goal=None if goal is None else read_goal(goal),
    )
    member = asyncio.run(_with_goal(member, messages))
    _write(member, folder / f"{name}.jsonl")
    return member


def read_transcript(path: Path) -> list[Message]:
    """Return the messages of a transcript: a list of OpenAI messages, an object that holds it, or a message a line.

    Raises:
        DataError: The file is broken, or an entry is no message.
    """
    entries = _entries(path)
    try:
        return [Message.from_openai(entry) for entry in entries]
    except (KeyError, TypeError, AttributeError, ValidationError) as error:
        raise DataError(f"{path} holds an entry that is no OpenAI message: {error}") from error


def _entries(path: Path) -> list[dict[str, Any]]:
    content = read_bytes(path)
    try:
        whole = json.loads(content)
    except ValueError:
        whole = [line for _, line in parse_json_lines(content, path)]
    entries = whole.get("messages") if isinstance(whole, dict) else whole
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise DataError(f"{path} holds no list of messages.")
    return entries


def read_goal(path: Path) -> tuple[GoldCall, ...]:
    """Return the calls of a file: a JSON list of objects with `name` and `arguments`.

    Raises:
        DataError: It is something else.
    """
    try:
        entries = json.loads(read_bytes(path))
        return tuple(GoldCall(name=entry["name"], arguments=entry["arguments"]) for entry in entries)
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is not a JSON list of calls with name and arguments: {error!r}") from error


def _world(messages: Sequence[Message], shop: RetailStore, transcript: Path) -> dict[str, Any]:
    """Return the snapshot of the customers that the transcript names, with their orders and the products in these."""
    text = "\n".join(_texts(messages))
    ids, folded = set(_ID.findall(text)), text.casefold()
    users = {key for key, user in shop.users.items() if key in ids or _names(folded, user.to_json())}
    users |= {shop.orders[key].user_id for key in ids if key in shop.orders}
    if not users:
        raise DataError(
            f"{transcript} names no customer of the shop; name the shop of its time: --set world.snapshot=FILE."
        )
    orders = [order_id for user_id in sorted(users) for order_id in shop.user(user_id).orders]
    products = {item.product_id for order_id in orders for item in shop.order(order_id).items}
    return {
        "products": {key: product.to_json() for key, product in shop.products.items() if key in products | ids},
        "users": {key: shop.user(key).to_json() for key in sorted(users)},
        "orders": {key: shop.order(key).to_json() for key in orders},
    }


def _texts(messages: Sequence[Message]) -> Iterator[str]:
    for message in messages:
        if message.role != "system":
            yield message.content or ""
            yield from (call.arguments for call in message.tool_calls)


def _names(text: str, user: Mapping[str, Any]) -> bool:
    """Whether a text holds a customer's email, or first name, last name and ZIP."""
    name = user["name"]
    parts = (name["first_name"], name["last_name"], user["address"]["zip"])
    return user["email"].casefold() in text or all(part.casefold() in text for part in parts)


async def _with_goal(member: Member, messages: Sequence[Message]) -> Member:
    """Return the member with a goal that can be reached in its world, or without one."""
    base = world_of(member)
    if member.goal is None:
        played, writes = await _played_again(messages, base)
        return member if chain_faults(played) else member.model_copy(update={"goal": writes})
    _, refused = await wanted_state(base, member.goal)
    if refused:
        raise DataError(f"The goal cannot be reached: {refused[0]}")
    return member


async def _played_again(
    messages: Sequence[Message], base: RetailStore
) -> tuple[list[PlayedCall], tuple[GoldCall, ...]]:
    """Make the transcript's calls on a fresh shop; return them with their results, and those that changed the shop."""
    played: list[PlayedCall] = []
    writes: list[GoldCall] = []
    turn = 0
    async with LocalShop(base) as shop:
        store, tools = shop.reset(), await shop.tools()
        for place, message in enumerate(messages):
            turn += message.role == "user"
            before = [earlier.to_openai() for earlier in messages[:place]]
            for call in message.tool_calls:
                state, arguments = store.digest(), read_arguments(call.arguments) or {}
                text, is_error = await shop.call(call.name, arguments)
                invented = tuple(invented_values(call, before, tools))
                played.append(PlayedCall(turn=turn, call=call, result=text, is_error=is_error, invented=invented))
                if store.digest() != state:
                    writes.append(GoldCall(name=call.name, arguments=arguments))
    return played, tuple(writes)


def _write(member: Member, path: Path) -> None:
    line = member.model_dump_json().encode() + b"\n"
    if path.exists() and read_bytes(path) != line:
        raise DataError(f"There is another replay member in {path}; rename the transcript.")
    write_atomically(path, line)
