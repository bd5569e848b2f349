"""A run whose base and tuned model were really asked, over HTTP, every decision of a small set."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from openai import AsyncOpenAI

from tasks import evaluate
from tasks.core.config import EvaluationConfig
from tasks.core.evaluation import DecisionSet, EvalReport
from tasks.core.run import RunSummary
from tests import runs
from tests.decisions import gold_call, write_decisions
from tests.fake_provider import FakeProvider, Reply, call, say

CONFIG = EvaluationConfig(concurrency=8, timeout_s=60, bootstrap_samples=100)
CONVERSATIONS = 8

Script = Callable[[dict[str, Any]], Reply]


def right(request: dict[str, Any]) -> Reply:
    gold = gold_call(request)
    return call(*gold) if gold else say("How can I help you?")


def inventing(request: dict[str, Any]) -> Reply:
    """Answer as the base of the story: the right tool, with an id made of a name and a zip code."""
    gold = gold_call(request)
    return call("get_user_details", {"user_id": "ann_lee_80279"}) if gold and "user_id" in gold[1] else right(request)


def mostly_right(request: dict[str, Any]) -> Reply:
    """Answer right, but ask one customer for what they have said, with markup in the words."""
    asked = "ann3@" in request["messages"][1]["content"] and len(request["messages"]) == 2
    return say("What is your <b>email</b>?") if asked else right(request)


def a_measured_run(folder: Path, base: Script = inventing, tuned: Script = mostly_right) -> RunSummary:
    """Return a run over real decisions and scores, which lie in the folder; it speaks with no model of this machine."""
    decisions = write_decisions(folder / "set", CONVERSATIONS)
    reports = [_measured(arm, script, decisions, folder / arm) for arm, script in (("base", base), ("tuned", tuned))]
    compared = evaluate.compare_reports(*reports, decisions, CONFIG)
    ranked = evaluate.rank(*reports, [], decisions, CONFIG)
    return runs.a_summary(folder, decisions=decisions, comparison=compared, standings=ranked, evaluation=CONFIG)


def _measured(arm: str, script: Script, decisions: DecisionSet, out: Path) -> EvalReport:
    async def ask(base_url: str) -> EvalReport:
        async with AsyncOpenAI(base_url=base_url, api_key="k", max_retries=0) as client:
            return await evaluate.evaluate_model(client, f"the-{arm}", arm, decisions, CONFIG, out)

    with FakeProvider(script) as provider:
        return asyncio.run(ask(provider.base_url))
