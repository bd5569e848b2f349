"""What a file of good rows shows as a whole: habits that a model would learn along, and how many tokens it is."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tasks.core.chat_rows import Problem
from tasks.core.provenance import Sources, trace_arguments
from tasks.core.record import sha256_of
from tasks.core.tokens import estimate_all, estimate_tokens, estimate_tokens_again
from tasks.core.tool_schema import ToolBook, read_arguments

MOST_NAMES = 10_000  # tools that are told apart
_NO_TOOLS = ToolBook([])


class Habits:
    """Takes good rows one after another; what it keeps does not grow with their number."""

    def __init__(self) -> None:
        """Start with nothing seen."""
        self.tokens = 0
        self.longest = 0
        self.longest_line = 0
        self._rows = 0
        self._with_tools = 0
        self._end_in_calls = 0
        self._offered: dict[str, None] = {}
        self._called: set[str] = set()
        self._first_tools: Any = None
        self._tools: Any = None
        self._book: ToolBook | None = None
        self._tool_tokens = 0

    def take(self, line: int, row: Mapping[str, Any], book: ToolBook | None) -> Iterator[Problem]:
        """Take in a row, and yield what may be wrong with it though it can be trained on."""
        messages, tools = row["messages"], row.get("tools")
        self._rows += 1
        self._end_in_calls += bool(messages[-1].get("tool_calls"))
        if book is not None and book.names:
            yield from self._compare_tools(tools, book)
        self._count(line, messages, has_tools=bool(tools))
        if messages[0]["role"] not in {"system", "developer"}:
            text = "the row has no system prompt"
            yield Problem(
                "no-system-prompt", "$.messages[0]", text, "put the one in that the model will run with", "warning"
            )
        if tools is None and any(message.get("tool_calls") for message in messages):
            text = "the row makes calls but has no 'tools'"
            yield Problem("calls-without-tools", "$", text, "add the tools that the model will run with", "warning")
        yield from self._unseen_values(messages, book or _NO_TOOLS)

    def whole_file(self) -> Iterator[Problem]:
        """Yield what is only seen in all rows together."""
        unused = [name for name in self._offered if name not in self._called]
        if unused and self._called:
            text = f"never called: {', '.join(unused[:8])}{' ...' if len(unused) > 8 else ''}"
            yield Problem("unused-tool", "", text, "add conversations that need them, or remove the tools", "warning")
        if self._with_tools and not self._called:
            text = "tools are offered, but no row calls one"
            yield Problem("no-calls", "", text, "add conversations with calls, or remove the tools", "warning")
        if self._rows and self._end_in_calls == self._rows:
            text = "all conversations end in a call, so no answer after a result is learned"
            yield Problem("all-end-in-calls", "", text, "go on to the assistant's answer", "warning")

    def _compare_tools(self, tools: Any, book: ToolBook) -> Iterator[Problem]:
        self._with_tools += 1
        if book is self._book:
            return
        self._book = book
        if tools == self._tools:
            return
        self._tools, self._tool_tokens = tools, estimate_tokens(_text(tools))
        if len(self._offered) < MOST_NAMES:
            self._offered |= dict.fromkeys(book.names)
        if self._first_tools is None:
            self._first_tools = sha256_of(tools)
        elif sha256_of(tools) != self._first_tools:
            text = "the tools differ from those of the rows before"
            yield Problem(
                "tools-differ", "$.tools", text, "use the tools that the model will run with everywhere", "warning"
            )

    def _count(self, line: int, messages: Sequence[Mapping[str, Any]], *, has_tools: bool) -> None:
        count, texts = self._tool_tokens if has_tools else 0, list[str]()
        for message in messages:
            content = message.get("content")
            text = content if isinstance(content, str) else _text(content)
            if message["role"] == "system":
                count += estimate_tokens_again(text)
            else:
                texts.append(text)
            for call in message.get("tool_calls") or ():
                texts += call["function"]["name"], call["function"]["arguments"]
        count += estimate_all(texts)
        self.tokens += count
        if count > self.longest:
            self.longest, self.longest_line = count, line

    def _unseen_values(self, messages: Sequence[Mapping[str, Any]], book: ToolBook) -> Iterator[Problem]:
        sources = Sources(book)
        for turn, message in enumerate(messages):
            for place, call in enumerate(message.get("tool_calls") or ()):
                name, arguments = call["function"]["name"], read_arguments(call["function"]["arguments"])
                if len(self._called) < MOST_NAMES:
                    self._called.add(name)
                for traced in () if sources.surely_hold(arguments) else trace_arguments(arguments, sources):
                    if traced.origin.kind == "invented":
                        path = f"$.messages[{turn}].tool_calls[{place}].function.arguments"
                        text = f"{name} {_cut(str(traced))} was not said before, by the customer, a tool or the prompt"
                        remedy = "use the value that was given, or look it up first"
                        yield Problem("value-never-seen", path, text, remedy, "warning")
            sources.add(message)


def _text(value: Any) -> str:
    """Return the text of content or tools as a model reads it, near enough to count its tokens."""
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, Mapping):
        return " ".join(f"{key}: {_text(part)}," for key, part in value.items())
    return " ".join(map(_text, value)) if isinstance(value, list) else str(value)


def _cut(text: str) -> str:
    return text if len(text) <= 120 else f"{text[:117]}..."
