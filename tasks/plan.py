"""Estimates what a run will take from its dataset, which costs nothing to make, and holds it against the limit."""

from pathlib import Path

from tasks.artifacts import Dataset, summaries
from tasks.core.config import Profile
from tasks.core.errors import ConfigError
from tasks.core.evaluation import Comparison
from tasks.core.metrics import HEADLINE
from tasks.core.plan import (
    ANSWER_TOKENS,
    CHARS_PER_TOKEN,
    Plan,
    Price,
    Usage,
    detectable_difference,
    epochs_of,
    evaluation_cost,
    price_of,
    training_cost,
)
from tasks.core.run import RunSummary, difference_of
from tasks.core.training import TrainingJob
from tasks.files import read_records

# Beside the profiles.
PRICES = Path("configs/prices.yaml")


def known_prices(path: Path = PRICES) -> list[Price]:
    """Return the prices of the data file; none where there is no such file.

    Raises:
        ConfigError: The file is broken.
    """
    return read_records(path, Price)


def plan_of(profile: Profile, dataset: Dataset) -> Plan:
    """Return what training on this dataset, and asking base and tuned model its decisions, will take.

    Raises:
        ConfigError: The file of prices is broken.
        DataError: The summary of a run is broken.
    """
    provider, model = profile.provider.kind, profile.training.base_model
    price = price_of(known_prices(), provider, model)
    trained = _tokens(dataset.split.train.path) * epochs_of(profile.training.n_epochs)
    asked = Usage(_tokens(dataset.decisions.path), dataset.decisions.items * ANSWER_TOKENS)
    last = next(filter(_has_trained, summaries(profile)), None)
    change = difference_of(last.comparison, HEADLINE) if last else None
    return Plan(
        provider=provider,
        base_model=model,
        rows=dataset.split.train.rows,
        training_tokens=trained,
        decisions=dataset.decisions.items,
        prompt_tokens=asked.prompt,
        completion_tokens=asked.completion,
        training_cost=training_cost(provider, price, trained),
        evaluation_cost=evaluation_cost(provider, price, asked, asked),
        minutes=last.seconds / 60 if last else None,
        detectable=detectable_difference(
            max(1, dataset.decisions.call_items),
            (change.high - change.low) / 2 if change else None,
            change.n if change else 0,
        ),
    )


def _has_trained(summary: RunSummary) -> bool:
    """Did a run train its model itself? One that found it trained tells nothing about the time."""
    return any(entry.name == "training" and not entry.reused for entry in summary.stages)


def spent(profile: Profile, job: TrainingJob, compared: Comparison) -> float | None:
    """Return what model and evaluation cost by the tokens that the provider counted; None where a price is missing.

    Raises:
        ConfigError: The file of prices is broken.
    """
    provider = profile.provider.kind
    price = price_of(known_prices(), provider, profile.training.base_model)
    base, tuned = (Usage(r.prompt_tokens, r.completion_tokens) for r in (compared.base, compared.tuned))
    training = training_cost(provider, price, job.trained_tokens)
    asking = evaluation_cost(provider, price, base, tuned)
    return None if training is None or asking is None else training + asking


def _tokens(path: str) -> int:
    return Path(path).stat().st_size // CHARS_PER_TOKEN


def check_limit(profile: Profile, plan: Plan) -> None:
    """Refuse a run that would cost more than the profile allows, or nobody knows how much.

    Raises:
        ConfigError: It is so.
    """
    limit = profile.training.max_cost
    if limit is None:
        return
    if plan.cost is None:
        raise ConfigError(
            f"The profile allows {limit:g} USD, and the price of {plan.base_model!r} at {plan.provider!r} is not "
            f"known. Add it to {PRICES}, or take training.max_cost away."
        )
    if plan.cost > limit:
        raise ConfigError(
            f"This run would cost about {plan.cost:.2f} USD, and the profile allows {limit:g} (training.max_cost). "
            "Make the dataset smaller, or raise it."
        )
