"""Asks a model every decision of a set, scores the answers, and reports; and compares two such reports.

It writes three files an arm: `<arm>.answers.jsonl`, every answer as it came, so that a crashed evaluation pays only for
what is new; `<arm>.scores.jsonl`, one score an item in the set's order; and `<arm>.report.json`.
"""

import asyncio
import hashlib
import re
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from openai import AsyncOpenAI
from pydantic import ValidationError

from tasks import equivalence
from tasks.ask import AnswerCache, Request, ask, request_for
from tasks.core import metrics, outcomes
from tasks.core.config import EvaluationConfig
from tasks.core.errors import DataError, EvaluationError, ProviderError, ProviderUnavailableError
from tasks.core.evaluation import Answer, Comparison, DecisionSet, EvalItem, EvalReport, ItemMeta, Score
from tasks.core.record import Record
from tasks.core.score import score_answer
from tasks.files import parse_json_lines, read_bytes, write_atomically
from zava_mcp.store import RetailStore

R = TypeVar("R", bound=Record)
Progress = Callable[[int, int], None]

_ARM = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
# A provider that is gone is not asked on and on: so many requests in a row without a connection end the evaluation.
_UNREACHABLE_STREAK = 8


class Decision(NamedTuple):
    """An item with its sidecar line."""

    item: EvalItem
    meta: ItemMeta


async def evaluate_model(
    client: AsyncOpenAI,
    model: str,
    arm: str,
    decision_set: DecisionSet,
    config: EvaluationConfig,
    out_dir: Path,
    progress: Progress = lambda done, total: None,
    shop: RetailStore | None = None,
) -> EvalReport:
    """Ask the model every decision, `config.concurrency` at a time, and return the metrics of its answers.

    Calls that are not those expected are played on sandboxes of `shop`; without one none is judged equivalent. An item
    that errors or takes longer than `config.timeout_s`, the client's own retries included, counts as a failure; it is
    asked again when the evaluation is run again, while answers on disk are not.

    Raises:
        DataError: The set is missing, broken or not the one that its digest names; or a result cannot be written.
        ProviderError: The provider refuses the model.
        ProviderUnavailableError: Nothing answers there any more; run again, and only what is missing is asked.
        EvaluationError: Not one decision was answered.
    """
    if not _ARM.fullmatch(arm):
        raise EvaluationError(f"Arm {arm!r} is no file name; use letters, digits, '.', '_' and '-'.")
    started = time.monotonic()
    decisions = read_decisions(decision_set)
    requests = [request_for(model, d.item.item["messages"], d.item.item.get("tools") or [], config) for d in decisions]
    with AnswerCache(out_dir / f"{arm}.answers.jsonl") as cache:
        answers = await _answer_all(client, requests, cache, config, progress)
    if all(answer.error for answer in answers):
        raise EvaluationError(
            f"None of the {len(answers)} decisions was answered by {model!r}; the first: {answers[0].error_message}"
            if answers
            else f"The decision set {decision_set.path!r} is empty."
        )
    scores = await _scores(decisions, answers, shop)
    return _report(model, arm, decision_set, config, decisions, scores, out_dir, time.monotonic() - started)


def read_decisions(decision_set: DecisionSet) -> list[Decision]:
    """Return the decisions of a set, in order.

    Raises:
        DataError: A file is missing or broken, differs from its digest, or the sidecar does not match.
    """
    path, meta_path = Path(decision_set.path), Path(decision_set.meta_path)
    content = read_bytes(path)
    if (found := hashlib.sha256(content).hexdigest()) != decision_set.sha256:
        raise DataError(f"{path} has SHA-256 {found}, not {decision_set.sha256}: it changed since the set was made.")
    items = list(_records(EvalItem, content, path))
    metas = list(_records(ItemMeta, read_bytes(meta_path), meta_path))
    if len(items) != len(metas):
        raise DataError(f"{path} has {len(items)} items but {meta_path} has {len(metas)} lines; make the set again.")
    return [Decision(item, meta) for item, meta in zip(items, metas, strict=True)]


def read_scores(report: EvalReport) -> list[Score]:
    """Return the scores behind a report.

    Raises:
        DataError: The file is missing, broken, or not the one that the report was made of.
    """
    path = Path(report.scores_path)
    content = read_bytes(path)
    if (found := hashlib.sha256(content).hexdigest()) != report.scores_sha256:
        raise DataError(f"{path} has SHA-256 {found}, but the report of {report.arm!r} says {report.scores_sha256}.")
    return list(_records(Score, content, path))


def compare_reports(
    base: EvalReport, tuned: EvalReport, decision_set: DecisionSet, config: EvaluationConfig
) -> Comparison:
    """Return the paired differences of two reports on a set, from their scores on disk.

    Raises:
        EvaluationError: The reports are not both on this set.
        DataError: The set or a file of scores is missing or was changed.
    """
    for report in (base, tuned):
        if report.decision_set_sha256 != decision_set.sha256:
            raise EvaluationError(
                f"The report of {report.arm!r} is on decision set {report.decision_set_sha256}, "
                f"not on {decision_set.sha256}. Evaluate it on the same set."
            )
    metas = [decision.meta for decision in read_decisions(decision_set)]
    return metrics.compare(base, tuned, read_scores(base), read_scores(tuned), metas, config)


def _records(kind: type[R], content: bytes, path: Path) -> Iterator[R]:
    for number, line in parse_json_lines(content, path):
        try:
            yield kind.model_validate(line)
        except ValidationError as error:
            raise DataError(f"{path}, line {number} is not a {kind.__name__}: {error}") from error


async def _answer_all(
    client: AsyncOpenAI, requests: list[Request], cache: AnswerCache, config: EvaluationConfig, progress: Progress
) -> list[Answer]:
    """Return one answer a request, from the cache or asked; each new one is in the cache before it is returned."""
    keys = [cache.key(client, request) for request in requests]
    answers = [cache.get(key) for key in keys]
    waiting = iter([index for index, answer in enumerate(answers) if answer is None])
    done = sum(answer is not None for answer in answers)
    unreachable = 0
    progress(done, len(requests))

    async def worker() -> None:
        nonlocal done, unreachable
        for index in waiting:
            answer = await ask(client, requests[index], config.timeout_s)
            cache.keep(keys[index], answer)
            answers[index] = answer
            done += 1
            progress(done, len(requests))
            unreachable = unreachable + 1 if answer.error == "unreachable" else 0
            if unreachable >= max(_UNREACHABLE_STREAK, 2 * config.concurrency):
                raise ProviderUnavailableError(
                    f"Nothing answers at {client.base_url}: {answer.error_message}. Start it and run the evaluation "
                    f"again; the answers so far are kept."
                )

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(config.concurrency, len(requests))):
                group.create_task(worker())
    except* (ProviderError, DataError) as several:
        raise several.exceptions[0] from None
    return [answer for answer in answers if answer is not None]


async def _scores(decisions: Sequence[Decision], answers: Sequence[Answer], shop: RetailStore | None) -> list[Score]:
    answered = [equivalence.Answered(d.item, d.meta, answer) for d, answer in zip(decisions, answers, strict=True)]
    if shop is None:
        return [score_answer(*one) for one in answered]
    facts = await equivalence.facts_of(shop)
    played = await equivalence.play(shop, answered)
    return [score_answer(*one, facts, came_of_it) for one, came_of_it in zip(answered, played, strict=True)]


def _report(
    model: str,
    arm: str,
    decision_set: DecisionSet,
    config: EvaluationConfig,
    decisions: list[Decision],
    scores: list[Score],
    out_dir: Path,
    seconds: float,
) -> EvalReport:
    path = out_dir / f"{arm}.scores.jsonl"
    content = "".join(score.model_dump_json() + "\n" for score in scores).encode()
    write_atomically(path, content)
    metas = [decision.meta for decision in decisions]
    latencies = [score.latency_s for score in scores if score.error is None]
    report = EvalReport(
        arm=arm,
        model_id=model,
        decision_set_sha256=decision_set.sha256,
        metrics=metrics.measure(scores, metas, config),
        slices=metrics.measure_slices(scores, metas, config),
        outcomes=outcomes.by_move(scores),
        acts=outcomes.acts(scores, metas),
        examples=outcomes.examples(scores),
        unjudged=sum(score.failure is not None and score.called and not score.judged for score in scores),
        errored=sum(score.error is not None for score in scores),
        latency_p50_s=metrics.percentile(latencies, 0.5),
        latency_p95_s=metrics.percentile(latencies, 0.95),
        prompt_tokens=sum(score.prompt_tokens for score in scores),
        completion_tokens=sum(score.completion_tokens for score in scores),
        seconds=seconds,
        scores_path=str(path),
        scores_sha256=hashlib.sha256(content).hexdigest(),
    )
    write_atomically(out_dir / f"{arm}.report.json", report.model_dump_json(indent=2).encode() + b"\n")
    return report
