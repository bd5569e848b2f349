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
# What hosted providers choose for a few thousand rows where the profile says `auto`; each epoch leaves a checkpoint.
AUTO_EPOCHS = 3


class Price(Record):
    """What a provider asks for models of a pattern, in US dollars a million tokens; None is not known.

    `hosting` is by the hour that a tuned model is deployed; `tier` is where the price is of one training tier alone.
    """

    provider: ProviderKind
    model: str
    tier: str | None = None
    training: float | None = None
    input: float | None = None
    output: float | None = None
    tuned_input: float | None = None
    tuned_output: float | None = None
    hosting: float | None = None
    source: str
    read: date


class Usage(NamedTuple):
    """The tokens that a model was asked with and answered in."""

    prompt: int
    completion: int

    @property
    def tokens(self) -> int:
        """Read and written."""
        return self.prompt + self.completion


class Asking(NamedTuple):
    """A model that is asked, at the price that it has; `tuned`, if at the rates of a tuned one."""

    provider: ProviderKind
    price: Price | None
    tuned: bool
    usage: Usage

    @property
    def cost(self) -> float | None:
        """What it costs; None where a price is missing."""
        if self.provider == "local":
            return 0.0
        if self.price is None:
            return None
        rates = (self.price.input, self.price.output)
        if self.tuned:
            rates = (self.price.tuned_input, self.price.tuned_output)
        return total(_cost(count, rate) for count, rate in zip(self.usage, rates, strict=True))


class Estimate(Record):
    """What a step takes, in tokens, US dollars and minutes; None is not known."""

    tokens: int | None = None
    cost: float | None = None
    minutes: float | None = None


class Offer(Record):
    """What training on the same rows, and asking base and tuned model, costs elsewhere, in US dollars."""

    provider: ProviderKind
    model: str
    training: float | None
    evaluation: float | None
    hosting: float | None


class Plan(Record):
    """An estimate of a run whose dataset is made; synthesis is what that took.

    `models` are asked all `decisions`; `hosting` is in US dollars by the hour, beside all else; a job that takes longer
    than `deadline_minutes` is cancelled.
    """

    provider: ProviderKind
    base_model: str
    rows: int
    decisions: int
    models: int
    synthesis: Estimate
    training: Estimate
    evaluation: Estimate
    hosting: float | None
    deadline_minutes: float
    detectable: float | None
    elsewhere: tuple[Offer, ...] = ()

    @property
    def cost(self) -> float | None:
        """What is yet to be paid, or None where a part is not known."""
        return total([self.training.cost, self.evaluation.cost])

    @property
    def minutes(self) -> float | None:
        """The time that is yet to come, or None where a part is not known."""
        return total([self.training.minutes, self.evaluation.minutes])


def price_of(known: Iterable[Price], provider: ProviderKind, model: str, tier: str | None = None) -> Price | None:
    """Return the first price that is for this model, trained in this tier."""
    return next(
        (
            price
            for price in known
            if price.provider == provider and fnmatchcase(model, price.model) and price.tier in {None, tier}
        ),
        None,
    )


def training_cost(provider: ProviderKind, price: Price | None, tokens: int | None) -> float | None:
    """Return what training on so many tokens costs, epochs counted; nothing on this machine."""
    return 0.0 if provider == "local" else _cost(tokens, price.training if price else None)


def offer_of(price: Price, trained: int, asked: Usage) -> Offer:
    """Return what training on so many tokens, and asking base and tuned model once each, costs at a price."""
    asking = (Asking(price.provider, price, tuned, asked).cost for tuned in (False, True))
    return Offer(
        provider=price.provider,
        model=price.model if price.tier is None else f"{price.model} {price.tier}",
        training=training_cost(price.provider, price, trained),
        evaluation=total(asking),
        hosting=price.hosting,
    )


def total(parts: Iterable[float | None]) -> float | None:
    """Return the sum, or None where a part is not known."""
    known = list(parts)
    return None if None in known else math.fsum(part for part in known if part is not None)


def _cost(tokens: int | None, price: float | None) -> float | None:
    return None if price is None or tokens is None else tokens * price / 1_000_000


def epochs_of(request_epochs: int | str) -> int:
    """Return the epochs that a profile asks for, or what a provider would choose."""
    return AUTO_EPOCHS if isinstance(request_epochs, str) else request_epochs
