"""Whether a shop ended as it must: what the wanted calls make of a fresh one, compared record by record."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from tasks.core.record import canonical_json
from tasks.core.scenario import GoldCall
from zava_mcp.entities import Record
from zava_mcp.local import LocalShop
from zava_mcp.store import RetailStore

_SHOWN = 120


class Refusal(NamedTuple):
    """A call of a goal that the shop did not take, and what it told."""

    call: GoldCall
    told: str

    def __str__(self) -> str:
        """Return both as one line."""
        return f"{self.call.name}{canonical_json(self.call.arguments)}: {self.told}"


async def wanted_state(base: RetailStore, goal: Sequence[GoldCall]) -> tuple[RetailStore, tuple[Refusal, ...]]:
    """Return the shop after the goal's calls, made in order over MCP, and the calls that it refused."""
    refused = []
    async with LocalShop(base) as shop:
        store = shop.reset()
        for call in goal:
            text, is_error = await shop.call(call.name, call.arguments)
            if is_error:
                refused.append(Refusal(call, text))
    return store, tuple(refused)


def state_faults(wanted: RetailStore, found: RetailStore) -> tuple[str, ...]:
    """Return each field that is not as wanted, such as `orders['#W1'].status is 'pending', not 'cancelled'`."""
    if wanted.digest() == found.digest():
        return ()
    return (
        *_differences("users", wanted.users, found.users),
        *_differences("orders", wanted.orders, found.orders),
    )


def _differences(kind: str, wanted: Mapping[str, Record], found: Mapping[str, Record]) -> Iterator[str]:
    for key, record in wanted.items():
        if record == found[key]:
            continue
        right, made = record.to_json(), found[key].to_json()
        for field in dict.fromkeys((*right, *made)):
            if right.get(field) != made.get(field):
                yield f"{kind}[{key!r}].{field} is {_cut(made.get(field))}, not {_cut(right.get(field))}"


def _cut(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
