"""Two models side by side on the terminal, each turn in two columns that fill as they work."""

from collections.abc import Callable, Sequence

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from flows.cli.steps import LABEL, lines_of
from tasks.core.errors import ZavaError
from tasks.episode import Spoke
from tasks.talk import Event, Heard, Talk


class Columns:
    """A turn of several models at once."""

    def __init__(self, console: Console, names: Sequence[str], *, unfolded: bool) -> None:
        """Give each model a column, narrower than its share by the space between."""
        self._console = console
        self._names = names
        self._unfolded = unfolded
        self._width = console.width // len(names) - 2 if console.is_terminal else None
        self._done: list[list[Text]] = [[] for _ in names]
        self._speaking = ["" for _ in names]
        self._live = Live(console=console, auto_refresh=False, vertical_overflow="crop")

    def __enter__(self) -> "Columns":
        """Begin to draw, where there is a terminal."""
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the whole turn on the screen."""
        if self._console.is_terminal:
            self._live.update(self._table(), refresh=True)
            self._live.stop()
            return
        for name, lines in zip(self._names, self._done, strict=True):
            self._console.rule(name, align="left")
            for line in lines:
                self._console.print(line, soft_wrap=True)

    def watch(self, place: int) -> Callable[[Event], None]:
        """Return what fills a column."""

        def told(event: Event) -> None:
            if isinstance(event, Heard):
                self._speaking[place] += event.text
            else:
                self._speaking[place] = ""
                self._done[place] += lines_of(event, self._width, unfolded=self._unfolded)
            if self._console.is_terminal:
                self._live.update(self._table(), refresh=True)

        return told

    async def filled(self, place: int, talk: Talk, words: str) -> None:
        """Say something to the model of a column; what went wrong stands in it, and the other one goes on."""
        try:
            await talk.say(words, self.watch(place))
        except ZavaError as error:
            self._done[place].append(Text(f"{'failed':{LABEL}}{error}", style="red"))

    def _table(self) -> Table:
        table = Table(expand=True, box=None, pad_edge=False, padding=(0, 2, 0, 0))
        cells = []
        for name, lines, words in zip(self._names, self._done, self._speaking, strict=True):
            table.add_column(name, ratio=1, overflow="fold", header_style="bold")
            begun = lines_of(Spoke(text=words), self._width) if words else []
            cells.append(Text("\n").join([*lines, *begun]))
        table.add_row(*cells)
        return table
