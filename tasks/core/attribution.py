"""Whose fault it is: the simulated customer's, who left their part, or the agent's, who did not serve them."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from tasks.core.blueprint import Blame, Blueprint
from tasks.core.conversation import Message
from tasks.core.provenance import Sources
from tasks.core.tool_schema import ToolBook

_AGENT_TALK = re.compile(
    r"^\s*(agent|assistant|representative)\s*:|<tool_call>|\"arguments\"\s*:|\bhow (can|may) i (help|assist) you\b"
    r"|\banything else (that )?i can (help|assist)\b"
    r"|\bi(?: have|'ve) (now |successfully )*(updated|cancell?ed|booked|moved|changed|processed|exchanged) your\b",
    re.IGNORECASE,
)
# An agent that asks this thinks that all is done.
_CLOSING = re.compile(
    r"\b(anything|something|what) else\b|\b(further|more|other) (help|question|request)", re.IGNORECASE
)
_WORD = re.compile(r"[^\s,;]+")
_SHORTEST_FACT = 4  # "2 cats" and "1st" are no facts that a customer could not have made up


class CustomerWatch:
    """Follows what a simulated customer says, and knows what they may say."""

    def __init__(self, blueprint: Blueprint) -> None:
        """Let the customer know what the blueprint tells them."""
        self._blueprint = blueprint
        self._sources = Sources(ToolBook([]))
        self._said: list[str] = []
        self.hears("\n".join([blueprint.wish, *blueprint.facts.values()]))

    def hears(self, text: str) -> None:
        """Let the customer know what the agent said."""
        self._sources.add({"role": "user", "content": text})

    def fault(self, text: str) -> Blame | None:
        """Take a message of the customer and return what is wrong with it."""
        self._said.append(text)
        if not text.strip():
            return Blame(side="customer", kind="says nothing")
        if found := _AGENT_TALK.search(text):
            return Blame(side="customer", kind="speaks as the agent", detail=repr(found.group().strip()))
        for word in _WORD.findall(text):
            if _is_fact(word) and self._sources.origin_of_prose(word).kind == "invented":
                return Blame(side="customer", kind="invents a fact", detail=repr(word))
        return None

    def fault_of_ending(self, agent: str) -> Blame | None:
        """Return why a customer who is not served must not go yet: a fact kept back, or a question left open."""
        told = _bare(" ".join(self._said))
        needed = {_bare(str(leaf)) for call in self._blueprint.gold_calls for leaf in _leaves(call.arguments)}
        for name, value in self._blueprint.facts.items():
            if _bare(value) in needed and _bare(value) not in told:
                return Blame(side="customer", kind="ends early", detail=f"never told the {name}")
        if agent.rstrip().endswith("?") and not _CLOSING.search(agent):
            return Blame(side="customer", kind="ends early", detail="left the agent's question open")
        return None


def goal_fault(blueprint: Blueprint, state: str, messages: Sequence[Message]) -> Blame | None:
    """Return in what a conversation falls short of its blueprint, the agent's fault unless the customer left early."""
    if state != blueprint.gold_state:
        made = [(call.name, call.parsed()) for message in messages for call in message.tool_calls]
        missing = [call for call in blueprint.gold_calls if (call.name, call.arguments) not in made]
        detail = f"{missing[0].name} was not called as it should" if missing else "more was changed than was wanted"
        return Blame(side="agent", kind="goal not reached", detail=detail)
    words = _bare(" ".join(m.content or "" for m in messages if m.role == "assistant"))
    for told in blueprint.tells:
        if _bare(told) not in words:
            return Blame(side="agent", kind="goal not reached", detail=f"the customer was never told {told!r}")
    return None


def _is_fact(word: str) -> bool:
    return len(word) >= _SHORTEST_FACT and any(c.isdigit() or c in "@_" for c in word)


def _leaves(value: Any) -> Iterator[Any]:
    children: Iterable[Any] = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for child in children:
        yield from _leaves(child)
    if not isinstance(value, dict | list):
        yield value


def _bare(text: str) -> str:
    """Return the letters and digits of a text: who says '555 3120' has told '555-3120'."""
    return "".join(c for c in text.casefold() if c.isalnum())
