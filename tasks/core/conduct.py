"""Was a played conversation led as the policy asks, whatever the model wrote and whatever the shop let pass."""

import json
from collections.abc import Iterator, Sequence

from tasks.core.conversation import Message
from tasks.core.grader import read_arguments
from tasks.core.policy import RETAIL, is_yes
from tasks.core.story import PlayedCall

HAND_OVER, WRITES = RETAIL.hand_over, RETAIL.writes
# What anybody may be told, and a hand-over.
_ABOUT_NOBODY = frozenset(
    {"list_products", "search_products", "get_product_details", "get_item_details", "calculate", HAND_OVER}
)


def broken_rules(messages: Sequence[Message], calls: Sequence[PlayedCall]) -> tuple[str, ...]:
    """Return each rule of the policy that was broken, once: by the form, on identity, on consent, by an invention."""
    found = [*_form(messages), *_identity(calls), *_ownership(calls), *_consent(messages)]
    if any(played.invented for played in calls):
        found.append("an invented argument")
    return tuple(dict.fromkeys(found))


def _form(messages: Sequence[Message]) -> Iterator[str]:
    for message in messages:
        if len(message.tool_calls) > 1:
            yield "more than one call in a turn"
        if message.tool_calls and (message.content or "").strip():
            yield "text beside a tool call"


def _identity(calls: Sequence[PlayedCall]) -> Iterator[str]:
    customer: str | None = None
    for place, played in enumerate(calls):
        name, arguments = played.call.name, read_arguments(played.call.arguments) or {}
        if name in RETAIL.lookups and not played.is_error:
            if customer not in {None, played.result}:
                yield "a second customer was looked up"
            customer = played.result
            after = calls[place + 1 : place + 2]
            if not after or after[0].call.name != RETAIL.profile or after[0].turn != played.turn:
                yield "the profile was not fetched right after the lookup"
        elif customer is None and name not in RETAIL.lookups | _ABOUT_NOBODY:
            yield "acted before the customer was found"
        elif arguments.get("user_id", customer) != customer:
            yield "another customer's profile"


def _ownership(calls: Sequence[PlayedCall]) -> Iterator[str]:
    """Yield a change of an order that was shown to be somebody else's."""
    found = {played.result for played in calls if played.call.name in RETAIL.lookups and not played.is_error}
    owners: dict[str, str] = {}
    for played in calls:
        order_id = str((read_arguments(played.call.arguments) or {}).get("order_id"))
        if played.call.name == "get_order_details" and not played.is_error:
            owners[order_id] = _owner(played.result)
        if played.call.name in WRITES and owners.get(order_id) not in {None, *found}:
            yield "another customer's order"


def _consent(messages: Sequence[Message]) -> Iterator[str]:
    asked, agreed = False, False
    for message in messages:
        if message.role == "user":
            agreed = asked and is_yes(message.content or "")
        elif message.role == "assistant" and not message.tool_calls:
            asked = "?" in (message.content or "")
        elif any(call.name in WRITES for call in message.tool_calls) and not agreed:
            yield "changed without an explicit yes"


def _owner(order: str) -> str:
    """Return whose order a tool showed."""
    try:
        record = json.loads(order)
    except ValueError:
        return ""
    return str(record.get("user_id")) if isinstance(record, dict) else ""
