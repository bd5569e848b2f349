"""Where a run stands, told to whoever listens in this process: the terminal's bars, or the clock of the stages.

A stage knows nothing of its listeners, and a listener nothing of the stages, so that progress needs no argument in
between; a task's arguments are stored, and a listener cannot be.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal, NamedTuple


class Event(NamedTuple):
    """Something that happened in a stage. `done` and `total` count its `unit`; `seconds` since its start.

    `done` came about in the last `counting` of these seconds: before, the stage only waited or made ready.
    """

    kind: Literal["start", "step", "warning", "end", "failed"]
    stage: str
    seconds: float = 0.0
    done: int = 0
    total: int | None = None
    note: str = ""
    reused: bool = False
    unit: str = ""
    counting: float = 0.0


Listener = Callable[[Event], None]

_listeners: list[Listener] = []


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Tell a listener everything that happens meanwhile."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


class StageProgress:
    """The running stage, for it to say how far it is."""

    def __init__(self, stage: str) -> None:
        """Begin to count the time."""
        self._stage = stage
        self._began = self._counting_began = time.monotonic()
        self._note = ""
        self._reused = False

    def step(self, done: int, total: int | None, note: str = "", unit: str = "") -> None:
        """Say that so much is done."""
        if not done:
            self._counting_began = time.monotonic()
        counting = time.monotonic() - self._counting_began
        self._tell(Event("step", self._stage, self.seconds, done, total, note, unit=unit, counting=counting))

    def warn(self, note: str) -> None:
        """Say something that a person should see now."""
        self._tell(Event("warning", self._stage, self.seconds, note=note))

    def result(self, note: str, *, reused: bool = False) -> None:
        """Say in a few words what came of it, and whether it was there already."""
        self._note, self._reused = note, reused

    def end(self) -> None:
        """Say that it is over."""
        self._tell(Event("end", self._stage, self.seconds, note=self._note, reused=self._reused))

    def fail(self, error: BaseException) -> None:
        """Say that it failed, and why."""
        self._tell(Event("failed", self._stage, self.seconds, note=str(error) or type(error).__name__))

    @property
    def seconds(self) -> float:
        """The time since the stage began."""
        return time.monotonic() - self._began

    def _tell(self, event: Event) -> None:
        for listener in tuple(_listeners):
            listener(event)


@contextmanager
def stage(name: str) -> Iterator[StageProgress]:
    """Run a stage: listeners hear of its start, its steps and its end."""
    running = StageProgress(name)
    for listener in tuple(_listeners):
        listener(Event("start", name))
    try:
        yield running
    except BaseException as error:
        running.fail(error)
        raise
    running.end()
