"""Coverage: which tool was used with which outcome under which rule of the policy, and where examples are missing."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, NamedTuple

from tasks.core.conversation import Conversation
from tasks.core.errand import TRAPS
from tasks.core.errors import ConfigError
from tasks.core.policy import RETAIL
from tasks.core.scenario import Intent, Trap

Outcome = Literal["ok", "error", "refused", "declined", "handed_over"]

# The tool that serves a request in the end.
_SERVED_BY: dict[Intent, str] = {
    "update_address": "update_address",
    "order_status": "get_order_details",
    "order_status_by_item": "get_order_details",
    "cancel": "cancel_pending_order",
    "return": "return_delivered_order_items",
    "exchange": "exchange_delivered_order_items",
    "modify_items": "modify_pending_order_items",
    "modify_payment": "modify_pending_order_payment",
    "modify_order_address": "modify_pending_order_address",
    "list_products": "list_products",
    "human": RETAIL.hand_over,
}
_EXPLICIT_YES, _ON_REQUEST = "explicit_yes", "human_on_request"


class Cell(NamedTuple):
    """One cell of the table: a tool, what came of it, and the rule of the policy that decided it."""

    tool: str
    outcome: Outcome
    rule: str

    def __str__(self) -> str:
        """Return the cell as profiles name it: `cancel_pending_order refused wrong_state`."""
        return " ".join(self)


class CoverageRow(NamedTuple):
    """A cell with how many requests and calls fell into it, how many are wanted, and how many are missing."""

    tool: str
    outcome: str
    rule: str
    seen: int
    target: int
    missing: int


def cells_of(conversation: Conversation) -> Iterator[Cell]:
    """Yield the cell of every call that was made and of every request that was refused or declined."""
    results = {m.tool_call_id: m.content or "" for m in conversation.messages if m.role == "tool"}
    for message in conversation.messages:
        for call in message.tool_calls:
            yield _cell_of_call(call.name, results.get(call.id, ""))
    for part in filter(None, conversation.outcome.split("; ")):
        intent, _, outcome = part.partition(": ")
        tool = next((tool for known, tool in _SERVED_BY.items() if known == intent), intent)
        if outcome == "kept":
            yield Cell(tool, "declined", _EXPLICIT_YES)
        elif outcome.startswith("refused "):
            yield Cell(tool, "refused", outcome.removeprefix("refused "))


def _cell_of_call(name: str, result: str) -> Cell:
    if name == RETAIL.hand_over:
        return Cell(name, "handed_over", _ON_REQUEST)
    # Records are JSON and ids are one word; a refusal of the shop is a sentence.
    outcome: Outcome = "error" if " " in result and not result.startswith(("{", "[")) else "ok"
    if name in RETAIL.lookups:
        return Cell(name, outcome, "identity")
    if name == RETAIL.profile:
        return Cell(name, outcome, "profile_after_lookup")
    return Cell(name, outcome, _EXPLICIT_YES if name in RETAIL.writes else "own_records")


def needed_tools(outcome: str) -> list[str]:
    """Return the tools without which requests with this outcome cannot have been served."""
    served = (part.partition(": ") for part in outcome.split("; "))
    ends = {intent for intent, _, end in served if end in {"answered", "done", "transferred"}}
    return [tool for intent, tool in _SERVED_BY.items() if intent in ends]


def table(counts: Mapping[str, int], targets: Mapping[str, int]) -> list[CoverageRow]:
    """Return the table of all cells that were met or are wanted, in order of their names."""
    rows = []
    for key in sorted({*counts, *targets}):
        tool, outcome, rule = key.split(" ")
        count, target = counts.get(key, 0), targets.get(key, 0)
        rows.append(CoverageRow(tool, outcome, rule, count, target, max(0, target - count)))
    return rows


def holes(conversations: Iterable[Conversation], targets: Mapping[str, int]) -> list[tuple[Intent, Trap | None]]:
    """Return a request, with its trap if any, for each example that is missing, the largest hole first.

    Raises:
        ConfigError: A target names a cell that no request leads to.
    """
    counts = Counter(str(cell) for conversation in conversations for cell in cells_of(conversation))
    missing = [(target - counts[key], key) for key, target in targets.items() if target > counts[key]]
    return [_request_for(key) for lack, key in sorted(missing, reverse=True) for _ in range(lack)]


def _request_for(key: str) -> tuple[Intent, Trap | None]:
    known = {str(cell): request for cell, request in _steerable()}
    if key not in known:
        raise ConfigError(f"No request leads to {key!r}. Targets of synthesis.coverage may be: {', '.join(known)}.")
    return known[key]


def _steerable() -> Iterator[tuple[Cell, tuple[Intent, Trap | None]]]:
    for intent, tool in _SERVED_BY.items():
        if intent == "human":
            yield Cell(tool, "handed_over", _ON_REQUEST), (intent, None)
            continue
        yield Cell(tool, "ok", _EXPLICIT_YES if tool in RETAIL.writes else "own_records"), (intent, None)
        for trap in TRAPS.get(intent, ()):
            cell = Cell(tool, "declined", _EXPLICIT_YES) if trap == "changes_mind" else Cell(tool, "refused", trap)
            yield cell, (intent, trap)
