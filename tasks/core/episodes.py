"""Episodes: whole conversations with a goal, how one ended and whose fault it was, and how reliable a model is.

`pass^k` is the share of tasks that a model would get right in each of k trials: with c of n trials right it is
C(c, k) / C(n, k), averaged over the tasks, which is unbiased.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import ValidationError

from tasks.core import statistics
from tasks.core.config import EvaluationConfig
from tasks.core.conversation import Message
from tasks.core.errors import EvaluationError
from tasks.core.evaluation import Metric
from tasks.core.record import Record
from tasks.core.scenario import GoldCall, Request, Scenario, ShopView

Blame = Literal["agent", "simulator", "environment", "label"]

# Tools of the published retail domain that have another name here; their arguments are the same.
RENAMED = {"modify_user_address": "update_address", "list_all_product_types": "list_products"}


class Brief(Record):
    """What a customer wants, knows and does not know, in words addressed to whoever plays them."""

    reason_for_call: str
    known_info: str = ""
    unknown_info: str = ""
    task_instructions: str = ""


class EpisodeTask(Record):
    """A conversation to be had: the customer's brief or scenario, the calls that lead to the goal, what must be said.

    `hands_over` says whether the customer must end at a human; None where that is not judged.
    """

    id: str
    brief: Brief | None = None
    scenario: Scenario | None = None
    goal: tuple[GoldCall, ...]
    communicate: tuple[str, ...] = ()
    hands_over: bool | None = None


class EpisodeResult(Record):
    """One trial of a task. `reached`: the end state is the goal's and all was said that must be.

    `success` also asks that no rule of the policy was broken. `blame` says whose fault a failure is, None of a success.
    """

    task_id: str
    trial: int
    reached: bool
    success: bool
    blame: Blame | None
    reasons: tuple[str, ...]
    breaches: tuple[str, ...]
    calls: int
    messages: tuple[Message, ...]


class EpisodesReport(Record):
    """All trials of one model. `success_hat` and `reached_hat` are pass^1, pass^2 and so on, up to the trials.

    `reached_hat` judges the end alone, as tau-bench does, and compares with numbers published there.
    """

    model_id: str
    customer: str
    tasks_sha256: str
    tasks: int
    trials: int
    success: Metric
    reached: Metric
    success_hat: tuple[float, ...]
    reached_hat: tuple[float, ...]
    blamed: dict[Blame, int]
    broken_rules: dict[str, int]
    seconds: float


def task_of_scenario(scenario: Scenario, shop: ShopView) -> EpisodeTask:
    """Return the task of one of our own scenarios: its changes made, and the status told of each order asked about."""
    changed = {call.arguments.get("order_id") for call in scenario.gold_writes}
    orders = [_asked_about(request, scenario.customer_id, shop) for request in scenario.requests]
    return EpisodeTask(
        id=scenario.id,
        scenario=scenario,
        goal=scenario.gold_writes,
        communicate=tuple(o["status"] for o in orders if o is not None and o["order_id"] not in changed),
        hands_over=any(request.intent == "human" for request in scenario.requests),
    )


def _asked_about(request: Request, customer_id: str, shop: ShopView) -> Mapping[str, Any] | None:
    """Return the order whose status the customer asks for and may know."""
    if request.trap is not None or request.intent not in {"order_status", "order_status_by_item"}:
        return None
    own = (shop.orders[order_id] for order_id in shop.users[customer_id]["orders"])
    order_id, item = request.facts.get("order_id"), request.facts.get("item")
    return next(o for o in own if o["order_id"] == order_id or item in [i["name"] for i in o["items"]])


def read_task(wire: Mapping[str, Any]) -> EpisodeTask:
    """Read a task in the layout of tau-bench's retail tasks; fields that are not judged are left out.

    Raises:
        ValueError: A part is missing or of another kind; the message names it.
    """
    instructions = _part(_part(wire, "user_scenario"), "instructions")
    criteria = _part(wire, "evaluation_criteria")
    brief = {name: instructions.get(name) or "" for name in Brief.model_fields}
    try:
        return EpisodeTask(
            id=str(wire.get("id", "")),
            brief=Brief.model_validate(brief),
            goal=tuple(_read_action(action) for action in criteria.get("actions") or ()),
            communicate=tuple(criteria.get("communicate_info") or ()),
        )
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        raise ValueError(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}") from error


def _part(wire: Any, name: str) -> Mapping[str, Any]:
    part = wire.get(name) if isinstance(wire, Mapping) else None
    if not isinstance(part, Mapping):
        raise ValueError(f"{name} is missing or no object")
    return part


def _read_action(action: Any) -> GoldCall:
    if not isinstance(action, Mapping) or not isinstance(action.get("name"), str):
        raise ValueError("evaluation_criteria.actions holds an entry without a name")
    return GoldCall(name=RENAMED.get(action["name"], action["name"]), arguments=action.get("arguments") or {})


def unsaid(communicate: Sequence[str], messages: Sequence[Message]) -> tuple[str, ...]:
    """Return what the agent never told; case and the commas in numbers do not matter, as in tau-bench."""
    told = [(m.content or "").casefold().replace(",", "") for m in messages if m.role == "assistant"]
    return tuple(info for info in communicate if not any(info.casefold() in words for words in told))


def pass_hat(successes: Sequence[int], trials: int) -> tuple[float, ...]:
    """Return pass^1 to pass^trials of tasks with so many successes each."""
    return tuple(
        sum(math.comb(count, k) for count in successes) / (math.comb(trials, k) * len(successes))
        for k in range(1, trials + 1)
    )


def report_episodes(
    results: Sequence[EpisodeResult],
    *,
    model_id: str,
    customer: str,
    tasks_sha256: str,
    trials: int,
    config: EvaluationConfig,
    seconds: float,
) -> EpisodesReport:
    """Return how reliable a model is, with intervals clustered by task, and whose fault its failures are.

    Raises:
        EvaluationError: There is no result, or a task was not played as often as the others.
    """
    counts = Counter(result.task_id for result in results)
    if not counts or set(counts.values()) != {trials}:
        raise EvaluationError(f"Each task is played {trials} times; there are {len(results)} results.")
    clusters = [result.task_id for result in results]
    hits, totals = statistics.by_cluster(clusters, [[(r.success, 1), (r.reached, 1)] for r in results])
    intervals = statistics.share_intervals(
        hits, totals, samples=config.bootstrap_samples, confidence=config.confidence, seed=config.seed
    )
    success, reached = (
        Metric(value=interval.value, low=interval.low, high=interval.high, n=len(results))
        for interval in intervals
        if interval is not None
    )
    return EpisodesReport(
        model_id=model_id,
        customer=customer,
        tasks_sha256=tasks_sha256,
        tasks=len(counts),
        trials=trials,
        success=success,
        reached=reached,
        success_hat=pass_hat([sum(r.success for r in results if r.task_id == task) for task in counts], trials),
        reached_hat=pass_hat([sum(r.reached for r in results if r.task_id == task) for task in counts], trials),
        blamed=dict(Counter(result.blame for result in results if result.blame is not None)),
        broken_rules=dict(Counter(rule for result in results for rule in dict.fromkeys(result.breaches)).most_common()),
        seconds=seconds,
    )
