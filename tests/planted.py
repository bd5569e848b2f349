"""Models whose every answer is planted: what they are asked, what they say, and what was measured of them."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from openai import AsyncOpenAI

from tasks import evaluate
from tasks.core.config import EvaluationConfig
from tasks.core.evaluation import DecisionSet, EvalReport, Score
from tasks.core.outcomes import failures
from tasks.core.record import sha256_of
from tasks.evaluate import Decision
from tests.fake_provider import FakeProvider, Reply, call, say
from tests.worlds import small_shop

CONFIG = EvaluationConfig(concurrency=8, timeout_s=60, bootstrap_samples=100)
WRITES = {
    "update_address",
    "cancel_pending_order",
    "modify_pending_order_address",
    "modify_pending_order_items",
    "modify_pending_order_payment",
    "return_delivered_order_items",
    "exchange_delivered_order_items",
}

Gold = list[tuple[str, dict[str, Any]]]
Planted = Callable[[Decision, Gold], Reply]


class Measured:
    """A planted model's report with its scores, and the decisions by what they are."""

    def __init__(self, report: EvalReport, decisions: list[Decision]) -> None:
        self.report = report
        self.scores = evaluate.read_scores(report)
        self.pairs = list(zip(decisions, self.scores, strict=True))

    def value(self, metric: str) -> float:
        return self.report.metrics[metric].value

    def failed(self) -> dict[str, int]:
        return {kind: count for kind, count in failures(self.report).items() if count}

    def those(self, right_tool: str) -> Iterator[Score]:
        return (score for decision, score in self.pairs if decision.meta.tool == right_tool)


def gold_of(decision: Decision) -> Gold:
    calls = decision.item.item["expected_output"]["tool_calls"]
    return [(c["function"]["name"], json.loads(c["function"]["arguments"])) for c in calls]


def perfect(decision: Decision, gold: Gold) -> Reply:
    return call(*gold[0]) if gold else say(decision.item.item["expected_output"]["content"])


async def measured(
    planted: Planted, decision_set: DecisionSet, out: Path, config: EvaluationConfig = CONFIG
) -> Measured:
    decisions = evaluate.read_decisions(decision_set)
    by_history = {sha256_of(d.item.item["messages"]): d for d in decisions}

    def answer(request: dict[str, Any]) -> Reply:
        decision = by_history[sha256_of(request["messages"])]
        return planted(decision, gold_of(decision))

    with FakeProvider(answer) as provider:
        async with AsyncOpenAI(base_url=provider.base_url, api_key="k", max_retries=0) as client:
            report = await evaluate.evaluate_model(
                client, "planted", "planted", decision_set, config, out, shop=small_shop()
            )
    found = Measured(report, decisions)
    wrong = sum(score.value < 1 and not score.equivalent for score in found.scores)
    assert sum(found.failed().values()) == wrong
    assert sum(sum(row.values()) for row in report.outcomes.values()) == len(decisions)
    return found


def count(decisions: list[Decision], *tools: str | None) -> int:
    return sum(d.meta.tool in tools for d in decisions)
