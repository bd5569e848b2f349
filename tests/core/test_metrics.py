"""Metrics, slices and comparisons of models whose every answer is planted."""

import pytest

from tasks.core.config import EvaluationConfig
from tasks.core.errors import EvaluationError
from tasks.core.evaluation import EvalReport, ItemMeta, Score
from tasks.core.metrics import (
    MEANINGS,
    MEASURES,
    SAME_DECISIONS,
    SAME_TRIALS,
    compare,
    compare_tellings,
    measure,
    measure_slices,
    percentile,
    slices_of,
)
from tasks.core.move import Move

CONFIG = EvaluationConfig(bootstrap_samples=200)
CONVERSATIONS = 20


def meta(conversation: int, turn: int) -> ItemMeta:
    """Turns 0 and 2 of a conversation are calls, 2 takes an id from a tool; turn 1 is an answer in text."""
    is_call = turn != 1
    return ItemMeta(
        item_id=f"c{conversation}-t{turn}",
        conversation_id=f"c{conversation}",
        scenario_id=f"s{conversation}",
        customer_id=f"u{conversation}",
        turn=turn,
        kind="call" if is_call else "text",
        intents=("cancel",) if conversation % 2 else ("cancel", "return"),
        tool=("find_user_id_by_email" if turn == 0 else "get_user_details") if is_call else None,
        depth=turn,
        propagates=turn == 2,
    )


METAS = [meta(conversation, turn) for conversation in range(CONVERSATIONS) for turn in range(3)]


def right(of: ItemMeta) -> Score:
    called = of.kind == "call"
    return Score(
        item_id=of.item_id,
        value=1.0,
        answer="",
        explanation="",
        called=called,
        name_right=called,
        arguments_right=called,
        calls=int(called),
        move="read" if called else "ask",
        act=None if called else "ask",
    )


def silent(of: ItemMeta) -> Score:
    move: Move = "read" if of.kind == "call" else "ask"
    return Score(
        item_id=of.item_id, value=float(of.kind == "text"), answer="Hello", explanation="", move=move, act="tell"
    )


def inventing(of: ItemMeta) -> Score:
    if not of.propagates:
        return right(of)
    return right(of).model_copy(
        update={"value": 0.5, "arguments_right": False, "invented": ("user_id",), "invented_calls": 1}
    )


def always_calling(of: ItemMeta) -> Score:
    if of.kind == "call":
        return right(of)
    return Score(item_id=of.item_id, value=0.0, answer="", explanation="", called=True, calls=1)


def failing(of: ItemMeta) -> Score:
    return Score(item_id=of.item_id, value=0.0, answer="", explanation="", error="timeout")


def values(scores: list[Score]) -> dict[str, float]:
    return {name: round(metric.value, 6) for name, metric in measure(scores, METAS, CONFIG).items()}


def test_a_perfect_model_gets_every_metric_right() -> None:
    assert values([right(m) for m in METAS]) == {
        "next_tool_call_accuracy": 1.0,
        "equivalent_accuracy": 1.0,
        "decision_accuracy": 1.0,
        "weighted_score": 1.0,
        "over_call_rate": 0.0,
        "act_accuracy": 1.0,
        "missed_call_rate": 0.0,
        "tool_name_accuracy": 1.0,
        "argument_accuracy": 1.0,
        "propagation_accuracy": 1.0,
        "invented_argument_rate": 0.0,
        "error_rate": 0.0,
    }


def test_a_model_that_never_calls_has_no_metric_of_its_calls() -> None:
    found = values([silent(m) for m in METAS])
    assert found["next_tool_call_accuracy"] == 0.0
    assert found["decision_accuracy"] == pytest.approx(1 / 3, abs=1e-6)
    assert found["missed_call_rate"] == 1.0
    assert not {"tool_name_accuracy", "argument_accuracy", "invented_argument_rate"} & found.keys()


def test_a_model_that_always_calls_is_told_by_the_over_call_rate() -> None:
    found = values([always_calling(m) for m in METAS])
    assert (found["next_tool_call_accuracy"], found["over_call_rate"]) == (1.0, 1.0)
    assert found["decision_accuracy"] == pytest.approx(2 / 3, abs=1e-6)


def test_a_model_that_makes_up_ids_is_told_by_propagation_and_invention() -> None:
    found = values([inventing(m) for m in METAS])
    assert (found["propagation_accuracy"], found["tool_name_accuracy"]) == (0.0, 1.0)
    assert (found["argument_accuracy"], found["invented_argument_rate"]) == (0.5, 0.5)


def test_errors_count_as_failures_and_bound_the_headline_from_above() -> None:
    scores = [failing(m) if m.conversation_id == "c3" else right(m) for m in METAS]
    found = measure(scores, METAS, CONFIG)
    headline = found["next_tool_call_accuracy"]
    assert (headline.value, headline.n) == (pytest.approx(38 / 40), 40)
    assert (headline.worst, headline.best) == (headline.value, 1.0)
    over_calls = found["over_call_rate"]
    assert (over_calls.value, over_calls.worst, over_calls.best) == (pytest.approx(1 / 20), over_calls.value, 0.0)
    assert found["missed_call_rate"].value == pytest.approx(2 / 40)
    assert found["error_rate"].value == pytest.approx(3 / 60)


def test_rates_of_emitted_calls_are_over_calls_not_over_decisions() -> None:
    several = right(METAS[0]).model_copy(update={"calls": 4, "invented_calls": 1})
    found = measure([several, *[right(m) for m in METAS[1:]]], METAS, CONFIG)
    assert found["invented_argument_rate"].n == 43
    assert found["invented_argument_rate"].value == pytest.approx(1 / 43)


def test_a_wrong_change_costs_what_a_right_one_is_worth_and_a_needless_read_costs_nothing() -> None:
    changing = [right(m).model_copy(update={"move": "write"}) if m.propagates else right(m) for m in METAS]
    points = 20 * (1 + 1 + 3)
    assert measure(changing, METAS, CONFIG)["weighted_score"].n == points
    missed, needless = {"value": 0.0}, {"value": 0.0, "called": True}
    wrong = {"value": 0.5, "wrong_write": True}
    for of, update, lost in ((2, missed, 3), (2, wrong, 6), (1, needless, 1), (1, wrong, 4), (0, wrong, 4)):
        scores = [*changing[:of], changing[of].model_copy(update=update), *changing[of + 1 :]]
        found = measure(scores, METAS, CONFIG)["weighted_score"]
        assert found.value == pytest.approx((points - lost) / points)
    equivalent = [score.model_copy(update={"value": 0.5, "equivalent": True}) for score in changing]
    assert measure(equivalent, METAS, CONFIG)["weighted_score"].value == 1.0


def test_the_set_says_what_it_can_show_and_how_many_decisions_would_show_more() -> None:
    base = [inventing(m) if m.conversation_id in {"c1", "c2", "c7", "c9"} else right(m) for m in METAS]
    tuned = [right(m) for m in METAS]
    config = CONFIG.model_copy(update={"wanted_difference": 0.02})
    comparison = compare(report("base", base), report("tuned", tuned), base, tuned, METAS, config)
    headline = comparison.differences[0]
    # Four conversations of twenty gain one of their two calls each.
    error = (20 / 19 * (4 * (0.5 - 0.1) ** 2 + 16 * 0.1**2)) ** 0.5 / 20
    assert headline.detectable is not None
    # The difference itself counts as spread, over the twenty conversations.
    spread = (error**2 + headline.detectable**2 / 20) ** 0.5
    assert headline.detectable == pytest.approx(1.959964 * spread + 0.841621 * error, rel=1e-5)
    # So many times the set that its error and the spread by the wanted difference come down to that difference.
    times = ((1.959964 * (error**2 + 0.02**2 / 20) ** 0.5 + 0.841621 * error) / 0.02) ** 2
    assert headline.needed == -(-40 * times // 1)


def test_intervals_hold_their_value_and_stay_within_zero_and_one() -> None:
    scores = [inventing(m) if m.conversation_id in {"c1", "c2", "c7"} else right(m) for m in METAS]
    for metric in measure(scores, METAS, CONFIG).values():
        assert 0.0 <= metric.low <= metric.value <= metric.high <= 1.0


def test_slices_cover_intent_tool_and_depth() -> None:
    scores = [inventing(m) for m in METAS]
    slices = measure_slices(scores, METAS, CONFIG)
    assert set(slices) == {
        "intent=cancel",
        "intent=return",
        "tool=find_user_id_by_email",
        "tool=get_user_details",
        "tool=none",
        "depth=0",
        "depth=1",
        "depth=2-3",
    }
    assert slices["tool=get_user_details"]["next_tool_call_accuracy"].value == 0.0
    assert slices["intent=cancel"]["decision_accuracy"].n == 60
    assert slices["intent=return"]["decision_accuracy"].n == 30


@pytest.mark.parametrize(("depth", "band"), [(0, "0"), (1, "1"), (3, "2-3"), (4, "4-7"), (40, "32-63")])
def test_depths_are_in_bands_of_powers_of_two(depth: int, band: str) -> None:
    assert f"depth={band}" in slices_of(METAS[0].model_copy(update={"depth": depth}))


def test_scores_of_other_items_are_refused() -> None:
    scores = [right(m) for m in METAS]
    with pytest.raises(EvaluationError, match="59 scores for 60 items"):
        measure(scores[:-1], METAS, CONFIG)
    with pytest.raises(EvaluationError, match="'c0-t1', the set has 'c0-t0'"):
        measure([scores[1], scores[0], *scores[2:]], METAS, CONFIG)


def report(arm: str, scores: list[Score], decision_set: str = "a" * 64) -> EvalReport:
    return EvalReport(
        arm=arm,
        model_id=f"model-{arm}",
        decision_set_sha256=decision_set,
        metrics=measure(scores, METAS, CONFIG),
        slices={},
        errored=0,
        latency_p50_s=0.1,
        latency_p95_s=0.2,
        prompt_tokens=1,
        completion_tokens=1,
        seconds=1.0,
        scores_path="scores.jsonl",
        scores_sha256="b" * 64,
    )


def test_two_models_are_compared_on_the_same_items() -> None:
    base, tuned = [inventing(m) for m in METAS], [right(m) for m in METAS]
    comparison = compare(report("base", base), report("tuned", tuned), base, tuned, METAS, CONFIG)
    differences = {difference.metric: difference for difference in comparison.differences}
    headline = differences["next_tool_call_accuracy"]
    assert (headline.first, headline.second, headline.difference, headline.n) == (0.5, 1.0, 0.5, 40)
    assert headline.low == headline.high == 0.5
    assert headline.p_value == pytest.approx(2 * 0.5**20)
    assert headline.p_clustered == pytest.approx(1 / 201)  # the smallest that 200 sign patterns can tell
    assert headline.detectable is None  # without any spread nothing is known of it
    assert differences["invented_argument_rate"].difference == -0.5
    assert differences["invented_argument_rate"].p_value is None


def test_only_metrics_over_the_same_decisions_get_the_paired_test() -> None:
    scores = [right(m) for m in METAS]
    comparison = compare(report("a", scores), report("b", scores), scores, scores, METAS, CONFIG)
    assert {d.metric for d in comparison.differences} == set(MEASURES)
    assert {d.metric for d in comparison.differences if d.p_value is not None} == SAME_DECISIONS
    assert {d.metric for d in comparison.differences if d.p_clustered is not None} == SAME_TRIALS


def test_a_metric_that_one_model_lacks_is_not_compared() -> None:
    base, tuned = [silent(m) for m in METAS], [right(m) for m in METAS]
    comparison = compare(report("base", base), report("tuned", tuned), base, tuned, METAS, CONFIG)
    assert "argument_accuracy" not in {difference.metric for difference in comparison.differences}


def test_reports_on_different_decision_sets_refuse_to_be_compared() -> None:
    scores = [right(m) for m in METAS]
    with pytest.raises(EvaluationError, match=f"{'a' * 64} and {'c' * 64}"):
        compare(report("base", scores), report("tuned", scores, "c" * 64), scores, scores, METAS, CONFIG)


def test_percentiles_are_the_nearest_rank() -> None:
    assert percentile([3.0, 1.0, 2.0, 4.0], 0.5) == 2.0
    assert percentile([3.0, 1.0, 2.0, 4.0], 0.95) == 4.0
    assert percentile([], 0.5) == 0.0


def test_readers_are_told_what_each_metric_is_the_share_of() -> None:
    assert MEANINGS.keys() == MEASURES.keys()


def retold(of: ItemMeta) -> ItemMeta:
    """The same decision of the same errand, told in other words."""
    return of.model_copy(update={"item_id": f"{of.item_id}-seen", "conversation_id": f"{of.conversation_id}-seen"})


def test_two_tellings_of_the_same_errands_are_compared_errand_by_errand() -> None:
    # The same half of the errands is hard however it is told; in other words one more errand goes wrong.
    own = [right(m) if int(m.scenario_id[1:]) % 2 else failing(m) for m in METAS]
    lost = [failing(m) if m.scenario_id == "s1" else score for m, score in zip(METAS, own, strict=True)]
    other = [retold(m) for m in METAS]
    seen = [score.model_copy(update={"item_id": m.item_id}) for score, m in zip(own, other, strict=True)]
    [found, *_] = compare_tellings((lost, METAS), (seen, other), CONFIG)
    assert (found.metric, found.first, found.second) == ("next_tool_call_accuracy", 9 / 20, 0.5)
    assert found.difference == pytest.approx(1 / 20)
    assert -1e-9 <= found.low <= found.difference <= found.high < 0.25  # apart, each share is known to +-0.25 alone
    assert found.p_value is None
    # An errand that only one of the tellings has counts on its side.
    [fewer, *_] = compare_tellings((lost, METAS), (seen[3:], other[3:]), CONFIG)
    assert (fewer.first, fewer.second, fewer.n) == (9 / 20, pytest.approx(10 / 19), 38)


def test_tellings_of_different_errands_are_refused() -> None:
    scores = [right(m) for m in METAS]
    strange = [m.model_copy(update={"scenario_id": f"x{m.scenario_id}"}) for m in METAS]
    with pytest.raises(EvaluationError, match="no errand in common"):
        compare_tellings((scores, METAS), (scores, strange), CONFIG)
    with pytest.raises(EvaluationError, match="Score 1 is of item"):
        compare_tellings((scores, METAS), (scores, [retold(m) for m in METAS]), CONFIG)
