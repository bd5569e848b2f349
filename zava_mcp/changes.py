"""What has changed in a shop: each field that is another than at the start, with both values."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from zava_mcp.store import RetailStore


class Change(NamedTuple):
    """A field of a record, such as `address.city` of `users/noah_brown_6181`; None where there is no such field."""

    record: str
    field: str
    before: Any
    after: Any


def changes(start: RetailStore, now: RetailStore) -> list[Change]:
    """Return what differs between two states of one shop, record by record."""
    found: list[Change] = []
    for kind, olds, news in (("users", start.users, now.users), ("orders", start.orders, now.orders)):
        for key in news:
            # Forks share the records that none of them changed.
            if news[key] is not olds[key]:
                before, after = (dict(_leaves(side[key].to_json())) for side in (olds, news))
                fields = dict.fromkeys([*before, *after])
                found += [
                    Change(f"{kind}/{key}", field, before.get(field), after.get(field))
                    for field in fields
                    if before.get(field) != after.get(field)
                ]
    return found


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values inside a JSON value with their paths."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}" if path else key)
    elif isinstance(value, list) and value:
        for place, inner in enumerate(value):
            yield from _leaves(inner, f"{path}[{place}]")
    else:
        yield path, value
