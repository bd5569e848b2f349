"""What changed in the shop, field by field."""

from collections.abc import Sequence
from typing import Any

from tasks.core.record import Record


class Change(Record):
    """A field of a record, such as `address.city` of `users/noah_brown_6181`; None where there is no such field."""

    record: str
    field: str
    before: Any
    after: Any


def between(earlier: Sequence[Change], later: Sequence[Change]) -> tuple[Change, ...]:
    """Return what happened between two looks at a shop, of which each tells all changes since its start."""
    olds = {(change.record, change.field): change for change in earlier}
    news = {(change.record, change.field): change for change in later}
    made = []
    for key in dict.fromkeys([*olds, *news]):
        old, new = olds.get(key), news.get(key)
        start = old.before if old else new.before if new else None
        before, after = old.after if old else start, new.after if new else start
        if before != after:
            made.append(Change(record=key[0], field=key[1], before=before, after=after))
    return tuple(made)
