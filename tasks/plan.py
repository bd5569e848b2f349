"""Estimates what a run will take from its dataset, and holds it against the limit; and says what a run has cost."""

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from tasks import teacher
from tasks.artifacts import Dataset, summaries, workspace
from tasks.core.config import Profile
from tasks.core.endpoints import ProviderConfig
from tasks.core.errors import ConfigError
from tasks.core.evaluation import EvalReport
from tasks.core.metrics import HEADLINE
from tasks.core.plan import (
    ANSWER_TOKENS,
    AUTO_EPOCHS,
    CHARS_PER_TOKEN,
    Asking,
    Estimate,
    Offer,
    Plan,
    Price,
    Usage,
    epochs_of,
    offer_of,
    price_of,
    total,
    training_cost,
)
from tasks.core.run import RunSummary, difference_of
from tasks.core.statistics import Reach
from tasks.core.training import TrainingJob
from tasks.files import read_records

# Beside the profiles.
PRICES = Path("configs/prices.yaml")
MEASURED = ("evaluation of base", "evaluation of tuned")


def known_prices(path: Path = PRICES) -> list[Price]:
    """Return the prices of the data file; none where there is no such file.

    Raises:
        ConfigError: The file is broken.
    """
    return read_records(path, Price)


def plan_of(profile: Profile, dataset: Dataset) -> Plan:
    """Return what training on this dataset, and asking all models its decisions, will take.

    Raises:
        ConfigError: The file of prices is broken.
        DataError: The summary of a run, or the report of the teacher, is broken.
    """
    past, prices = _Past(profile), known_prices()
    price = _price(prices, profile.provider, profile.training.base_model)
    trained = _tokens(dataset.split.train.path) * epochs_of(profile.training.n_epochs)
    asked = Usage(_tokens(dataset.decisions.path), dataset.decisions.items * ANSWER_TOKENS)
    asking = _all_asking(profile, prices, dataset, asked)
    kind, items = profile.provider.kind, dataset.decisions.items
    share = sum(one.usage.prompt for one in asking) / max(1, asked.prompt)
    return Plan(
        provider=kind,
        base_model=profile.training.base_model,
        rows=dataset.split.train.rows,
        decisions=items,
        models=2 + len(profile.evaluation.arms),
        synthesis=_synthesis(profile).model_copy(
            update={"minutes": past.minutes(("synthesis",), _played, dataset.split.funnel.played)}
        ),
        training=Estimate(
            tokens=trained,
            cost=training_cost(kind, price, trained),
            minutes=past.minutes(("training",), _trained, trained),
        ),
        evaluation=Estimate(
            tokens=sum(one.usage.tokens for one in asking),
            cost=total(one.cost for one in asking),
            minutes=past.minutes(MEASURED, _decisions, items * share),
        ),
        hosting=hosting_of(profile.provider, price),
        deadline_minutes=profile.training.deadline_minutes,
        detectable=_detectable(profile, dataset, past),
        elsewhere=tuple(_elsewhere(prices, price, trained, asked)),
    )


def synthesis_ahead(profile: Profile) -> Estimate | None:
    """Return what the models of a teacher will cost, by what they last cost here; None where nothing is to be paid.

    Raises:
        ServiceError: The world does not start or answer.
        DataError: A report, or the file of hints, is broken.
    """
    folder = workspace(profile).conversations
    done = teacher.finished_report(profile, folder)
    missing = profile.synthesis.conversations - (done.planned if done else 0)
    if profile.teacher is None or missing <= 0:
        return None
    written = sorted(folder.glob(f"*-teacher/{teacher.REPORT}"), key=lambda path: path.stat().st_mtime)
    last = teacher.read_report(written[-1]) if written else None
    if last is None or not last.planned:
        return Estimate()
    share, cost = missing / last.planned, last.usage.cost
    return Estimate(tokens=round(share * last.usage.tokens), cost=None if cost is None else share * cost)


def _synthesis(profile: Profile) -> Estimate:
    """Return what the conversations of a profile have taken; the expert asks no model."""
    report = teacher.finished_report(profile, workspace(profile).conversations)
    return Estimate(tokens=report.usage.tokens, cost=report.usage.cost) if report else Estimate(tokens=0, cost=0.0)


class _Past:
    """What the finished runs of a workspace took, the last one first."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self.runs = list(summaries(profile))

    def minutes(
        self, stages: Sequence[str], amount: Callable[[RunSummary], float | None], wanted: float
    ) -> float | None:
        """Return how long so much will take, by the last run on the same base there that did the work itself."""
        for run in self.runs:
            same = (self._profile.provider.kind, self._profile.training.base_model) == (
                run.provider,
                run.job.base_model,
            )
            took = [stage.seconds for stage in run.stages if stage.name in stages and not stage.reused]
            if same and took and (done := amount(run)):
                return sum(took) / len(took) / done * wanted / 60
        return None


def _played(run: RunSummary) -> float:
    return run.dataset.funnel.played


def _trained(run: RunSummary) -> float | None:
    return run.job.trained_tokens


def _decisions(run: RunSummary) -> float:
    return run.decisions.items


def _price(prices: Iterable[Price], provider: ProviderConfig, model: str) -> Price | None:
    return price_of(prices, provider.kind, model, provider.azure.training_type if provider.azure else None)


def _all_asking(profile: Profile, prices: Sequence[Price], dataset: Dataset, asked: Usage) -> list[Asking]:
    """Return all models that are asked: base, tuned and the other arms, and the checkpoints to choose the best of."""
    arms = ("base", "tuned", *(arm.name for arm in profile.evaluation.arms))
    asking = [_asking(profile, prices, arm, asked) for arm in arms]
    if wanted := profile.training.checkpoint_decisions:
        share = min(1.0, wanted / max(1, dataset.decisions.items))
        few = Usage(round(share * asked.prompt), round(share * asked.completion))
        asking += [_asking(profile, prices, "tuned", few)] * AUTO_EPOCHS
    return asking


def _asking(profile: Profile, prices: Iterable[Price], arm: str, usage: Usage) -> Asking:
    other = next((one for one in profile.evaluation.arms if one.name == arm), None)
    provider = (other.provider if other else None) or profile.provider
    model = other.model if other else arm
    named = profile.training.base_model if model in {"base", "tuned"} else model
    return Asking(provider.kind, _price(prices, provider, named), model == "tuned", usage)


def hosting_of(provider: ProviderConfig, price: Price | None) -> float | None:
    """Return what a tuned model costs by the hour that it stands ready."""
    if provider.kind == "local" or (provider.azure and provider.azure.sku == "DeveloperTier"):
        return 0.0
    return price.hosting if price else None


def _detectable(profile: Profile, dataset: Dataset, past: _Past) -> float | None:
    """Return the smallest true difference that the run would find, or None where no test could.

    The spread is that of the last run's interval, scaled to the number of decisions; without one, that of two models
    that are right in half of the decisions each, as if every decision stood alone.
    """
    calls = max(1, dataset.decisions.call_items)
    error = math.sqrt(0.5 / calls)
    for run in past.runs:
        if (change := difference_of(run.comparison, HEADLINE)) and change.high > change.low:
            measured = Reach(run.evaluation.confidence, run.evaluation.power).standard_error(change.low, change.high)
            error = measured * math.sqrt(change.n / calls)
            break
    reach = Reach(profile.evaluation.confidence, profile.evaluation.power)
    found = reach.detectable(error, max(1, dataset.decisions.conversations))
    return found if math.isfinite(found) else None


def _elsewhere(prices: Iterable[Price], chosen: Price | None, trained: int, asked: Usage) -> Iterable[Offer]:
    return (offer_of(price, trained, asked) for price in prices if price.training is not None and price != chosen)


class Spent(NamedTuple):
    """What the steps of a run cost in US dollars, None where a price is missing; with what earlier runs paid for it."""

    synthesis: float | None
    training: float | None
    evaluation: float | None


def spent(profile: Profile, job: TrainingJob, reports: Iterable[EvalReport]) -> Spent:
    """Return what a run cost by the tokens that the providers counted.

    Raises:
        ConfigError: The file of prices is broken.
        DataError: The report of the teacher is broken.
    """
    prices = known_prices()
    asking = [
        _asking(profile, prices, report.arm, Usage(report.prompt_tokens, report.completion_tokens))
        for report in reports
    ]
    price = _price(prices, profile.provider, profile.training.base_model)
    return Spent(
        synthesis=_synthesis(profile).cost,
        training=training_cost(profile.provider.kind, price, job.trained_tokens),
        evaluation=total(one.cost for one in asking),
    )


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
            f"The profile allows {limit:g} USD, and the price of {plan.base_model!r} at {plan.provider!r}, or an "
            f"arm's, is not known. Add it to {PRICES}, or take training.max_cost away."
        )
    if plan.cost > limit:
        raise ConfigError(
            f"This run would cost about {plan.cost:.2f} USD, and the profile allows {limit:g} (training.max_cost). "
            "Make the dataset smaller, or raise it."
        )
