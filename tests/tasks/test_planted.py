"""Models whose every answer is planted, on decisions of the real shop: they get exactly the scores that they must."""

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tasks.core.evaluation import DecisionSet
from tasks.core.outcomes import gain_by_failure, gain_by_slice, gain_by_step
from tasks.evaluate import Decision
from tests.fake_provider import Reply, call, say
from tests.planted import CONFIG, WRITES, Gold, count, gold_of, measured, perfect
from tests.worlds import shop_tools, small_shop

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


async def test_perfect(decision_set: DecisionSet, decisions: list[Decision], tmp_path: Path) -> None:
    found = await measured(perfect, decision_set, tmp_path)
    assert found.failed() == {}
    for metric, value in found.report.metrics.items():
        assert value.value == (0.0 if metric.endswith("_rate") else 1.0), metric
    assert all(metrics["decision_accuracy"].value == 1.0 for metrics in found.report.slices.values())
    moves = Counter(score.move for score in found.scores)
    assert moves["write"] == count(decisions, *WRITES) > 0
    assert found.report.outcomes == {move: {"right": moves[move]} for move in found.report.outcomes}
    assert all(row.keys() == {act} for act, row in found.report.acts.items())
    points = len(decisions) + 2 * moves["write"]
    assert found.report.metrics["weighted_score"].n == points


async def test_always_calls(decision_set: DecisionSet, decisions: list[Decision], tmp_path: Path) -> None:
    found = await measured(lambda d, gold: call(*(gold or [("list_products", {})])[0]), decision_set, tmp_path)
    words = count(decisions, None)
    assert found.failed() == {"extra_call": words}
    assert (found.value("over_call_rate"), found.value("act_accuracy")) == (1.0, 0.0)
    assert found.value("next_tool_call_accuracy") == found.value("equivalent_accuracy") == 1.0
    assert found.value("decision_accuracy") == pytest.approx(1 - words / len(decisions))
    writes = count(decisions, *WRITES)
    assert found.value("weighted_score") == pytest.approx(
        (len(decisions) - words + 2 * writes) / (len(decisions) + 2 * writes)
    )


async def test_never_calls(decision_set: DecisionSet, decisions: list[Decision], tmp_path: Path) -> None:
    found = await measured(lambda d, gold: say("Your order is on its way."), decision_set, tmp_path)
    words = count(decisions, None)
    assert found.failed() == {"text_instead_of_call": len(decisions) - words}
    assert (found.value("missed_call_rate"), found.value("over_call_rate")) == (1.0, 0.0)
    assert found.value("act_accuracy") == sum(s.move == "tell" for d, s in found.pairs if d.meta.kind == "text") / words
    assert "tool_name_accuracy" not in found.report.metrics


async def test_says_nothing_at_all(decision_set: DecisionSet, decisions: list[Decision], tmp_path: Path) -> None:
    found = await measured(lambda d, gold: say(""), decision_set, tmp_path)
    assert found.failed() == {"missing_call": len(decisions) - count(decisions, None)}
    assert found.value("act_accuracy") == 0.0


async def test_copies_the_zip_into_the_id(decision_set: DecisionSet, decisions: list[Decision], tmp_path: Path) -> None:
    def planted(decision: Decision, gold: Gold) -> Reply:
        if decision.meta.tool != "get_user_details":
            return perfect(decision, gold)
        user = small_shop().user(decision.meta.customer_id)
        return call("get_user_details", {"user_id": f"{user.user_id.rpartition('_')[0]}_{user.address.zip}"})

    found = await measured(planted, decision_set, tmp_path)
    profiles = count(decisions, "get_user_details")
    assert found.failed() == {"invented_id": profiles}
    assert found.value("invented_argument_rate") == pytest.approx(profiles / (len(decisions) - count(decisions, None)))
    assert found.report.slices["tool=get_user_details"]["propagation_accuracy"].value == 0.0
    assert found.value("tool_name_accuracy") == 1.0
    assert {example.kind for example in found.report.examples} == {"invented_id"}


async def test_swaps_two_arguments(decision_set: DecisionSet, decisions: list[Decision], tmp_path: Path) -> None:
    def planted(decision: Decision, gold: Gold) -> Reply:
        if decision.meta.tool != "find_user_id_by_name_zip":
            return perfect(decision, gold)
        arguments = gold[0][1]
        return call(
            gold[0][0], arguments | {"first_name": arguments["last_name"], "last_name": arguments["first_name"]}
        )

    found = await measured(planted, decision_set, tmp_path)
    assert found.failed() == {"wrong_argument": count(decisions, "find_user_id_by_name_zip")}
    assert found.value("invented_argument_rate") == 0.0
    assert found.report.slices["tool=find_user_id_by_name_zip"]["argument_accuracy"].value == 0.0


async def test_keys_in_another_order_and_blanks_between_them_are_right(
    decision_set: DecisionSet, tmp_path: Path
) -> None:
    def planted(decision: Decision, gold: Gold) -> Reply:
        if not gold:
            return perfect(decision, gold)
        return call(gold[0][0], "  " + json.dumps(dict(reversed(gold[0][1].items())), indent=3) + "\n")

    found = await measured(planted, decision_set, tmp_path)
    assert found.failed() == {}
    assert found.value("next_tool_call_accuracy") == 1.0
    assert not any(score.equivalent for score in found.scores)


async def test_blanks_around_a_value_are_right(decision_set: DecisionSet, tmp_path: Path) -> None:
    def planted(decision: Decision, gold: Gold) -> Reply:
        if not gold:
            return perfect(decision, gold)
        return call(gold[0][0], {k: f" {v} " if isinstance(v, str) else v for k, v in gold[0][1].items()})

    found = await measured(planted, decision_set, tmp_path)
    assert found.failed() == {}
    assert found.value("next_tool_call_accuracy") == found.value("weighted_score") == 1.0
    assert not any(score.equivalent for score in found.scores)


async def test_a_text_of_digits_is_not_a_number(
    decision_set: DecisionSet, decisions: list[Decision], tmp_path: Path
) -> None:
    def planted(decision: Decision, gold: Gold) -> Reply:
        if gold and "zip" in gold[0][1]:
            return call(gold[0][0], gold[0][1] | {"zip": int(gold[0][1]["zip"])})
        return perfect(decision, gold)

    found = await measured(planted, decision_set, tmp_path)
    zips = sum("zip" in dict(gold_of(d)).get(str(d.meta.tool), {}) for d in decisions)
    assert found.failed() == {"wrong_argument": zips}
    assert zips > 0


SEARCH = {"query": next(iter(small_shop().products.values())).name, "limit": 3}


@pytest.fixture
def numbers(decision_set: DecisionSet, tmp_path: Path) -> DecisionSet:
    """Return the set with a number in it: where the products were listed, the customer asks for three of one kind."""
    path = tmp_path / "numbers.jsonl"
    lines = [json.loads(line) for line in Path(decision_set.path).read_text().splitlines()]
    for item in (line["item"] for line in lines):
        for made in item["expected_output"]["tool_calls"]:
            if made["function"]["name"] == "list_products":
                made["function"] = {"name": "search_products", "arguments": json.dumps(SEARCH)}
                item["messages"][1]["content"] += f" Show me 3 of {SEARCH['query']}, or 4."
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return decision_set.model_copy(update={"path": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()})


@pytest.mark.parametrize(("written", "failure"), [(3.0, None), ("3", "wrong_argument"), (4, "wrong_argument")])
async def test_a_number_is_a_number_and_never_its_text(
    numbers: DecisionSet, written: Any, failure: str | None, tmp_path: Path
) -> None:
    def planted(decision: Decision, gold: Gold) -> Reply:
        return call(gold[0][0], SEARCH | {"limit": written}) if searches(decision) else perfect(decision, gold)

    def searches(decision: Decision) -> bool:
        return gold_of(decision)[:1] == [("search_products", SEARCH)]

    found = await measured(planted, numbers, tmp_path)
    those = [score for decision, score in found.pairs if searches(decision)]
    assert {score.value for score in those} == {1.0 if failure is None else 0.5}
    # The shop refuses the text of a number, so that it is not equivalent either.
    assert found.failed() == ({} if failure is None else {failure: len(those)})
    assert found.value("tool_name_accuracy") == 1.0


async def test_broken_json(decision_set: DecisionSet, decisions: list[Decision], tmp_path: Path) -> None:
    def planted(decision: Decision, gold: Gold) -> Reply:
        return call(gold[0][0], json.dumps(gold[0][1])[:-1]) if gold else perfect(decision, gold)

    found = await measured(planted, decision_set, tmp_path)
    assert found.failed() == {"malformed_json": len(decisions) - count(decisions, None)}
    assert (found.value("tool_name_accuracy"), found.value("argument_accuracy")) == (1.0, 0.0)
    assert found.value("equivalent_accuracy") == 0.0


@pytest.mark.slow
async def test_a_tenth_of_the_answers_too_late(
    decision_set: DecisionSet, decisions: list[Decision], tmp_path: Path
) -> None:
    late = {d.meta.item_id for d in decisions[::10]}

    def planted(decision: Decision, gold: Gold) -> Reply:
        reply = perfect(decision, gold)
        return reply.after(600) if decision.meta.item_id in late else reply

    # As many in flight as are late, and time enough for all others also on a busy machine.
    config = CONFIG.model_copy(update={"timeout_s": 10, "concurrency": len(late)})
    found = await measured(planted, decision_set, tmp_path, config)
    assert found.failed() == {"no_answer": len(late)}
    assert {score.item_id for score in found.scores if score.error == "timeout"} == late
    accuracy = found.report.metrics["decision_accuracy"]
    assert accuracy.value == accuracy.worst == pytest.approx(1 - len(late) / len(decisions))
    assert accuracy.best == 1.0
    words = [d for d in decisions if d.meta.kind == "text"]
    late_words = sum(d.meta.item_id in late for d in words)
    over_calls = found.report.metrics["over_call_rate"]
    assert over_calls.value == over_calls.worst == pytest.approx(late_words / len(words))
    assert over_calls.best == 0.0


async def test_the_gain_adds_up_by_failure_and_by_tool(
    decision_set: DecisionSet, decisions: list[Decision], tmp_path: Path
) -> None:
    def weak(decision: Decision, gold: Gold) -> Reply:
        if decision.meta.depth % 3 == 0:
            return say("Hm?")
        return call(gold[0][0], {}) if gold and decision.meta.depth % 2 else perfect(decision, gold)

    first = (await measured(weak, decision_set, tmp_path / "weak")).report
    second = (await measured(perfect, decision_set, tmp_path / "perfect")).report
    by_failure = gain_by_failure(first, second)
    assert {one.name for one in by_failure} == {"text_instead_of_call", "wrong_argument"}
    right = sum(row.get("right", 0) + row.get("equivalent", 0) for row in first.outcomes.values())
    assert sum(one.gain for one in by_failure) == pytest.approx(1 - right / len(decisions))
    steps = {one.name: (one.first, one.second, one.gain) for one in gain_by_step(first, second)}
    assert steps == {
        step: (one.first, one.second, pytest.approx(one.gain))
        for step, one in zip(("when to call", "which arguments"), by_failure, strict=True)
    }
    by_tool = gain_by_slice(first, second, "next_tool_call_accuracy", "tool=")
    gain = 1 - first.metrics["next_tool_call_accuracy"].value
    assert sum(one.gain for one in by_tool) == pytest.approx(gain)


def test_the_set_has_all_that_is_planted(decisions: list[Decision]) -> None:
    tools = {d.meta.tool for d in decisions}
    assert {None, "get_user_details", "get_order_details", "find_user_id_by_name_zip", "update_address"} <= tools
    assert {tool["function"]["name"] for tool in shop_tools()} >= tools - {None}
