"""Asks a model every decision of a set, scores the answers, and reports; and compares such reports.

It writes `answers.jsonl`, every answer of the model as it came, so that a crashed evaluation pays only for what is
new; and for each arm `<arm>.scores.jsonl`, one score an item in the set's order, and `<arm>.report.json`. One that is
stopped leaves `<arm>.partial.report.json` over what was answered until then.
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
from tasks.ask import AnswerCache, Request, request_for
from tasks.core import metrics, outcomes
from tasks.core.config import EvaluationConfig
from tasks.core.errors import DataError, EvaluationError, ProviderError, ProviderUnavailableError
from tasks.core.evaluation import Answer, Comparison, DecisionSet, EvalItem, EvalReport, ItemMeta, Score
from tasks.core.record import Record
from tasks.core.score import score_answer
from tasks.core.standings import ArmOutcome, Standings, standings
from tasks.files import parse_json_lines, read_bytes, write_atomically
from tasks.pace import Pace, ask_in_turn
from tasks.prompts import Prompt, as_recorded
from zava_mcp.store import RetailStore

R = TypeVar("R", bound=Record)
Progress = Callable[[int, int], None]

ANSWERS = "answers.jsonl"

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
    prompt: Prompt = as_recorded,
) -> EvalReport:
    """Ask the model every decision, `config.concurrency` at a time, and return the metrics of its answers.

    Calls that are not those expected are played on sandboxes of `shop`; without one none is judged equivalent. An item
    that errors or takes longer than `config.timeout_s` counts as a failure; it is asked again when the evaluation is
    run again, while answers on disk are not. Retries are paced for all requests together, see `tasks.pace`.

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
    requests = [request_for(model, prompt(d.item), d.item.item.get("tools") or [], config) for d in decisions]
    answers: list[Answer | None] = [None] * len(requests)
    report = _Reporter(model, arm, decision_set, config, decisions, out_dir, shop, started)
    with AnswerCache(out_dir / ANSWERS) as cache:
        try:
            await _answer_all(client, requests, answers, cache, config, progress)
        except asyncio.CancelledError:
            await report.partial(answers)
            raise
    return await report.whole([answer for answer in answers if answer is not None])


async def reads_prompt(
    client: AsyncOpenAI, model: str, decision_set: DecisionSet, config: EvaluationConfig, out_dir: Path, prompt: Prompt
) -> bool:
    """Whether another prompt reaches the model at all: some have no room for a system prompt and leave it out.

    Told by the tokens that the provider counts for the first decision; the answers count for the evaluation.

    Raises:
        DataError: The set or the kept answers are unusable.
        ProviderError: The provider refuses the model.
    """
    first = read_decisions(decision_set)[:1]
    requests = [
        request_for(model, ask(decision.item), decision.item.item.get("tools") or [], config)
        for decision in first
        for ask in (as_recorded, prompt)
    ]
    answers: list[Answer | None] = [None] * len(requests)
    with AnswerCache(out_dir / ANSWERS) as cache:
        await _answer_all(client, requests, answers, cache, config, lambda done, total: None)
    counted = [answer.prompt_tokens for answer in answers if answer is not None and answer.error is None]
    return len(counted) < len(requests) or not all(counted) or len(set(counted)) > 1


def read_partial(out_dir: Path, arm: str) -> EvalReport | None:
    """Return the report of an evaluation that was stopped, or None.

    Raises:
        DataError: It is broken.
    """
    path = out_dir / f"{arm}.partial.report.json"
    if not path.exists():
        return None
    try:
        return EvalReport.model_validate_json(read_bytes(path))
    except ValidationError as error:
        raise DataError(f"{path} is not the report of an evaluation; delete it.") from error


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
        check_comparable(report, decision_set)
    metas = [decision.meta for decision in read_decisions(decision_set)]
    return metrics.compare(base, tuned, read_scores(base), read_scores(tuned), metas, config)


def rank(
    base: EvalReport,
    tuned: EvalReport,
    others: Sequence[ArmOutcome],
    decision_set: DecisionSet,
    config: EvaluationConfig,
) -> Standings:
    """Return all arms side by side, base and tuned first, from their scores on disk.

    Raises:
        EvaluationError: The reports are not all on this set.
        DataError: The set or a file of scores is missing or was changed.
    """
    reports = [base, tuned, *(other.report for other in others if other.report is not None)]
    for report in reports:
        check_comparable(report, decision_set)
    metas = [decision.meta for decision in read_decisions(decision_set)]
    return standings(reports, {report.arm: read_scores(report) for report in reports}, metas, config, others)


def check_comparable(report: EvalReport, decision_set: DecisionSet) -> None:
    """See that a report is on this set, and on all of it.

    Raises:
        EvaluationError: It is on another set, or was stopped.
    """
    if report.decision_set_sha256 != decision_set.sha256:
        raise EvaluationError(
            f"The report of {report.arm!r} is on decision set {report.decision_set_sha256}, "
            f"not on {decision_set.sha256}. Evaluate it on the same set."
        )
    if report.unasked:
        raise EvaluationError(
            f"The report of {report.arm!r} was stopped with {report.unasked} decisions unasked. Run it again."
        )


def _records(kind: type[R], content: bytes, path: Path) -> Iterator[R]:
    for number, line in parse_json_lines(content, path):
        try:
            yield kind.model_validate(line)
        except ValidationError as error:
            raise DataError(f"{path}, line {number} is not a {kind.__name__}: {error}") from error


async def _answer_all(
    client: AsyncOpenAI,
    requests: Sequence[Request],
    answers: list[Answer | None],
    cache: AnswerCache,
    config: EvaluationConfig,
    progress: Progress,
) -> None:
    """Fill in one answer a request, from the cache or asked; each new one is in the cache before it is filled in."""
    keys = [cache.key(client, request) for request in requests]
    answers[:] = [cache.get(key) for key in keys]
    waiting = iter([index for index, answer in enumerate(answers) if answer is None])
    pace, alone = Pace(config.concurrency), client.with_options(max_retries=0)
    done = sum(answer is not None for answer in answers)
    unreachable = 0
    progress(done, len(requests))

    async def worker() -> None:
        nonlocal done, unreachable
        for index in waiting:
            answer = await ask_in_turn(alone, client.max_retries, requests[index], config.timeout_s, pace)
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


class _Reporter(NamedTuple):
    """Makes the report of an arm, of all of its answers or of those that it has so far."""

    model: str
    arm: str
    decision_set: DecisionSet
    config: EvaluationConfig
    decisions: Sequence[Decision]
    out_dir: Path
    shop: RetailStore | None
    started: float

    async def whole(self, answers: Sequence[Answer]) -> EvalReport:
        """Report on an evaluation that came to its end."""
        if all(answer.error for answer in answers):
            raise EvaluationError(
                f"None of the {len(answers)} decisions was answered by {self.model!r}; "
                f"the first: {answers[0].error_message}"
                if answers
                else f"The decision set {self.decision_set.path!r} is empty."
            )
        report = self._report(self.arm, self.decisions, await self._scores(self.decisions, answers))
        (self.out_dir / f"{self.arm}.partial.report.json").unlink(missing_ok=True)
        return report

    async def partial(self, answers: Sequence[Answer | None]) -> None:
        """Report on what was answered before the evaluation was stopped; nothing where nothing was."""
        pairs = [(d, answer) for d, answer in zip(self.decisions, answers, strict=True) if answer is not None]
        if pairs:
            decisions = [decision for decision, _ in pairs]
            self._report(f"{self.arm}.partial", decisions, await self._scores(decisions, [one for _, one in pairs]))

    async def _scores(self, decisions: Sequence[Decision], answers: Sequence[Answer]) -> list[Score]:
        answered = [equivalence.Answered(d.item, d.meta, answer) for d, answer in zip(decisions, answers, strict=True)]
        if self.shop is None:
            return [score_answer(*one) for one in answered]
        facts = await equivalence.facts_of(self.shop)
        played = await equivalence.play(self.shop, answered)
        return [score_answer(*one, facts, came_of_it) for one, came_of_it in zip(answered, played, strict=True)]

    def _report(self, name: str, decisions: Sequence[Decision], scores: Sequence[Score]) -> EvalReport:
        path = self.out_dir / f"{name}.scores.jsonl"
        content = "".join(score.model_dump_json() + "\n" for score in scores).encode()
        write_atomically(path, content)
        metas = [decision.meta for decision in decisions]
        latencies = [score.latency_s for score in scores if score.error is None]
        report = EvalReport(
            arm=self.arm,
            model_id=self.model,
            decision_set_sha256=self.decision_set.sha256,
            metrics=metrics.measure(scores, metas, self.config),
            slices=metrics.measure_slices(scores, metas, self.config),
            outcomes=outcomes.by_move(scores),
            acts=outcomes.acts(scores, metas),
            examples=outcomes.examples(scores),
            unjudged=sum(score.failure is not None and score.called and not score.judged for score in scores),
            unasked=len(self.decisions) - len(scores),
            errored=sum(score.error is not None for score in scores),
            latency_p50_s=metrics.percentile(latencies, 0.5),
            latency_p95_s=metrics.percentile(latencies, 0.95),
            prompt_tokens=sum(score.prompt_tokens for score in scores),
            completion_tokens=sum(score.completion_tokens for score in scores),
            seconds=time.monotonic() - self.started,
            scores_path=str(path),
            scores_sha256=hashlib.sha256(content).hexdigest(),
        )
        write_atomically(self.out_dir / f"{name}.report.json", report.model_dump_json(indent=2).encode() + b"\n")
        return report
