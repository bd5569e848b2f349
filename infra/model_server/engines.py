"""The engines of a server: a thread each, so that several cores answer where one core answers one prompt no slower."""

import threading
from collections.abc import Sequence

import torch

from infra.model_server.engine import Engine
from infra.model_server.errors import QueueFullError
from infra.model_server.generation import Generation
from infra.model_server.settings import Settings
from infra.model_server.threads import worth_sharing

MOST_ENGINES = 4
"""More threads than this wait for the interpreter rather than for a core."""


class Engines:
    """Spreads sequences over engines that share one limit.

    Those of a small model go to the engine with least to do, and later from one that has too much to one that has
    nothing. A large model's all go to the first one: its forward pass uses all cores, and decodes the better the more
    it decodes together.
    """

    def __init__(self, settings: Settings) -> None:
        """Make an engine for each core, one where there is a GPU."""
        count = 1 if torch.cuda.is_available() else min(torch.get_num_threads(), MOST_ENGINES)
        self._max_waiting = settings.max_waiting
        self._engines = [
            Engine(
                max_waiting=settings.max_waiting,
                max_batch=max(1, settings.max_batch // count),
                batch_bytes=settings.batch_bytes // count,
            )
            for _ in range(count)
        ]
        for engine in self._engines:
            engine.peers = [peer for peer in self._engines if peer is not engine]
        self._submitting = threading.Lock()

    def start(self) -> None:
        """Begin to answer."""
        for engine in self._engines:
            engine.start()

    def stop(self) -> None:
        """End all threads; sequences that are not complete fail."""
        for engine in self._engines:
            engine.stop()

    def is_alive(self) -> bool:
        """Tell whether all of them run."""
        return all(engine.is_alive() for engine in self._engines)

    def submit(self, generations: Sequence[Generation]) -> None:
        """Queue the sequences of one request.

        Raises:
            QueueFullError: if they are more than there is room for.
            ModelFailedError: if the engine has ended, so that they would wait for ever.
        """
        with self._submitting:
            loads = [engine.load for engine in self._engines]
            if sum(loads) + len(generations) > self._max_waiting:
                raise QueueFullError(f"{sum(loads)} requests are being answered or wait. Try again in a second.")
            large = any(worth_sharing(generation.loaded.weights.parameters) for generation in generations)
            if large:
                return self._engines[0].submit(generations)
            related = (i for i, engine in enumerate(self._engines) if engine.will_read(generations[0].text))
            self._engines[next(related, loads.index(min(loads)))].submit(generations)
        for engine in self._engines:
            engine.nudge()
