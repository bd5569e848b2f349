"""Progress of the stages on the terminal: bars with rate and estimate where there is one, plain lines elsewhere."""

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from flows.cli.services import age
from tasks.progress import Event

# Without a terminal a line says now and then that a stage goes on, at first soon, then in longer and longer pauses.
FIRST_PAUSE_S = 10.0
LONGEST_PAUSE_S = 60.0


class StageLines:
    """Tells each stage in lines; between them, where the output is a terminal, a bar."""

    def __init__(self, console: Console) -> None:
        """Write to this console."""
        self._console = console
        self._next_line_at = 0.0
        self._pause_s = FIRST_PAUSE_S
        self._bars: dict[str, TaskID] = {}
        self._progress = Progress(
            TextColumn("{task.description:18}"),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[count]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", style="dim"),
            console=console,
            transient=True,
            disable=not console.is_interactive,
        )

    def __enter__(self) -> Self:
        """Begin to draw."""
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Clear the bars away."""
        self._progress.stop()

    def __call__(self, event: Event) -> None:
        """Show an event."""
        if event.kind == "start":
            self._pause_s = FIRST_PAUSE_S
            self._next_line_at = time.monotonic() + self._pause_s
            self._bars[event.stage] = self._progress.add_task(event.stage, total=None, count="", note="")
        elif event.kind == "step":
            self._step(event)
        elif event.kind == "warning":
            self._say(event, "yellow")
        else:
            self._progress.remove_task(self._bars.pop(event.stage))
            if event.note:
                self._say(event, "red" if event.kind == "failed" else "")

    def _step(self, event: Event) -> None:
        count = _count(event)
        bar = self._bars[event.stage]
        self._progress.update(bar, completed=event.done, total=event.total, count=count, note=event.note)
        if not self._console.is_interactive and time.monotonic() >= self._next_line_at:
            self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
            self._next_line_at = time.monotonic() + self._pause_s
            left = _left(event)
            line = f"{event.stage:18} {count}{left}{', ' + event.note if event.note else ''}"
            self._console.print(line, markup=False, soft_wrap=True)

    def _say(self, event: Event, style: str) -> None:
        word = {"failed": "failed: ", "warning": "warning: "}.get(event.kind, "")
        again = " (there already)" if event.reused else ""
        line = f"{event.stage:18} {event.seconds:7.1f} s  {word}{event.note}{again}"
        self._console.print(Text(line, style=style), soft_wrap=True)


def _count(event: Event) -> str:
    of = f"/{event.total:,}" if event.total is not None else ""
    unit = f" {event.unit}" if event.unit else ""
    return f"{event.done:,}{of}{unit}{_rate(event)}"


def _rate(event: Event) -> str:
    if not event.done or event.counting <= 0:
        return ""
    rate = event.done / event.counting
    return f" {rate:,.1f}/s" if rate >= 1 else f" {1 / rate:.1f} s each"


def _left(event: Event) -> str:
    if not event.done or event.total is None:
        return ""
    return f", about {age(event.counting / event.done * (event.total - event.done))} left"
