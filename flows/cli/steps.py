"""How a model's steps look on the terminal: each tool call with its arguments, its result and what it changed."""

import json
from typing import Any

from rich.console import Console
from rich.status import Status
from rich.text import Text

from tasks.episode import Called, Spoke, Step, Stopped
from tasks.talk import Changed, Event, Heard

LABEL = 10
# Without a terminal a line may be long; more than this of a result says no more.
LONGEST_RESULT = 600


def show_step(console: Console, step: str | Step) -> None:
    """Print the customer's words, or one step of the model."""
    for line in lines_of(step, width_of(console)):
        console.print(line, soft_wrap=True)


def width_of(console: Console) -> int | None:
    """Return how long a folded line may be; None where there is no terminal."""
    return console.width if console.is_terminal else None


def lines_of(step: str | Step | Changed, width: int | None, *, unfolded: bool = False) -> list[Text]:
    """Return a step as lines; folded, a call and its result are cut to a line each."""
    if isinstance(step, str):
        return [_line("customer", "cyan", step)]
    if isinstance(step, Spoke):
        return [_line("agent", "green", step.text)]
    if isinstance(step, Stopped):
        return [_line("stopped", "red", step.reason, "red")]
    if isinstance(step, Changed):
        return [
            _line("changed", "magenta", f"{one.record} {one.field}: {_short(one.before)} -> {_short(one.after)}")
            for one in step.changes
        ]
    return _call_lines(step, width, unfolded)


def _call_lines(step: Called, width: int | None, unfolded: bool) -> list[Text]:
    label, style = ("refused", "red") if step.is_error else ("result", "dim")
    if unfolded:
        call = f"{step.call.name} {_pretty(step.call.arguments, 2)}"
        result = _pretty(step.result, 2)
    else:
        call = _cut(f"{step.call.name} {_pretty(step.call.arguments)}", width and width - LABEL)
        result = _cut(step.result, LONGEST_RESULT if width is None else width - LABEL)
    lines = [_line("call", "yellow", call)]
    if step.invented:
        lines.append(_line("made up", "bold red", ", ".join(step.invented), "bold red"))
    return [*lines, _line(label, style, result, "dim")]


def _line(label: str, style: str, words: str, words_style: str = "default") -> Text:
    return Text(f"{label:{LABEL}}", style=style).append(words, style=words_style)


def _pretty(text: str, indent: int | None = None) -> str:
    """Return JSON evenly spaced; what is no JSON stays as it was written."""
    try:
        return json.dumps(json.loads(text), ensure_ascii=False, indent=indent)
    except json.JSONDecodeError:
        return text


def _cut(text: str, length: int | None) -> str:
    """Return a text in one line of at most so many characters, its length said where it was longer."""
    if length is None or len(text) <= length:
        return text
    said = f"... ({len(text):,} characters)"
    return f"{text[: max(0, length - len(said))]}{said}".replace("\n", " ")


def _short(value: Any) -> str:
    if value in (None, ""):
        return "(nothing)"
    return value if isinstance(value, str) else json.dumps(value)


class Shown:
    """Prints a turn of the model as it happens; its words as they come, and a sign of life while there are none."""

    def __init__(self, console: Console, *, unfolded: bool) -> None:
        """Print to this console."""
        self._console = console
        self._unfolded = unfolded
        self._speaking = False
        self._waiting = Status("the agent is at work (Ctrl-C stops it)", console=console)

    def __enter__(self) -> "Shown":
        """Begin to wait."""
        self._waiting.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Wait no longer, and end a line that was begun."""
        self._waiting.stop()
        self._end_words()

    def __call__(self, event: Event) -> None:
        """Print an event."""
        self._waiting.stop()
        if isinstance(event, Heard):
            if not self._speaking:
                self._console.print(_line("agent", "green", ""), end="")
            self._speaking = True
            self._console.print(Text(event.text), end="", soft_wrap=True)
            return
        spoken = self._end_words() and isinstance(event, Spoke)
        if not spoken:
            for line in lines_of(event, width_of(self._console), unfolded=self._unfolded):
                self._console.print(line, soft_wrap=True)
        if isinstance(event, Called | Changed):
            self._waiting.start()

    def _end_words(self) -> bool:
        """End the line of the model's words; return whether there was one."""
        spoken, self._speaking = self._speaking, False
        if spoken:
            self._console.print()
        return spoken
