"""What kind of move a turn is: a call that reads, writes or hands over; or words that ask, confirm, refuse or tell."""

import re
from collections.abc import Collection
from typing import Any, Literal

from tasks.core import grader

Act = Literal["ask", "confirm", "refuse", "hand over", "tell"]
Move = Literal["read", "write", "hand over", "ask", "confirm", "refuse", "tell"]

HAND_OVER_TOOL = "transfer_to_human_agents"

# What an agent says is a few sentences; a model that never ends must not cost minutes.
_CHARS = 10_000
_SENTENCE = re.compile(r"[^.!?]*[.!?]?")
_OFFER = re.compile(r"\b(anything|something) else\b.*\?", re.IGNORECASE | re.DOTALL)
_CONFIRM = re.compile(
    r"\(yes/no\)|\b(do you|please|can you|could you) confirm\b|\breply\b.*\byes\b"
    r"|\b(shall|should|may) i (proceed|go ahead|do (this|that|so))\b"
    r"|\b(would|do) you (like|want) (me )?to (proceed|go ahead)\b"
    r"|\bis (this|that|it|everything) (right|correct|ok|okay)\b",
    re.IGNORECASE,
)
_REFUSE = re.compile(
    r"\b(sorry(?! to hear)|unfortunately|apologi[sz]e|unable to|cannot|can't|can not|could not|couldn't"
    r"|not (possible|able|allowed)|do not find|not in your account)\b",
    re.IGNORECASE,
)
_REQUEST = re.compile(
    r"\bplease (give|tell|provide|share|send|name|state|let me know)\b|\bi('ll| will)? need (you|your|to know)\b",
    re.IGNORECASE,
)
_HAND_OVER = re.compile(
    r"\b(human|colleague|person|specialist)\b.*\b(now|take|help|assist|you)\b"
    r"|\b(hand|transferr?|connect|pass)(ed|ing)?\b.*\b(human|colleague|agent)\b",
    re.IGNORECASE,
)


def act_of(text: str) -> Act:
    """Return what an agent's words do, by their wording alone.

    The order decides: a yes that is asked for before anything else, then a refusal, a hand-over, any other question or
    request; an offer of more help is no question.
    """
    # Offers at the end of an answer are no questions of their own.
    said = "".join(sentence for sentence in _SENTENCE.findall(text[:_CHARS]) if not _OFFER.search(sentence))
    if "?" in said and _CONFIRM.search(said):
        return "confirm"
    if _REFUSE.search(said):
        return "refuse"
    if _HAND_OVER.search(said):
        return "hand over"
    return "ask" if "?" in said or _REQUEST.search(said) else "tell"


def move_of(item: dict[str, Any], writes: Collection[str]) -> Move:
    """Return the right move of an item; `writes` are the tools that change the shop, and all others read."""
    names = [name for name, _ in grader.expected_calls(item)]
    if not names:
        return act_of(item["expected_output"].get("content") or "")
    if HAND_OVER_TOOL in names:
        return "hand over"
    return "write" if any(name in writes for name in names) else "read"
