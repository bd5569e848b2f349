"""A prompt and the answer that grows after it."""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, NamedTuple

from infra.model_server.caches import as_text
from infra.model_server.loaded import LoadedModel
from infra.model_server.sampling import Sampler


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
    read_alone: bool = False
    """Whether its prompt is not to be read together with others."""

    @cached_property
    def text(self) -> str:
        """The prompt, to be compared with others."""
        return as_text(self.prompt)

    def leads_to(self, other: "Generation") -> bool:
        """Tell whether the prompt of another goes on from this one's, so that both can be read at once."""
        together = self.loaded is other.loaded and not (self.read_alone or other.read_alone)
        return together and other.text.startswith(self.text)

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
