"""Picks the next token of each sequence."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch


class Guide(Protocol):
    """Says which tokens may come next in one answer."""

    def allowed(self, vocabulary: int) -> torch.Tensor | None:
        """Return for each token of a vocabulary whether it may come next; None if all may."""
        ...

    def take(self, token: int) -> None:
        """Note the token that was picked."""
        ...


class Sampler(NamedTuple):
    """How one sequence picks its tokens; without a generator it takes the likeliest."""

    temperature: float
    top_p: float
    generator: torch.Generator | None
    guide: Guide | None = None
    """Says which tokens may come; this sequence's own."""


def sampler(temperature: float, top_p: float, seed: int | None, guide: Guide | None = None) -> Sampler:
    """Return a sampler; a temperature of 0 is greedy, and a seed makes the others repeatable."""
    if temperature == 0:
        return Sampler(0.0, 1.0, None, guide)
    generator = torch.Generator()
    if seed is None:
        generator.seed()
    else:
        generator.manual_seed(seed % 2**63)
    return Sampler(temperature, top_p, generator, guide)


def pick(logits: torch.Tensor, samplers: Sequence[Sampler]) -> list[int]:
    """Return one token for each row of `logits` [rows, vocabulary]."""
    tokens: list[int] = logits.argmax(-1).tolist()
    for row, by in enumerate(samplers):
        if by.guide is not None:
            tokens[row] = _guided(logits[row], tokens[row], by, by.guide)
        elif by.generator is not None:
            tokens[row] = _draw(logits[row].float().cpu(), by, by.generator)
    return tokens


def _guided(logits: torch.Tensor, likeliest: int, by: Sampler, guide: Guide) -> int:
    allowed = guide.allowed(len(logits))
    token = likeliest
    if by.generator is not None or not (allowed is None or allowed[likeliest]):
        logits = logits.float().cpu()
        if allowed is not None:
            logits = logits.masked_fill(~allowed, -torch.inf)
        token = int(logits.argmax()) if by.generator is None else _draw(logits, by, by.generator)
    guide.take(token)
    return token


def _draw(logits: torch.Tensor, by: Sampler, generator: torch.Generator) -> int:
    probabilities = torch.softmax(logits / by.temperature, -1)
    if by.top_p < 1:
        ordered, order = probabilities.sort(descending=True)
        # The first token is always kept, and every one before the sum reaches top_p.
        ordered[ordered.cumsum(-1) - ordered >= by.top_p] = 0
        return int(order[torch.multinomial(ordered, 1, generator=generator)])
    return int(torch.multinomial(probabilities, 1, generator=generator))
