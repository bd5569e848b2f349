"""What a run will take, before it is paid for: rows, tokens, money, time, and what it could find out."""

import math
from collections.abc import Iterable
from datetime import date
from fnmatch import fnmatchcase
from typing import NamedTuple

from tasks.core.provider import ProviderKind
from tasks.core.record import Record

# English and JSON come to about four characters a token; an answer of the agent to about forty tokens.
CHARS_PER_TOKEN = 4
ANSWER_TOKENS = 40
# What hosted providers choose for a few thousand rows where the profile says `auto`.
AUTO_EPOCHS = 3
# Of a two-sided test at 5 % with a power of 80 %, in standard errors; a 95 % interval is 1.96 to each side.
DETECTABLE = 2.80
INTERVAL = 1.96


class Price(Record):
    """What a provider asks for models of a pattern, in US dollars a million tokens; None is not known."""

    provider: ProviderKind
    model: str
    training: float | None = None
    input: float | None = None
    output: float | None = None
    tuned_input: float | None = None
    tuned_output: float | None = None
    source: str
    read: date


class Usage(NamedTuple):
    """The tokens that a model was asked with and answered in."""

    prompt: int
    completion: int


class Plan(Record):
    """An estimate. Costs are in US dollars, None where a price is missing; minutes are the last training run's."""

    provider: ProviderKind
    base_model: str
    rows: int
    training_tokens: int
    decisions: int
    prompt_tokens: int
    completion_tokens: int
    training_cost: float | None
    evaluation_cost: float | None
    minutes: float | None
    detectable: float

    @property
    def cost(self) -> float | None:
        """All of it, or None where a part is not known."""
        if self.training_cost is None or self.evaluation_cost is None:
            return None
        return self.training_cost + self.evaluation_cost


def price_of(known: Iterable[Price], provider: ProviderKind, model: str) -> Price | None:
    """Return the first price that is for this model."""
    return next((price for price in known if price.provider == provider and fnmatchcase(model, price.model)), None)


def training_cost(provider: ProviderKind, price: Price | None, tokens: int | None) -> float | None:
    """Return what training on so many tokens costs, epochs counted; nothing on this machine."""
    return 0.0 if provider == "local" else _cost(tokens, price.training if price else None)


def evaluation_cost(provider: ProviderKind, price: Price | None, base: Usage, tuned: Usage) -> float | None:
    """Return what it costs to ask base and tuned model with so many tokens."""
    if provider == "local":
        return 0.0
    if price is None:
        return None
    parts = [
        _cost(base.prompt, price.input),
        _cost(base.completion, price.output),
        _cost(tuned.prompt, price.tuned_input),
        _cost(tuned.completion, price.tuned_output),
    ]
    return None if any(part is None for part in parts) else math.fsum(part for part in parts if part is not None)


def _cost(tokens: int | None, price: float | None) -> float | None:
    return None if price is None or tokens is None else tokens * price / 1_000_000


def epochs_of(request_epochs: int | str) -> int:
    """Return the epochs that a profile asks for, or what a provider would choose."""
    return AUTO_EPOCHS if isinstance(request_epochs, str) else request_epochs


def detectable_difference(call_decisions: int, last_half_width: float | None, last_calls: int) -> float:
    """Return the smallest true difference that a run would find four times in five.

    It is taken from the interval that the last run measured, scaled to the number of decisions; without one, from the
    worst case of two independent shares.
    """
    if last_half_width is not None and last_calls:
        return DETECTABLE / INTERVAL * last_half_width * math.sqrt(last_calls / call_decisions)
    return DETECTABLE * math.sqrt(0.5 / call_decisions)
