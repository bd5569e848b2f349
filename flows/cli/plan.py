"""What `zava run --plan` shows: each step with its tokens, money and time, here and elsewhere."""

from collections.abc import Iterator

from tasks.core.config import Profile
from tasks.core.plan import Estimate, Offer, Plan

Row = tuple[str, str]


def synthesis_rows(profile: Profile, ahead: Estimate) -> Iterator[Row]:
    """Yield what the models of a teacher will take, before they are asked."""
    teacher = profile.teacher
    if teacher is None:
        return
    models = " and ".join(dict.fromkeys((teacher.agent.model, teacher.speaks_for_customer.model)))
    yield "synthesis", f"{profile.synthesis.conversations:,} conversations by {models}"
    known = "not known: no teacher has played here yet"
    yield "tokens and cost", known if ahead.tokens is None else f"about {ahead.tokens:,}, {_usd(ahead.cost)}"
    budget = {"calls": teacher.budget.calls, "tokens": teacher.budget.tokens, "USD": teacher.budget.money}
    limits = [f"{value:,} {name}" for name, value in budget.items() if value is not None]
    yield "at most", ", ".join(limits) + " (teacher.budget)" if limits else "no limit; teacher.budget sets one"
    yield "the rest", "is shown once the dataset is made"


def plan_rows(profile: Profile, made: Plan) -> Iterator[Row]:
    """Yield a plan as a person reads it."""
    yield "provider and base", f"{made.provider}, {made.base_model}"
    yield "rows to train on", f"{made.rows:,}"
    yield "decisions", f"{made.decisions:,}, asked of {made.models} models"
    yield "synthesis", f"{_step(made.synthesis)}, done"
    latest = f"not known: no such run yet, at most {made.deadline_minutes:,.0f} min"
    yield "training", _step(made.training, latest)
    yield "evaluation", _step(made.evaluation)
    yield "to come", f"{_usd(made.cost)}, {_minutes(made.minutes)}"
    if made.hosting != 0:
        hours = "no price known" if made.hosting is None else f"{made.hosting:.2f} USD an hour"
        yield "hosting", f"{hours} that the tuned model is deployed; `zava cleanup` ends it"
    if (limit := profile.training.max_cost) is not None:
        yield "limit", f"{limit:.2f} USD (training.max_cost)"
    reach = "none: too few conversations" if made.detectable is None else f"{100 * made.detectable:.1f} points"
    yield "detectable difference", reach
    yield from (("elsewhere", _offer(offer)) for offer in made.elsewhere)


def _step(step: Estimate, unknown: str = "not known: no such run yet") -> str:
    tokens = "no tokens" if not step.tokens else f"about {step.tokens:,} tokens"
    return f"{tokens}, {_usd(step.cost)}, {_minutes(step.minutes, unknown)}"


def _usd(amount: float | None) -> str:
    return "no price known" if amount is None else f"{amount:.2f} USD"


def _minutes(minutes: float | None, unknown: str = "not known") -> str:
    return f"time {unknown}" if minutes is None else f"{minutes:.1f} min"


def _offer(offer: Offer) -> str:
    hosting = f", {offer.hosting:.2f} USD an hour deployed" if offer.hosting else ""
    asking = f"base and tuned {_usd(offer.evaluation)}"
    return f"{offer.provider} {offer.model}: training {_usd(offer.training)}, {asking}{hosting}"
