"""A decision set at a provider's Evals API through the real SDK, with the grader as it is, and the results back."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from openai import AsyncOpenAI

from tasks.core import grader
from tasks.core.config import EvaluationConfig
from tasks.core.errors import DataError, EvaluationError
from tasks.core.evaluation import DecisionSet, EvalReport
from tasks.core.provider_evals import ProviderComparison
from tasks.evaluate import evaluate_model
from tasks.exchange import compare_with_provider, export_eval, read_results
from tests.decisions import gold_call, write_decisions
from tests.fake_evals import FakeEvals, run_grader
from tests.fake_provider import FakeProvider, Reply, call, say

pytestmark = pytest.mark.anyio
CONFIG = EvaluationConfig(bootstrap_samples=50, timeout_s=240)
SOURCE = Path(grader.__file__).read_text(encoding="utf-8")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def perfect(request: dict[str, Any]) -> Reply:
    gold = gold_call(request)
    return call(*gold) if gold else say("How can I help you?")


async def local_report(decisions: DecisionSet, folder: Path) -> EvalReport:
    with FakeProvider(perfect) as provider:
        async with AsyncOpenAI(base_url=provider.base_url, api_key="k", max_retries=0) as client:
            return await evaluate_model(client, "m", "model", decisions, CONFIG, folder)


def run_at(provider: FakeEvals, decisions: DecisionSet, folder: Path) -> Path:
    """Export a set, send it as the command says, and save the output items."""
    exported = export_eval(decisions, "gpt", CONFIG, folder / "export")
    client = provider.client()
    file_id = client.files.create(file=exported.items, purpose="evals").id
    made = client.evals.create(**json.loads(exported.eval_body.read_text()))
    body = json.loads(exported.run_body.read_text().replace("FILE_ID", file_id))
    run = client.evals.runs.create(made.id, **body)
    items = client.evals.runs.output_items.list(run.id, eval_id=made.id).data
    path = folder / "results.jsonl"
    path.write_text("".join(json.dumps(item.model_dump(warnings=False)) + "\n" for item in items))
    return path


def sampled(item: dict[str, Any]) -> dict[str, Any] | None:
    """Be right but for two customers: one gets no answer, the other a profile that nobody asked for."""
    if "ann1@" in item["messages"][1]["content"]:
        return None
    if "ann2@" in item["messages"][1]["content"]:
        return dict(call("get_user_details", {"user_id": "ann_lee_94110"}).message)
    return dict(perfect(item).message)


async def test_a_set_goes_to_a_provider_and_its_results_come_back(tmp_path: Path) -> None:
    decisions = write_decisions(tmp_path / "set", 4)
    with FakeEvals(sample=sampled) as provider:
        results = run_at(provider, decisions, tmp_path)
        [run] = provider.output_items
        sent = provider.evals["eval_1"]
    assert sent["testing_criteria"][0]["source"] == SOURCE
    assert run == "evalrun_1"
    compared = compare_with_provider(decisions, await local_report(decisions, tmp_path), results)
    assert compared == ProviderComparison(
        items=12,
        missing=0,
        errored=3,
        both_right=6,
        only_local_right=6,
        only_provider_right=0,
        both_wrong=0,
        p_value=2 * 0.5**6,
        regraded=9,
        misgraded=(),
    )


async def test_a_provider_that_grades_otherwise_is_found_out(tmp_path: Path) -> None:
    decisions = write_decisions(tmp_path / "set", 2)
    with FakeEvals(sample=lambda item: dict(perfect(item).message)) as provider:
        results = run_at(provider, decisions, tmp_path)
    lines = [json.loads(line) for line in results.read_text().splitlines()]
    lines[1]["results"][0]["score"] = 0.5
    # A page as the API sends it, without the last item.
    results.write_text(json.dumps({"object": "list", "data": lines[:-1]}))
    compared = compare_with_provider(decisions, await local_report(decisions, tmp_path), results)
    assert compared.misgraded == ("c0-t1",)
    assert (compared.missing, compared.both_right, compared.only_local_right) == (1, 4, 2)


async def test_results_of_another_set_are_refused(tmp_path: Path) -> None:
    decisions = write_decisions(tmp_path / "set", 1)
    with FakeEvals() as provider:
        results = run_at(provider, write_decisions(tmp_path / "other", 2), tmp_path)
    with pytest.raises(EvaluationError, match="3 results are of items that are not in this set"):
        compare_with_provider(decisions, await local_report(decisions, tmp_path), results)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON"),
        ("3", "holds no list of output items"),
        ('{"data": [{}]}', "output item 1: datasource_item is missing"),
        ('[{"datasource_item": {"messages": []}, "results": []}]', "no score of the grader 'tool calls'"),
    ],
)
def test_a_file_that_holds_no_results_is_named(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "results.json"
    path.write_text(content)
    with pytest.raises(DataError, match=message):
        read_results(path)


def test_items_with_different_tools_cannot_be_one_run(tmp_path: Path) -> None:
    decisions = write_decisions(tmp_path, 1)
    path = Path(decisions.path)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[1]["item"]["tools"] = []
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    changed = decisions.model_copy(update={"sha256": hashlib.sha256(path.read_bytes()).hexdigest()})
    with pytest.raises(EvaluationError, match="different tools"):
        export_eval(changed, "m", CONFIG, tmp_path / "out")


def test_the_uploaded_grader_gives_what_the_local_one_gives() -> None:
    def tools(arguments: str) -> dict[str, Any]:
        return {"tool_calls": [{"type": "function", "function": {"name": "get", "arguments": arguments}}]}

    right = {"expected_output": tools('{"id": "0071"}')}
    samples = [{"output_tools": tools(text)["tool_calls"]} for text in ('{"id":"0071"}', '{"id": "71"}', "{")]
    samples += [{"output_tools": []}, {"output_text": "Hello"}]
    assert run_grader(SOURCE, [(sample, right) for sample in samples]) == [grader.grade(s, right) for s in samples]
    # The limit for an uploaded grader.
    assert len(SOURCE.encode()) < 256 * 1024
