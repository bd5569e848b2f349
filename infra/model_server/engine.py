"""Answers prompts: one thread decodes all sequences together, joining new ones between two tokens."""

import logging
import threading
from collections import deque
from collections.abc import Sequence
from operator import attrgetter

import torch

from infra.model_server.caches import Snapshot
from infra.model_server.errors import ModelFailedError, QueueFullError
from infra.model_server.generation import Generation
from infra.model_server.reading import read_prompts
from infra.model_server.sampling import pick
from infra.model_server.settings import GIBIBYTE
from infra.model_server.slots import LoneBatch, SlotBatch, fits_slots
from infra.model_server.threads import worth_sharing

log = logging.getLogger(__name__)

IDLE_S = 5.0
"""After so long without anything to answer, memory of the GPU that is only kept at hand goes back: a training may want
it."""
READ_TOKENS = 2048
"""Tokens of prompts that are read between two steps: so long do the answers under way wait for new ones."""

_ANYTHING = (
    ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, MemoryError, OSError, RuntimeError,
    TypeError, ValueError,
)  # fmt: skip
"""What a model, its kernels or its renderer may raise: it fails the requests at hand, and the engine goes on."""


class Engine(threading.Thread):
    """Takes sequences from a bounded queue for as long as the server lives."""

    def __init__(self, *, max_waiting: int, max_batch: int, batch_bytes: int = GIBIBYTE) -> None:
        """Hold up to `max_waiting` sequences, of which `max_batch` are decoded at once.

        Fewer are, where what the model remembers of them already takes `batch_bytes`.
        """
        super().__init__(name="engine", daemon=True)
        self._max_waiting = max_waiting
        self._max_batch = max_batch
        self._batch_bytes = batch_bytes
        self._waiting: deque[Generation] = deque()
        self._ordered = 0
        """How many at the head of the queue stand in the order in which they are read."""
        self._joining: list[Generation] = []
        """Those whose prompts are being read."""
        self._batches: list[SlotBatch | LoneBatch] = []
        self._changed = threading.Condition()
        self._stopped = False
        self.peers: Sequence[Engine] = ()
        """Those for which it answers when they have more than they can take, and it has nothing that waits."""

    @property
    def load(self) -> int:
        """The sequences that it answers or that wait for it."""
        return len(self._waiting) + len(self._joining) + self._active()

    def submit(self, generations: Sequence[Generation]) -> None:
        """Queue the sequences of one request.

        Raises:
            QueueFullError: if they are more than the queue has room for.
            ModelFailedError: if the engine has ended, so that they would wait for ever.
        """
        with self._changed:
            if self._stopped:
                raise ModelFailedError("The server is stopping.")
            if self.load + len(generations) > self._max_waiting:
                raise QueueFullError(f"{len(self._waiting)} requests wait already. Try again in a second.")
            self._waiting.extend(generations)
            self._changed.notify()

    def will_read(self, prompt: str) -> bool:
        """Tell whether a waiting prompt goes on from this one, or this one from it."""
        with self._changed:
            unread = [*self._waiting, *self._joining]
        texts = (one.text for one in unread if one.text != prompt)
        return any(text.startswith(prompt) or prompt.startswith(text) for text in texts)

    def nudge(self) -> None:
        """Wake it, if it has nothing to do, to look whether its peers have."""
        with self._changed:
            self._changed.notify()

    def give(self) -> list[Generation]:
        """Hand over what waits last, the turns of a conversation together, unless this engine is about to read it.

        Those of a large model stay: its forward pass uses all cores.
        """
        given: deque[Generation] = deque()
        with self._changed:
            while self._waiting and self._can_go(self._waiting[-1], given):
                given.appendleft(self._waiting.pop())
            self._ordered = min(self._ordered, len(self._waiting))
        return list(given)

    def _can_go(self, generation: Generation, given: Sequence[Generation]) -> bool:
        belongs = generation.leads_to(given[0]) if given else len(self._waiting) > 1
        large = worth_sharing(generation.loaded.weights.parameters)
        return belongs and not large and not any(one.leads_to(generation) for one in self._joining)

    def stop(self) -> None:
        """End the thread; sequences that are not complete fail."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
        self.join()

    def run(self) -> None:
        """Admit and decode until stopped."""
        try:
            with torch.inference_mode():
                while not self._stopped:
                    self._admit()
                    for batch in list(self._batches):
                        self._step(batch)
        finally:
            # Whatever ended it: no request may wait for an answer that cannot come.
            with self._changed:
                self._stopped = True
                decoding = [generation for batch in self._batches for generation in batch.generations]
                left = [*self._waiting, *self._joining, *decoding]
                self._waiting.clear()
            for generation in left:
                generation.fail(ModelFailedError("The server is stopping."))

    def _active(self) -> int:
        return sum(len(batch.generations) for batch in self._batches)

    def _admit(self) -> None:
        """Let waiting sequences join while there is room; wait if there is nothing to do at all."""
        read = 0
        while read < READ_TOKENS and (generations := self._next()):
            self._begin(generations)
            read += len(generations[-1].prompt) - generations[0].cached

    def _next(self) -> list[Generation]:
        """Take the sequences that are to be read at once: each but the first goes on from the one before."""
        self._relieve()
        with self._changed:
            if not (self._stopped or self._waiting or self._batches):
                if not self._changed.wait(IDLE_S) and torch.cuda.is_available():
                    torch.cuda.empty_cache()
                return []
            if self._stopped or not self._waiting or not self._has_room():
                return []
            if not self._ordered:
                # Each behind the one that it goes on from, whose reading spares it the most. Who comes later waits for
                # the next round, so that nobody is overtaken for ever.
                self._waiting = deque(sorted(self._waiting, key=attrgetter("text")))
                self._ordered = len(self._waiting)
            self._joining = [self._take()]
            while self._ordered and self._joining[-1].leads_to(self._waiting[0]):
                self._joining.append(self._take())
            return list(self._joining)

    def _relieve(self) -> None:
        if self._waiting or not self.peers or not self._has_room():
            return
        given = max(self.peers, key=lambda peer: len(peer._waiting)).give()
        with self._changed:
            self._waiting.extend(given)

    def _take(self) -> Generation:
        self._ordered -= 1
        return self._waiting.popleft()

    def _has_room(self) -> bool:
        return self._active() < self._max_batch and sum(batch.size for batch in self._batches) < self._batch_bytes

    def _begin(self, generations: Sequence[Generation]) -> None:
        try:
            with generations[0].loaded.answering():
                snapshots = read_prompts(generations)
        except _ANYTHING as error:
            if len(generations) == 1:
                self._joining = []
                _fail(generations, error)
            for generation in generations:
                # One may be at fault, or all together be too much.
                generation.read_alone = True
            self._put_back()
            return
        for generation, snapshot in zip(generations, snapshots, strict=True):
            if not self._has_room():
                break
            self._join(generation, snapshot)
            self._joining.remove(generation)
        self._put_back()

    def _put_back(self) -> None:
        """Let those that did not join wait on, before all others."""
        with self._changed:
            self._waiting.extendleft(reversed(self._joining))
            self._ordered += len(self._joining)
            self._joining = []

    def _join(self, generation: Generation, snapshot: Snapshot) -> None:
        loaded, cache = generation.loaded, snapshot.cache
        try:
            if generation.take(pick(snapshot.logits[None], [generation.sampler])[0]):
                return
            if not (loaded.takes_positions and fits_slots(cache)):
                self._batches.append(LoneBatch(loaded, generation, cache))
                return
            batch = next((batch for batch in self._batches if batch.admits(loaded)), None)
            joined = batch if isinstance(batch, SlotBatch) else SlotBatch(loaded)
            joined.admit(generation, cache)
            if batch is None:
                self._batches.append(joined)
        except _ANYTHING as error:
            _fail([generation], error)

    def _step(self, batch: SlotBatch | LoneBatch) -> None:
        try:
            with batch.loaded.answering():
                batch.step()
        except _ANYTHING as error:
            _fail(batch.generations, error)
            batch.generations = []
        if not batch.generations:
            self._batches.remove(batch)


def _fail(generations: Sequence[Generation], error: Exception) -> None:
    log.error("A model failed while it answered.", exc_info=error)
    for generation in generations:
        generation.fail(ModelFailedError(f"The model failed while it answered: {error}"))
