"""Why a decision came out wrong: one kind each, found by one deterministic function.

A call that is bad in itself comes first, whatever was right; then when to call, which tool, which arguments: the order
of `MEANINGS`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from tasks.core import grader
from tasks.core.conversation import ToolCall

FailureKind = Literal[
    "no_answer",
    "malformed_json",
    "unknown_tool",
    "foreign_id",
    "invented_id",
    "early_write",
    "extra_call",
    "text_instead_of_call",
    "missing_call",
    "wrong_tool",
    "stale_id",
    "wrong_argument",
]
Stage = Literal["answer", "form", "when to call", "which tool", "which arguments"]

# In the order in which they are tried.
MEANINGS: Mapping[FailureKind, str] = {
    "no_answer": "the provider gave none: an error, a time-out, a filter",
    "malformed_json": "the arguments of a call are not a JSON object",
    "unknown_tool": "a call of a tool that the request did not offer",
    "foreign_id": "an argument is an id of another customer",
    "invented_id": "an argument, mostly an id, comes from nowhere",
    "early_write": "a change where the right move was words: no yes was given",
    "extra_call": "a call where the right move was words, or more calls than were right",
    "text_instead_of_call": "words where a call was right",
    "missing_call": "nothing where a call was right, or fewer calls than were right",
    "wrong_tool": "another tool than the right one",
    "stale_id": "an id of this customer or the catalogue, but not the one that is right here",
    "wrong_argument": "the right tool, with arguments that differ in any other way",
}

STAGES: Mapping[FailureKind, Stage] = {
    "no_answer": "answer",
    "malformed_json": "form",
    "unknown_tool": "which tool",
    "foreign_id": "which arguments",
    "invented_id": "which arguments",
    "early_write": "when to call",
    "extra_call": "when to call",
    "text_instead_of_call": "when to call",
    "missing_call": "when to call",
    "wrong_tool": "which tool",
    "stale_id": "which arguments",
    "wrong_argument": "which arguments",
}


class ShopFacts(NamedTuple):
    """What the taxonomy must know of a shop.

    `writes` names the tools that change it; `owners` gives each id its customer, or None where it has none.
    """

    writes: frozenset[str] = frozenset()
    owners: Mapping[str, str | None] = {}


class Missed(NamedTuple):
    """A decision that came out wrong: what was expected, and what the model did."""

    expected: Sequence[tuple[str, Any]]
    calls: Sequence[ToolCall]
    text: str
    tools: frozenset[str]
    customer_id: str
    invented: bool
    shop: ShopFacts


def failure_of(missed: Missed) -> FailureKind:
    """Return why a decision that was answered came out wrong: the first kind, in the order above, that fits."""
    return next(kind for kind, fits in _TESTS if fits(missed))


def _malformed(missed: Missed) -> bool:
    return any(grader.read_arguments(call.arguments) is None for call in missed.calls)


def _unknown(missed: Missed) -> bool:
    return any(call.name not in missed.tools for call in missed.calls)


def _foreign(missed: Missed) -> bool:
    owners = (missed.shop.owners.get(value) for value in _texts(missed.calls))
    return any(owner is not None and owner != missed.customer_id for owner in owners)


def _early(missed: Missed) -> bool:
    return not missed.expected and any(call.name in missed.shop.writes for call in missed.calls)


def _extra(missed: Missed) -> bool:
    return (not missed.expected and bool(missed.calls)) or (_names_cover(missed) and _surplus(missed) > 0)


def _words(missed: Missed) -> bool:
    return not missed.calls and bool(missed.text.strip())


def _missing(missed: Missed) -> bool:
    return not missed.calls or (_surplus(missed) < 0 and _all_expected(missed))


def _wrong_tool(missed: Missed) -> bool:
    return not _names_cover(missed)


def _stale(missed: Missed) -> bool:
    right = set(_leaves([arguments for _, arguments in missed.expected]))
    return any(value in missed.shop.owners and value not in right for value in _texts(missed.calls))


_TESTS: Sequence[tuple[FailureKind, Callable[[Missed], bool]]] = (
    ("malformed_json", _malformed),
    ("unknown_tool", _unknown),
    ("foreign_id", _foreign),
    ("invented_id", lambda missed: missed.invented),
    ("early_write", _early),
    ("extra_call", _extra),
    ("text_instead_of_call", _words),
    ("missing_call", _missing),
    ("wrong_tool", _wrong_tool),
    ("stale_id", _stale),
    ("wrong_argument", lambda _: True),
)


def _surplus(missed: Missed) -> int:
    return len(missed.calls) - len(missed.expected)


def _names_cover(missed: Missed) -> bool:
    """Whether every expected tool was called, as often as expected at least."""
    made = [call.name for call in missed.calls]
    wanted = [name for name, _ in missed.expected]
    return all(made.count(name) >= wanted.count(name) for name in wanted)


def _all_expected(missed: Missed) -> bool:
    """Whether no tool was called but those expected."""
    made = [call.name for call in missed.calls]
    wanted = [name for name, _ in missed.expected]
    return all(wanted.count(name) >= made.count(name) for name in made)


def _texts(calls: Sequence[ToolCall]) -> Iterator[str]:
    yield from _leaves([grader.read_arguments(call.arguments) for call in calls])


def _leaves(value: Any) -> Iterator[str]:
    """Yield the texts in a JSON value, however deep. A loop, not a recursion: depth is the model's to choose."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, Mapping):
            waiting.extend(one.values())
        elif isinstance(one, list):
            waiting.extend(one)
