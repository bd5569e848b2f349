"""Where argument values come from: the customer, a tool result, the policy or a tool's schema; else from nowhere.

A value is *sourced* when it is copied from there, or derived simply: another case, a '#' or '$' more or less, thousands
separators, a part of a longer value cut at a word boundary, or words of several sources put together with blanks and
commas, as addresses are. Values with digits must come from the customer or a tool, since the policy and the tools'
descriptions hold example ids. A made-up id such as the customer's name with a ZIP code behind it has no source.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Any, Self

from tasks.core.tool_schema import ToolBook

# Written by the model in its own words; of these only ids, addresses and numbers are facts that need a source.
PROSE_PARAMETERS = frozenset({"summary"})

_SHORTEST_ID = 4
_NUMBER = re.compile(r"(?<![\w.])-?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?(?!\w)")
# A number that may be written in other ways; one with a leading zero is an id and may not.
_AMOUNT = re.compile(r"-?(?:\d{1,3}(?:,\d{3})+|0|[1-9]\d*)(?:\.\d+)?")
_PARTS = re.compile(r"[\s,;]+")
_ARITHMETIC = re.compile(r"(?=.*[+*/()-])[\d.\s+*/()-]+")
_EDGES = ".:!?\"'()"


class Sources:
    """All that a model may take values from at one point of a conversation; it grows message by message."""

    def __init__(self, tools: ToolBook) -> None:
        """Start with what the tools' schemas offer."""
        self._closed = {_fold(value) for value in tools.closed_values if isinstance(value, str)}
        self._closed_numbers = {Decimal(str(value)) for value in tools.closed_values if _is_number(value)}
        self._told: list[str] = []  # by the customer and the tools
        self._guidance = [_fold_again(tools.text)]  # policy and tool descriptions: words, never ids
        self._numbers: set[Decimal] = set()
        self._counted = 0

    @classmethod
    def of(cls, messages: Iterable[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]]) -> Self:
        """Return the sources of a whole history in the OpenAI shape."""
        sources = cls(ToolBook(tools))
        for message in messages:
            sources.add(message)
        return sources

    def add(self, message: Mapping[str, Any]) -> None:
        """Take in one message; what the assistant said is no source, or it could vouch for itself."""
        content = message.get("content")
        if not isinstance(content, str) or message["role"] == "assistant":
            return
        if message["role"] == "system":
            self._guidance.append(_fold_again(content))
        else:
            self._told.append(_fold(_unescaped(content) if message["role"] == "tool" else content))

    def hold(self, value: Any) -> bool:
        """Whether a scalar argument value comes from somewhere."""
        if value is None or isinstance(value, bool):
            return True
        if isinstance(value, int | float):
            return self._hold_number(Decimal(str(value)))
        return self._hold_text(_fold(value))

    def hold_facts_of(self, prose: str) -> bool:
        """Whether all ids, addresses and numbers in a text of the model's own words come from somewhere."""
        parts = (part.strip(_EDGES) for part in _PARTS.split(_fold(prose)))
        return all(self._hold_text(part) for part in parts if any(c.isdigit() or c in "@_" for c in part))

    def _hold_text(self, text: str) -> bool:
        if not text or text in self._closed or self._found(text):
            return True
        bare = text.lstrip("#$")
        if bare != text and self._found(bare):
            return True
        if _AMOUNT.fullmatch(bare):
            return self._hold_number(Decimal(bare.replace(",", "")))
        parts = [stripped for part in _PARTS.split(text) if (stripped := part.strip(_EDGES))]
        if len(parts) > 1 and all(self._found(part) or self._found(part.lstrip("#$")) for part in parts):
            return True
        return _ARITHMETIC.fullmatch(text) is not None and all(map(self._hold_number, _numbers_in(text)))

    def _hold_number(self, number: Decimal) -> bool:
        for text in self._told[self._counted :]:
            self._numbers.update(_numbers_in(text))
        self._counted = len(self._told)
        return number in self._numbers or number in self._closed_numbers

    def _found(self, text: str) -> bool:
        if not text:
            return False
        if any(map(str.isdigit, text)):
            return any(_within(text, told) for told in self._told)
        return any(_within(text, source) for source in (*self._told, *self._guidance))


def unsourced(arguments: Mapping[str, Any], sources: Sources) -> list[str]:
    """Return the argument values that come from nowhere, each as its path and the value: `user_id 'noah_brown_80279'`.

    Looks at every value in objects and lists; the work is linear in the size of the conversation for each value.
    """
    return [
        f"{path} {value!r}"
        for name, argument in arguments.items()
        for path, value in _leaves(name, argument)
        if not (sources.hold_facts_of(value) if name in PROSE_PARAMETERS and _is_text(value) else sources.hold(value))
    ]


def is_propagated(value: Any, tool_results: Iterable[str]) -> bool:
    """Whether an argument holds something that a tool returned earlier: a number, or four or more characters."""
    results = [_fold(_unescaped(result)) for result in tool_results]
    return any(
        any(_within(_fold(str(leaf)), result) for result in results)
        for _, leaf in _leaves("", value)
        if _is_number(leaf) or (_is_text(leaf) and len(leaf) >= _SHORTEST_ID)
    )


def _leaves(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(f"{path}.{key}" if path else str(key), inner)
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from _leaves(f"{path}[{place}]", inner)
    else:
        yield path, value


def _within(text: str, source: str) -> bool:
    """Whether a text occurs in a source with no letter or digit going on before or after it."""
    start = source.find(text)
    while start >= 0:
        end = start + len(text)
        open_before = start == 0 or not (text[0].isalnum() and source[start - 1].isalnum())
        open_after = end == len(source) or not (text[-1].isalnum() and source[end].isalnum())
        if open_before and open_after:
            return True
        start = source.find(text, start + 1)
    return False


def _numbers_in(text: str) -> Iterator[Decimal]:
    for found in _NUMBER.findall(text):
        yield Decimal(found.replace(",", ""))


def _fold(text: str) -> str:
    return " ".join(text.casefold().split())


@lru_cache(maxsize=16)
def _fold_again(text: str) -> str:
    """Fold a text that conversation after conversation begins with."""
    return _fold(text)


def _unescaped(result: str) -> str:
    """Return a tool result as a reader sees it, where its JSON writes characters as escapes."""
    if "\\" not in result:
        return result
    try:
        return "\n".join([result, *(str(leaf) for _, leaf in _leaves("", json.loads(result)))])
    except (ValueError, RecursionError):
        return result


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)
