"""Works out what the models of a run cost: tokens and times as they were measured, prices from the data file."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tasks.artifacts import read_dataset
from tasks.core.config import ArmConfig, Profile
from tasks.core.cost import ArmCost, CostReport, for_a_thousand, for_all, report_of
from tasks.core.endpoints import ProviderConfig
from tasks.core.errors import ConfigError, DataError
from tasks.core.evaluation import EvalReport
from tasks.core.metrics import HEADLINE
from tasks.core.plan import Asking, Price, Usage, price_of, training_cost
from tasks.core.run import RunSummary
from tasks.evaluate import read_scores
from tasks.plan import PRICES, hosting_of, known_prices

TEACHER = "teacher"
CONVERSATIONS = 10_000  # a month, where nobody says another number
NO_PRICE = f"no price known: see {PRICES}"


class _Asked(NamedTuple):
    """How an arm was asked, and at what price."""

    provider: ProviderConfig
    price: Price | None
    tuned: bool


def cost_of(profile: Profile, summary: RunSummary, conversations: int = CONVERSATIONS) -> CostReport:
    """Return what the arms of a run cost, at so many conversations a month.

    Raises:
        ConfigError: The profile is of another provider than the run, or the file of prices is broken.
    """
    if profile.provider.kind != summary.provider:
        raise ConfigError(
            f"Run {summary.tracked.run_id!r} was at provider {summary.provider!r}, and profile {profile.name!r} is of "
            f"{profile.provider.kind!r}. Name the profile that it was made with."
        )
    prices = known_prices()
    compared = summary.comparison
    reports = summary.standings.reports if summary.standings else (compared.base, compared.tuned)
    asked = {report.arm: _asked(profile, summary, prices, report.arm) for report in reports}
    arms = [_arm_cost(summary, report, asked[report.arm]) for report in reports]
    arms += [*_skipped(summary), _teacher(profile, summary)]
    used = dict.fromkeys(one.price for one in asked.values() if one.price is not None)
    return report_of(summary.tracked.run_id, arms, conversations, used)


def _asked(profile: Profile, summary: RunSummary, prices: Sequence[Price], arm: str) -> _Asked:
    other = next((one for one in summary.evaluation.arms if one.name == arm), ArmConfig(name=arm, model=arm))
    provider = other.provider or profile.provider
    model = summary.job.base_model if other.model in {"base", "tuned"} else other.model
    tier = provider.azure.training_type if provider.azure else None
    return _Asked(provider, price_of(prices, provider.kind, model, tier), other.model == "tuned")


def _arm_cost(summary: RunSummary, report: EvalReport, asked: _Asked) -> ArmCost:
    decisions, conversations = summary.decisions.items, summary.decisions.conversations
    answered = decisions - report.errored
    usage = Usage(*(round(for_all(count, answered, decisions) or 0) for count in _tokens(report)))
    seconds = _machine_seconds(summary, report) if asked.provider.kind == "local" else None
    hours = None if seconds is None else for_a_thousand(seconds / 3600, conversations)
    machine = asked.price.hosting if asked.price else None
    paid = Asking(asked.provider.kind, asked.price, asked.tuned, usage).cost
    if asked.provider.kind == "local":
        paid = None if hours is None or machine is None else hours * machine * conversations / 1000
    inference = None if paid is None else for_a_thousand(paid, conversations)
    headline = report.metrics.get(HEADLINE)
    cost = ArmCost(
        arm=report.arm,
        model_id=report.model_id,
        provider=asked.provider.kind,
        accuracy=headline.value if headline else None,
        latency_p50_s=report.latency_p50_s,
        prompt_tokens=for_a_thousand(usage.prompt, conversations),
        completion_tokens=for_a_thousand(usage.completion, conversations),
        machine_hours=hours,
        inference=inference,
        hosting=machine if asked.provider.kind == "local" else _hosting(asked),
        note="; ".join(_notes(summary, report, inference)),
    )
    return cost.model_copy(update=_training(summary, asked)) if asked.tuned else cost


def _tokens(report: EvalReport) -> tuple[int, int]:
    return report.prompt_tokens, report.completion_tokens


def _machine_seconds(summary: RunSummary, report: EvalReport) -> float | None:
    """Return the seconds that one machine was busy with the decisions; None where its scores are gone.

    Answers that were under way together share the machine.
    """
    try:
        scores = read_scores(report)
    except DataError:
        return None
    together = math.fsum(score.latency_s for score in scores if score.error is None)
    all_of_them = for_all(together, len(scores) - report.errored, len(scores))
    return None if all_of_them is None else all_of_them / min(summary.evaluation.concurrency, len(scores))


def _hosting(asked: _Asked) -> float | None:
    # What is not tuned is there for everyone, and nobody pays for its standing ready.
    return hosting_of(asked.provider, asked.price) if asked.tuned else 0.0


def _training(summary: RunSummary, asked: _Asked) -> dict[str, float | None]:
    job = summary.job
    if asked.provider.kind != "local":
        return {"training": training_cost(asked.provider.kind, asked.price, job.trained_tokens)}
    if job.created_at is None or job.finished_at is None:
        return {}
    hours = (job.finished_at - job.created_at) / 3600
    machine = asked.price.hosting if asked.price else None
    return {"training_hours": hours, "training": None if machine is None else hours * machine}


def _notes(summary: RunSummary, report: EvalReport, inference: float | None) -> Iterator[str]:
    if summary.standings and (note := summary.standings.notes.get(report.arm)):
        yield note
    if inference is None:
        yield NO_PRICE


def _skipped(summary: RunSummary) -> Iterator[ArmCost]:
    """Yield the arms that were left out, with the reason."""
    for one in summary.standings.skipped if summary.standings else ():
        yield _unmeasured(one.arm, one.model_id, summary.provider, one.skipped)


def _teacher(profile: Profile, summary: RunSummary) -> ArmCost:
    """Return what the teacher's models take for a conversation that they hold themselves; it is not graded."""
    if profile.teacher is None:
        return _unmeasured(TEACHER, "the expert", "local", "a program of this project: it asks no model")
    agent = profile.teacher.agent
    kind = (agent.provider or profile.provider).kind
    dataset = read_dataset(Path(summary.dataset.train.path).parent)
    taught = dataset.taught if dataset else None
    if taught is None:
        return _unmeasured(TEACHER, agent.model, kind, "what it took is not there any more")
    cost = taught.usage.cost
    return _unmeasured(TEACHER, agent.model, kind, "with its simulated customers; not graded").model_copy(
        update={
            "prompt_tokens": for_a_thousand(taught.usage.prompt_tokens, taught.kept),
            "completion_tokens": for_a_thousand(taught.usage.completion_tokens, taught.kept),
            "inference": None if cost is None else for_a_thousand(cost, taught.kept),
            "hosting": None if kind == "local" else 0.0,
        }
    )


def _unmeasured(arm: str, model_id: str, provider: str, note: str) -> ArmCost:
    return ArmCost(
        arm=arm,
        model_id=model_id,
        provider=provider,
        accuracy=None,
        latency_p50_s=None,
        prompt_tokens=None,
        completion_tokens=None,
        note=note,
    )
