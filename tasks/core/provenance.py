"""Where argument values come from: the customer, a tool result, the policy or a tool's schema; else from nowhere.

A value is *copied* from there, or *derived* simply: another case, a '#' or '$' more or less, thousands separators, a
date written in another way, the sum or difference of two amounts, a part of a longer value cut at a word boundary, or
words of several sources put together with blanks and commas, as addresses are. Values with digits must come from the
customer or a tool, since the policy and the tools' descriptions hold example ids. A made-up id such as the customer's
name with a ZIP code behind it has no source: it is *invented*, also when a result says it back.

The gate, the metric, the verdict of the replay and the guard in the agent loop all ask `trace_arguments`.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import cached_property, lru_cache
from typing import Any, Literal, NamedTuple, Self

from tasks.core.derivation import amount_in, date_spellings, is_arithmetic, is_sum, numbers_in
from tasks.core.tool_schema import ToolBook, read_arguments

# Written by the model in its own words; of these only ids, addresses and numbers are facts that need a source.
PROSE_PARAMETERS = frozenset({"summary"})

_SHORTEST_ID = 4
_PARTS = re.compile(r"[\s,;]+")
_EDGES = ".:!?\"'()*`[]{}<>"
# In free text, what names a thing or an amount: an address, an id, four digits and more, or cents.
_FACT = re.compile(r"[@_#]|\d{4}|\d\.\d\d$")
_HINT = re.compile(r"[@_#\d]")  # without one of these there is no fact


class Origin(NamedTuple):
    """Where a value comes from. `turn` counts the messages from 0; `found` is the text that was found there, folded.

    Of a derived value `how` says what was done, and `turn` is None where it took several messages.
    """

    kind: Literal["user", "tool", "policy", "schema", "derived", "invented"]
    turn: int | None = None
    found: str = ""
    how: str = ""


class Span(NamedTuple):
    """A stretch of a message's content."""

    turn: int
    start: int
    end: int


class Traced(NamedTuple):
    """An argument value with its path, such as `item_ids[0]`, and where it comes from."""

    path: str
    value: Any
    origin: Origin

    def __str__(self) -> str:
        """Return path and value: `user_id 'noah_brown_80279'`."""
        return f"{self.path} {self.value!r}"


class _Told:
    """What the customer, a tool, the policy or the schemas say; read only where a value is looked for in it."""

    def __init__(
        self,
        kind: Literal["user", "tool", "policy", "schema"],
        turn: int | None,
        content: str,
        arguments: str = "",
    ) -> None:
        """`arguments` are those of the call that a result answers, as text."""
        self.kind = kind
        self.turn = turn
        self.content = content
        self.arguments = arguments

    @cached_property
    def shown(self) -> str:
        """The content as a reader sees it."""
        return _unescaped(self.content) if self.kind == "tool" else self.content

    @cached_property
    def folded(self) -> str:
        """The content without regard to case and blanks."""
        return _fold(self.shown) if self.kind in {"user", "tool"} else _fold_again(self.content)

    @cached_property
    def asked(self) -> tuple[str, ...]:
        """The values of the call that a result answers, folded."""
        return _values_of(self.arguments)

    def surely_says(self, value: str) -> bool:
        """Whether a value stands here letter by letter, and was not in the call that is answered."""
        start = self.content.find(value)
        if start < 0 or not self.content.isascii() or not _is_whole(value, self.content, start, start + len(value)):
            return False
        return not self.arguments or not self.says_back(_fold(value))

    def says_back(self, text: str) -> bool:
        """Whether a result has the text from its call: "No customer 'noah_brown_80279'" is no source of that id."""
        return any(_within(text, value) for value in self.asked)


_SCHEMA = Origin("schema")
_INVENTED = Origin("invented")


class Sources:
    """All that a model may take values from at one point of a conversation; it grows message by message."""

    def __init__(self, tools: ToolBook) -> None:
        """Start with what the tools' schemas offer."""
        self._tools = tools
        self._told: list[_Told] = []  # by the customer and the tools
        # Policy and tool descriptions: words, never ids.
        self._guidance = [_Told("schema", None, tools.text)]
        # Values that were found as they are: what was said once stays said.
        self._copied: dict[str, Origin] = {}
        self._said: set[str] = set()
        self._numbers: dict[Decimal, int | None] = {}
        self._counted = 0
        self._turns = 0
        self._calls: dict[str, str] = {}  # the arguments of each call that was made, as text

    @cached_property
    def _closed(self) -> frozenset[str]:
        return frozenset(_fold(value) for value in self._tools.closed_values if isinstance(value, str))

    @cached_property
    def _closed_numbers(self) -> frozenset[Decimal]:
        return frozenset(Decimal(str(value)) for value in self._tools.closed_values if _is_number(value))

    @classmethod
    def of(cls, messages: Iterable[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]]) -> Self:
        """Return the sources of a whole history in the OpenAI shape."""
        sources = cls(ToolBook(tools))
        for message in messages:
            sources.add(message)
        return sources

    def add(self, message: Mapping[str, Any]) -> None:
        """Take in the next message; what the assistant said is no source, or it could vouch for itself."""
        turn, self._turns = self._turns, self._turns + 1
        for call in message.get("tool_calls") or ():
            self._calls[str(call.get("id"))] = call["function"]["arguments"]
        role = message["role"]
        content = None if role == "assistant" else text_of(message.get("content"))
        if content is None:
            return
        if role == "user":
            self._told.append(_Told("user", turn, content))
        elif role in {"tool", "function"}:
            arguments = self._calls.get(str(message.get("tool_call_id")), "")
            self._told.append(_Told("tool", turn, content, arguments))
        else:
            self._guidance.append(_Told("policy", turn, content))

    def surely_hold(self, arguments: Mapping[str, Any]) -> bool:
        """Whether all values of a call have a source beyond doubt; `origin` still judges what fails here.

        Most calls are settled so, and faster: each value stands in a message or in a schema, letter by letter.
        """
        return PROSE_PARAMETERS.isdisjoint(arguments) and all(
            value == "" or self._surely_holds(value) or (type(value) is str and _fold(value) in self._closed)
            for value in arguments.values()
        )

    def _surely_holds(self, value: Any) -> bool:
        if type(value) is list:
            return all(map(self._surely_holds, value))
        if type(value) is not str or not value.strip():
            return False
        if value in self._said:
            return True
        for told in self._told:
            if value in told.content and told.surely_says(value):
                self._said.add(value)
                return True
        return False

    def origin(self, value: Any) -> Origin:
        """Return where a scalar argument value comes from."""
        if value is None or isinstance(value, bool) or value == "":
            return _SCHEMA
        if isinstance(value, int | float):
            return self._number(Decimal(str(value)))
        return self._copied.get(value) or self._text(_fold(value), value)

    def origin_of_prose(self, prose: str) -> Origin:
        """Return where the ids, addresses and numbers in a text of the model's own words come from."""
        parts = (part.strip(_EDGES) for part in _PARTS.split(_fold(prose)))
        facts = [part for part in parts if any(c.isdigit() or c in "@_" for c in part)]
        held = all(self._text(part, part).kind != "invented" for part in facts)
        return Origin("derived", how="own words") if held else _INVENTED

    def unfounded(self, text: str) -> list[str]:
        """Return the ids, addresses and amounts in the words to a customer that come from nowhere."""
        if not _HINT.search(text):
            return []
        words = [word for word in _PARTS.split(text) if _HINT.search(word)]
        return [part for word in words if (part := self._unfounded(word))]

    def _unfounded(self, word: str) -> str:
        """Return the fact that a word is, where it comes from nowhere; else nothing."""
        part = _fold(word).strip(_EDGES).removesuffix("'s")
        if not _FACT.search(part) or self._surely_holds(word.strip(_EDGES).removesuffix("'s")):
            return ""
        return part if self._text(part, part).kind == "invented" else ""

    def span(self, origin: Origin) -> Span | None:
        """Return the stretch of the message that an origin points at; the whole message where it is written otherwise.

        None where it points at no message: a schema, several messages, or nowhere.
        """
        told = next((told for told in (*self._told, *self._guidance) if told.turn == origin.turn), None)
        if told is None or told.turn is None:
            return None
        words = r"\s+".join(map(re.escape, origin.found.split()))
        for found in re.finditer(words, told.content, re.IGNORECASE) if words else ():
            if _is_whole(origin.found, told.content, *found.span()):
                return Span(told.turn, *found.span())
        return Span(told.turn, 0, len(told.content))

    def _text(self, text: str, raw: str) -> Origin:
        if not text or text in self._closed:
            return _SCHEMA
        if told := self._found(text):
            if raw not in told.shown:
                return Origin("derived", told.turn, text, "case")
            origin = Origin(told.kind, told.turn, text)
            if told.kind in {"user", "tool"}:
                self._copied[raw] = origin
            return origin
        bare = text.lstrip("#$")
        if bare != text and (told := self._found(bare)):
            return Origin("derived", told.turn, bare, "format")
        amount = amount_in(bare)
        if amount is not None:
            number = self._number(amount)
            return number if number.kind in {"derived", "invented"} else number._replace(kind="derived", how="format")
        return self._put_together(text) or self._date(text) or self._expression(text) or _INVENTED

    def _put_together(self, text: str) -> Origin | None:
        parts = [stripped for part in _PARTS.split(text) if (stripped := part.strip(_EDGES))]
        held = len(parts) > 1 and all(self._found(part) or self._found(part.lstrip("#$")) for part in parts)
        return Origin("derived", how="put together") if held else None

    def _date(self, text: str) -> Origin | None:
        for spelling in date_spellings(text):
            if told := self._found(spelling):
                return Origin("derived", told.turn, spelling, "date")
        return None

    def _expression(self, text: str) -> Origin | None:
        known = is_arithmetic(text) and all(self._number(number).kind != "invented" for number in numbers_in(text))
        return Origin("derived", how="arithmetic") if known else None

    def _number(self, number: Decimal) -> Origin:
        for told in self._told[self._counted :]:
            asked = {number for value in told.asked for number in numbers_in(value)}
            for known in numbers_in(told.folded):
                if known not in asked:
                    self._numbers.setdefault(known, told.turn)
        self._counted = len(self._told)
        if number in self._numbers:
            turn = self._numbers[number]
            kind = next(told.kind for told in self._told if told.turn == turn)
            return Origin(kind, turn, str(number))
        if number in self._closed_numbers:
            return _SCHEMA
        return Origin("derived", how="sum") if is_sum(number, self._numbers) else _INVENTED

    def _found(self, text: str) -> _Told | None:
        if not text:
            return None
        holds_digits = not text.isalpha() and any(map(str.isdigit, text))
        for told in self._told if holds_digits else (*self._told, *self._guidance):
            if text in told.folded and _within(text, told.folded) and not told.says_back(text):
                return told
        return None


def trace_arguments(arguments: Mapping[str, Any], sources: Sources) -> Iterator[Traced]:
    """Yield every value of a call's arguments, also inside objects and lists, with where it comes from.

    The work is linear in the size of the conversation for each value.
    """
    for name, argument in arguments.items():
        leaves = ((name, argument),) if isinstance(argument, str) else _leaves(name, argument)
        for path, value in leaves:
            prose = name in PROSE_PARAMETERS and isinstance(value, str)
            yield Traced(path, value, sources.origin_of_prose(value) if prose else sources.origin(value))


def unsourced(arguments: Mapping[str, Any], sources: Sources) -> list[str]:
    """Return the argument values that come from nowhere, each with its path: `user_id 'noah_brown_80279'`."""
    if sources.surely_hold(arguments):
        return []
    return [str(traced) for traced in trace_arguments(arguments, sources) if traced.origin.kind == "invented"]


def is_propagated(value: Any, tool_results: Iterable[str]) -> bool:
    """Whether an argument holds something that a tool returned earlier: a number, or four or more characters."""
    results = [_fold(_unescaped(result)) for result in tool_results]
    return any(
        any(_within(_fold(str(leaf)), result) for result in results)
        for _, leaf in _leaves("", value)
        if _is_number(leaf) or (isinstance(leaf, str) and len(leaf) >= _SHORTEST_ID)
    )


@lru_cache(maxsize=64)
def _values_of(arguments: str) -> tuple[str, ...]:
    """Return the values of a call's arguments, folded; none where they are not a JSON object."""
    if not arguments:
        return ()
    try:
        return tuple(_fold(str(value)) for _, value in _leaves("", read_arguments(arguments)))
    except ValueError:
        return ()


def _leaves(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(f"{path}.{key}" if path else str(key), inner)
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from _leaves(f"{path}[{place}]", inner)
    else:
        yield path, value


def text_of(content: Any) -> str | None:
    """Return the text of a message's content, which may come in parts."""
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, Mapping)]
        return "\n".join(part for part in parts if isinstance(part, str))
    return content if isinstance(content, str) else None


def _within(text: str, source: str) -> bool:
    """Whether a text occurs in a source with no letter or digit going on before or after it."""
    start = source.find(text)
    while start >= 0:
        if _is_whole(text, source, start, start + len(text)):
            return True
        start = source.find(text, start + 1)
    return False


def _is_whole(text: str, source: str, start: int, end: int) -> bool:
    open_before = start == 0 or not (text[0].isalnum() and source[start - 1].isalnum())
    open_after = end == len(source) or not (text[-1].isalnum() and source[end].isalnum())
    return open_before and open_after


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
