"""The evaluation harness: real OpenAI client, real HTTP, planted models and injected faults."""

import asyncio
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from openai import AsyncOpenAI

from tasks import evaluate
from tasks.core.config import EvaluationConfig
from tasks.core.errors import DataError, EvaluationError, ProviderError, ProviderUnavailableError
from tasks.core.evaluation import DecisionSet, EvalReport
from tasks.prompts import short
from tests.decisions import gold_call, write_decisions
from tests.fake_provider import FakeProvider, Reply, call, fault, garbage, reset, say

pytestmark = pytest.mark.anyio
CONFIG = EvaluationConfig(concurrency=8, timeout_s=60, bootstrap_samples=200)
CONVERSATIONS = 6

Script = Callable[[dict[str, Any]], Reply]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def decisions(tmp_path: Path) -> DecisionSet:
    return write_decisions(tmp_path / "set", CONVERSATIONS)


def perfect(request: dict[str, Any]) -> Reply:
    gold = gold_call(request)
    return call(*gold) if gold else say("How can I help you?")


async def evaluated(
    script: Script, decisions: DecisionSet, out: Path, config: EvaluationConfig = CONFIG, arm: str = "base"
) -> tuple[EvalReport, FakeProvider]:
    with FakeProvider(script) as provider:
        async with AsyncOpenAI(base_url=provider.base_url, api_key="k", max_retries=2) as client:
            report = await evaluate.evaluate_model(client, "model-1", arm, decisions, config, out)
    return report, provider


async def test_a_perfect_model_scores_one_everywhere(decisions: DecisionSet, tmp_path: Path) -> None:
    report, provider = await evaluated(perfect, decisions, tmp_path / "out")
    assert report.metrics["decision_accuracy"].value == 1.0
    assert report.metrics["propagation_accuracy"].value == 1.0
    assert report.metrics["invented_argument_rate"].value == 0.0
    assert (report.errored, report.prompt_tokens, report.completion_tokens) == (0, 1800, 180)
    assert 0 < report.latency_p50_s <= report.latency_p95_s
    assert len(provider.requests) == 3 * CONVERSATIONS
    kept = EvalReport.model_validate_json((tmp_path / "out" / "base.report.json").read_text(encoding="utf-8"))
    assert kept == report


async def test_a_request_asks_for_the_likeliest_answer_with_the_tools_of_the_item(
    decisions: DecisionSet, tmp_path: Path
) -> None:
    _, provider = await evaluated(perfect, decisions, tmp_path / "out")
    request = provider.requests[0]
    assert (request["temperature"], request["seed"], request["max_completion_tokens"]) == (0, 7, 256)
    assert request["parallel_tool_calls"] is False
    assert [tool["function"]["name"] for tool in request["tools"]] == ["find_user_id_by_email", "get_user_details"]


async def test_an_id_made_of_a_name_and_a_zip_is_named_as_invented(decisions: DecisionSet, tmp_path: Path) -> None:
    def inventing(request: dict[str, Any]) -> Reply:
        gold = gold_call(request)
        if gold and gold[0] == "get_user_details":
            return call("get_user_details", {"user_id": "ann_lee_80279"})
        return perfect(request)

    report, _ = await evaluated(inventing, decisions, tmp_path / "out")
    assert report.metrics["next_tool_call_accuracy"].value == 0.5
    assert report.metrics["argument_accuracy"].value == 0.5
    assert report.metrics["propagation_accuracy"].value == 0.0
    assert report.metrics["invented_argument_rate"].value == 0.5
    wrong = evaluate.read_scores(report)[1]
    assert wrong.value == 0.5
    assert wrong.explanation.startswith('expected get_user_details{"user_id": "ann_lee_1000"}; got get_user_details')
    assert "user_id is 'ann_lee_80279' instead of 'ann_lee_1000'" in wrong.explanation
    assert "invented" in wrong.explanation
    assert wrong.invented


async def test_broken_json_an_unknown_tool_and_empty_answers_are_scored_not_raised(
    decisions: DecisionSet, tmp_path: Path
) -> None:
    answers = {
        2: call("find_user_id_by_email", '{"email": "half'),
        4: call("open_the_door", {"door": 1}),
        6: Reply(message={"role": "assistant", "content": None, "tool_calls": [{"type": "custom"}, None]}),
    }
    report, _ = await evaluated(lambda request: answers[len(request["messages"])], decisions, tmp_path / "out")
    assert report.errored == 0
    assert report.metrics["next_tool_call_accuracy"].value == 0.0
    assert report.metrics["tool_name_accuracy"].value == 0.5
    assert report.metrics["over_call_rate"].value == 1.0
    scores = evaluate.read_scores(report)
    assert "the arguments are not a JSON object" in scores[0].explanation
    assert [score.value for score in scores[:3]] == [0.5, 0.0, 0.0]


async def test_half_a_surrogate_pair_is_kept_and_scored(decisions: DecisionSet, tmp_path: Path) -> None:
    odd = Reply(
        body=b'{"choices": [{"message": {"role": "assistant", "content": "\\ud83d"}, "finish_reason": "stop"}]}'
    )
    report, _ = await evaluated(lambda request: odd, decisions, tmp_path / "out")
    assert report.metrics["missed_call_rate"].value == 1.0


@pytest.mark.parametrize(
    "broken",
    [fault(429, retry_after=0.01), fault(500), fault(503, retry_after=0.01), reset()],
    ids=["429", "500", "503", "reset"],
)
async def test_a_fault_that_passes_is_survived(broken: Reply, decisions: DecisionSet, tmp_path: Path) -> None:
    seen: set[str] = set()
    lock = threading.Lock()

    def flaky(request: dict[str, Any]) -> Reply:
        key = json.dumps(request["messages"])
        with lock:
            first = key not in seen
            seen.add(key)
        return broken if first and "ann1@" in key else perfect(request)

    report, provider = await evaluated(flaky, decisions, tmp_path / "out")
    assert report.errored == 0
    assert report.metrics["decision_accuracy"].value == 1.0
    assert len(provider.requests) == 3 * CONVERSATIONS + 3


@pytest.mark.parametrize(
    ("broken", "kind"),
    [
        (fault(500), "provider"),
        (garbage(), "provider"),
        (garbage("text/html"), "provider"),
        (Reply(body=b"null"), "provider"),
        (Reply(body=b'{"choices": []}'), "provider"),
        (Reply(body=b'{"choices": [{"message": null}]}'), "provider"),
        (fault(400, code="content_filter"), "filtered"),
        (Reply(message={"role": "assistant", "content": ""}, finish_reason="content_filter"), "filtered"),
        (fault(400, code="context_length_exceeded"), "context"),
        (reset(), "unreachable"),
    ],
)
async def test_an_item_without_an_answer_counts_as_a_failure(
    broken: Reply, kind: str, decisions: DecisionSet, tmp_path: Path
) -> None:
    def failing(request: dict[str, Any]) -> Reply:
        return broken if "ann2@" in json.dumps(request["messages"]) else perfect(request)

    report, _ = await evaluated(failing, decisions, tmp_path / "out")
    assert report.errored == 3
    assert {score.error for score in evaluate.read_scores(report)} == {None, kind}
    headline = report.metrics["next_tool_call_accuracy"]
    assert headline.value == headline.worst == pytest.approx(10 / 12)
    assert headline.best == 1.0


async def test_an_item_slower_than_its_time_counts_as_a_failure(decisions: DecisionSet, tmp_path: Path) -> None:
    def slow(request: dict[str, Any]) -> Reply:
        return perfect(request).after(300) if "ann2@" in json.dumps(request["messages"]) else perfect(request)

    config = CONFIG.model_copy(update={"timeout_s": 3})
    report, _ = await evaluated(slow, decisions, tmp_path / "out", config)
    late = [score for score in evaluate.read_scores(report) if score.error == "timeout"]
    assert len(late) == report.errored == 3
    assert all(score.latency_s >= 3 for score in late)
    assert "no answer within 3 s" in late[0].explanation


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_a_model_that_the_provider_refuses_ends_the_evaluation_at_once(
    status: int, decisions: DecisionSet, tmp_path: Path
) -> None:
    with pytest.raises(ProviderError, match=r"refuses model 'model-1': Error code: 40\d - no such model"):
        await evaluated(lambda request: fault(status, "no such model"), decisions, tmp_path / "out")


async def test_a_provider_that_is_not_there_ends_the_evaluation(decisions: DecisionSet, tmp_path: Path) -> None:
    async with AsyncOpenAI(base_url="http://127.0.0.1:9/v1", api_key="k", max_retries=0) as client:
        with pytest.raises(ProviderUnavailableError, match="Nothing answers at"):
            await evaluate.evaluate_model(client, "m", "base", decisions, CONFIG, tmp_path)


async def test_a_provider_that_fails_on_every_item_is_no_result(decisions: DecisionSet, tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="None of the 18 decisions was answered by 'model-1'"):
        await evaluated(lambda request: fault(400, "bad"), decisions, tmp_path / "out")
    assert not (tmp_path / "out" / "base.report.json").exists()


async def test_answers_on_disk_are_not_asked_again(decisions: DecisionSet, tmp_path: Path) -> None:
    with FakeProvider(perfect) as provider:
        async with AsyncOpenAI(base_url=provider.base_url, api_key="k") as client:
            seen: list[tuple[int, int]] = []

            async def run(config: EvaluationConfig, model: str = "m") -> EvalReport:
                return await evaluate.evaluate_model(
                    client, model, "base", decisions, config, tmp_path, lambda done, total: seen.append((done, total))
                )

            first = await run(CONFIG)
            assert seen[0] == (0, 18)
            assert seen[-1] == (18, 18)
            second = await run(CONFIG)
            assert len(provider.requests) == 18
            assert seen[-1] == (18, 18)
            assert second.model_copy(update={"seconds": first.seconds}) == first
            await run(CONFIG.model_copy(update={"max_completion_tokens": 100}))
            assert len(provider.requests) == 36
            await run(CONFIG, "another")
            assert len(provider.requests) == 54


async def test_an_evaluation_killed_midway_pays_only_for_what_is_new(decisions: DecisionSet, tmp_path: Path) -> None:
    async def interrupted(client: AsyncOpenAI) -> None:
        enough = asyncio.Event()

        def watch(done: int, total: int) -> None:
            if done >= 7:
                enough.set()

        config = CONFIG.model_copy(update={"concurrency": 1})
        running = asyncio.create_task(evaluate.evaluate_model(client, "m", "base", decisions, config, tmp_path, watch))
        await enough.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    with FakeProvider(perfect) as provider:
        async with AsyncOpenAI(base_url=provider.base_url, api_key="k") as client:
            await interrupted(client)
            answers = tmp_path / "answers.jsonl"
            with answers.open("ab") as file:
                file.write(b'{"key": "torn')
            kept = answers.read_bytes().count(b"\n")
            before = len(provider.requests)
            assert kept >= 7
            report = await evaluate.evaluate_model(client, "m", "base", decisions, CONFIG, tmp_path)
            assert len(provider.requests) - before == 18 - kept
    assert report.metrics["decision_accuracy"].value == 1.0
    assert all(json.loads(line) for line in answers.read_bytes().splitlines())


def counting(request: dict[str, Any]) -> Reply:
    """Answer like a model that reads the whole prompt: its provider counts what it read."""
    usage = {"prompt_tokens": len(json.dumps(request["messages"])), "completion_tokens": 1}
    message = {"role": "assistant", "content": "Hello"}
    choices = [{"index": 0, "finish_reason": "stop", "message": message}]
    return Reply(body=json.dumps({"choices": choices, "usage": usage}).encode())


@pytest.mark.parametrize(("script", "reads"), [(perfect, False), (counting, True), (lambda _: fault(400, "bad"), True)])
async def test_a_prompt_that_does_not_reach_the_model_is_told_by_two_questions(
    script: Script, reads: bool, decisions: DecisionSet, tmp_path: Path
) -> None:
    with FakeProvider(script) as provider:
        async with AsyncOpenAI(base_url=provider.base_url, api_key="k") as client:
            prompt = short("Be brief.")
            assert await evaluate.reads_prompt(client, "m", decisions, CONFIG, tmp_path, prompt) is reads
            assert len(provider.requests) == 2
            assert {request["messages"][0]["content"] for request in provider.requests} == {
                "Help the customers of the shop.",
                "Be brief.",
            }
            if script is counting:
                await evaluate.evaluate_model(client, "m", "short", decisions, CONFIG, tmp_path, prompt=prompt)
                assert len(provider.requests) == 1 + decisions.items


async def test_items_that_failed_are_asked_again(decisions: DecisionSet, tmp_path: Path) -> None:
    with FakeProvider(perfect) as provider:
        broken = True
        provider._script = lambda request: (
            fault(400, "bad") if broken and "ann2@" in json.dumps(request) else perfect(request)
        )
        async with AsyncOpenAI(base_url=provider.base_url, api_key="k") as client:
            first = await evaluate.evaluate_model(client, "m", "base", decisions, CONFIG, tmp_path)
            broken = False
            second = await evaluate.evaluate_model(client, "m", "base", decisions, CONFIG, tmp_path)
    assert (first.errored, second.errored) == (3, 0)
    assert len(provider.requests) == 21


async def test_so_many_requests_are_in_flight_and_no_more(tmp_path: Path) -> None:
    decisions = write_decisions(tmp_path / "set", 50)
    config = CONFIG.model_copy(update={"concurrency": 64})
    with FakeProvider(perfect, wait_for=64) as provider:
        async with AsyncOpenAI(base_url=provider.base_url, api_key="k") as client:
            report = await evaluate.evaluate_model(client, "m", "base", decisions, config, tmp_path)
    assert provider.most_in_flight == 64
    assert report.errored == 0


async def test_two_arms_are_compared_from_their_files(decisions: DecisionSet, tmp_path: Path) -> None:
    base, _ = await evaluated(lambda request: say("Hello"), decisions, tmp_path, arm="base")
    tuned, _ = await evaluated(perfect, decisions, tmp_path, arm="tuned")
    comparison = evaluate.compare_reports(base, tuned, decisions, CONFIG)
    headline = comparison.differences[0]
    assert (headline.metric, headline.first, headline.second) == ("next_tool_call_accuracy", 0.0, 1.0)
    other = write_decisions(tmp_path / "other", 2)
    with pytest.raises(EvaluationError, match=other.sha256):
        evaluate.compare_reports(base, tuned, other, CONFIG)
    Path(base.scores_path).write_text("{}\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"base\.scores\.jsonl has SHA-256"):
        evaluate.compare_reports(base, tuned, decisions, CONFIG)


def test_a_set_that_changed_is_refused(decisions: DecisionSet) -> None:
    with Path(decisions.path).open("a", encoding="utf-8") as file:
        file.write("{}\n")
    with pytest.raises(DataError, match="changed since the set was made"):
        evaluate.read_decisions(decisions)


def test_a_sidecar_that_is_short_or_broken_is_refused(decisions: DecisionSet) -> None:
    path = Path(decisions.meta_path)
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(lines[:-1]), encoding="utf-8")
    with pytest.raises(DataError, match=r"18 items but .* has 17 lines"):
        evaluate.read_decisions(decisions)
    path.write_text("".join([lines[0], "{oops\n", *lines[2:]]), encoding="utf-8")
    with pytest.raises(DataError, match="line 2 is not JSON"):
        evaluate.read_decisions(decisions)
    path.unlink()
    with pytest.raises(DataError, match="Cannot read"):
        evaluate.read_decisions(decisions)


async def test_a_broken_line_among_the_answers_is_named(decisions: DecisionSet, tmp_path: Path) -> None:
    (tmp_path / "answers.jsonl").write_text('{"key": "a"}\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"answers\.jsonl, line 1 is not a kept answer; delete the file"):
        await evaluated(perfect, decisions, tmp_path)


async def test_an_arm_that_is_no_file_name_and_a_folder_that_is_a_file_are_refused(
    decisions: DecisionSet, tmp_path: Path
) -> None:
    with pytest.raises(EvaluationError, match=r"'\.\./base' is no file name"):
        await evaluated(perfect, decisions, tmp_path, arm="../base")
    blocked = tmp_path / "blocked"
    blocked.write_text("", encoding="utf-8")
    with pytest.raises(DataError, match="Cannot open the answers"):
        await evaluated(perfect, decisions, blocked)
