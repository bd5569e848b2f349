"""Answers prompts: one thread decodes all sequences together, joining new ones between two tokens."""

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import torch
from transformers import DynamicCache

from infra.model_server.caches import can_join, clone, join, keep_rows
from infra.model_server.errors import ModelFailedError, QueueFullError
from infra.model_server.loaded import LoadedModel
from infra.model_server.sampling import Sampler, pick

log = logging.getLogger(__name__)

_ANYTHING = (
    ArithmeticError, AssertionError, AttributeError, LookupError, MemoryError, OSError, RuntimeError, TypeError,
    ValueError,
)  # fmt: skip
"""What a model, its kernels or its renderer may raise: it fails the requests at hand, and the engine goes on."""
TRIM_POSITIONS = 64
"""Padding that no row needs is cut off a batch's cache once it is this wide."""


class Finished(NamedTuple):
    """An answer."""

    tokens: list[int]
    """Without the token that ended it."""
    reason: Literal["stop", "length", "cancelled"]
    cached: int
    """The tokens of the prompt that did not have to be read again."""
    spent: int
    """The tokens that were generated, the one that ended the answer included."""


@dataclass(eq=False)
class Generation:
    """A prompt and the answer that grows after it."""

    loaded: LoadedModel
    prompt: list[int]
    sampler: Sampler
    max_tokens: int
    halts: Callable[[list[int]], bool] | None = None
    """Asked after each token whether the answer so far is to end here."""
    on_token: Callable[[list[int]], None] | None = None
    """Told the answer so far after each token, on the engine's thread."""
    future: Future[Finished] = field(default_factory=Future)
    cancelled: bool = False
    tokens: list[int] = field(default_factory=list)
    cached: int = 0

    def take(self, token: int) -> bool:
        """Add a token; True if the answer is complete."""
        if self.cancelled:
            return self._finish("cancelled")
        if token in self.loaded.renderer.stop_ids:
            return self._finish("stop", ended=True)
        self.tokens.append(token)
        if self.on_token is not None:
            self.on_token(list(self.tokens))
        if self.halts is not None and self.halts(self.tokens):
            return self._finish("stop")
        return len(self.tokens) >= self.max_tokens and self._finish("length")

    def fail(self, error: Exception) -> None:
        """End without an answer."""
        if not self.future.done():
            self.future.set_exception(error)

    def _finish(self, reason: Literal["stop", "length", "cancelled"], *, ended: bool = False) -> bool:
        self.future.set_result(Finished(self.tokens, reason, self.cached, len(self.tokens) + ended))
        return True


@dataclass(eq=False)
class Batch:
    """Sequences of one model that are decoded together, and what the model knows of them."""

    loaded: LoadedModel
    rows: list[Generation]
    cache: DynamicCache
    lengths: list[int]
    """The tokens of each row in the cache; the rest, on the left, is padding."""

    def takes(self, other: "Batch") -> bool:
        """Tell whether another batch can join this one."""
        return self.loaded is other.loaded and self.loaded.takes_positions and can_join(self.cache)

    def add(self, other: "Batch") -> None:
        """Take over another batch's rows."""
        self.cache = join(self.cache, other.cache)
        self.rows += other.rows
        self.lengths += other.lengths

    def step(self) -> None:
        """Decode one token of each row; rows that are complete leave."""
        model = self.loaded.model
        width = self.cache.get_seq_length() + 1
        tokens = torch.tensor([[row.tokens[-1]] for row in self.rows], device=model.device)
        places = {}
        if len(self.rows) > 1:
            lengths = torch.tensor(self.lengths, device=model.device)[:, None]
            mask = torch.arange(width, device=model.device)[None] >= width - 1 - lengths
            places = {"attention_mask": mask.long(), "position_ids": lengths}
        logits = model(input_ids=tokens, past_key_values=self.cache, use_cache=True, **places).logits[:, -1]
        self.lengths = [length + 1 for length in self.lengths]
        self._take(pick(logits, [row.sampler for row in self.rows]))

    def _take(self, tokens: Sequence[int]) -> None:
        going = [i for i, (row, token) in enumerate(zip(self.rows, tokens, strict=True)) if not row.take(token)]
        width = max((self.lengths[i] for i in going), default=0)
        if len(going) < len(self.rows) or self.cache.get_seq_length() - width >= TRIM_POSITIONS:
            if going and can_join(self.cache):
                keep_rows(self.cache, going, width)
            self.rows = [self.rows[i] for i in going]
            self.lengths = [self.lengths[i] for i in going]


class Engine(threading.Thread):
    """Takes sequences from a bounded queue for as long as the server lives."""

    def __init__(self, *, max_waiting: int, max_batch: int) -> None:
        """Hold up to `max_waiting` sequences, of which `max_batch` are decoded at once."""
        super().__init__(name="engine", daemon=True)
        self._max_waiting = max_waiting
        self._max_batch = max_batch
        self._waiting: deque[Generation] = deque()
        self._batches: list[Batch] = []
        self._changed = threading.Condition()
        self._stopped = False

    def submit(self, generations: Sequence[Generation]) -> None:
        """Queue the sequences of one request.

        Raises:
            QueueFullError: if they are more than the queue has room for.
        """
        with self._changed:
            if len(self._waiting) + self._active() + len(generations) > self._max_waiting:
                raise QueueFullError(f"{len(self._waiting)} requests wait already. Try again in a second.")
            self._waiting.extend(generations)
            self._changed.notify()

    def stop(self) -> None:
        """End the thread; sequences that are not complete fail."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
        self.join()

    def run(self) -> None:
        """Admit and decode until stopped."""
        # Small models lose more to waiting threads than they win, and a training may run beside.
        torch.set_num_threads(1)
        with torch.inference_mode():
            while not self._stopped:
                for generation in self._admitted():
                    self._begin(generation)
                for batch in list(self._batches):
                    self._step(batch)
        for generation in [*self._waiting, *(row for batch in self._batches for row in batch.rows)]:
            generation.fail(ModelFailedError("The server is stopping."))

    def _active(self) -> int:
        return sum(len(batch.rows) for batch in self._batches)

    def _admitted(self) -> list[Generation]:
        """Return the waiting sequences that there is room for; wait if there is nothing to do at all."""
        with self._changed:
            while not (self._stopped or self._waiting or self._batches):
                self._changed.wait()
            room = self._max_batch - self._active()
            return [self._waiting.popleft() for _ in range(min(room, len(self._waiting)))]

    def _begin(self, generation: Generation) -> None:
        try:
            batch = _read_prompt(generation)
        except _ANYTHING as error:
            _fail([generation], error)
            return
        if batch is None:
            return
        for other in self._batches:
            if other.takes(batch):
                other.add(batch)
                return
        self._batches.append(batch)

    def _step(self, batch: Batch) -> None:
        try:
            batch.step()
        except _ANYTHING as error:
            _fail(batch.rows, error)
            batch.rows = []
        if not batch.rows:
            self._batches.remove(batch)


def _read_prompt(generation: Generation) -> Batch | None:
    """Read a prompt and pick the first token; None if that one ends the answer."""
    loaded, prompt = generation.loaded, generation.prompt
    prefixes = loaded.prefixes
    if known := prefixes.longest(prompt):
        cache, logits, at = clone(known.cache), known.logits, len(known.tokens)
    else:
        cache, logits, at = DynamicCache(config=loaded.model.config), torch.empty(0), 0
    generation.cached = at
    shared = prefixes.shared(prompt, at)
    for end in (shared, len(prompt)) if shared else (len(prompt),):
        if at < end:
            tokens = torch.tensor([prompt[at:end]], device=loaded.model.device)
            logits = loaded.model(input_ids=tokens, past_key_values=cache, use_cache=True).logits[0, -1]
            prefixes.add(prompt[:end], cache, logits)
            at = end
    if generation.take(pick(logits[None], [generation.sampler])[0]):
        return None
    return Batch(loaded, [generation], cache, [len(prompt)])


def _fail(generations: Sequence[Generation], error: Exception) -> None:
    log.error("A model failed while it answered.", exc_info=error)
    for generation in generations:
        generation.fail(ModelFailedError(f"The model failed while it answered: {error}"))
