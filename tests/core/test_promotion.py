"""The gate: every rule refuses by itself, nothing unmeasured passes, and a better figure never spoils a yes."""

from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.core.dataset import Funnel
from tasks.core.evaluation import Difference
from tasks.core.metrics import HEADLINE
from tasks.core.promotion import Evidence, Rule, figure_text, hashes_of, judge
from tasks.core.promotion_rules import PromotionRules
from tests import runs
from tests.cases import RULES, changed, faults, good_evidence, tuned

INF = float("inf")


def test_a_model_that_is_better_everywhere_passes_every_rule_there_is(tmp_path: Path) -> None:
    verdict = judge(good_evidence(tmp_path), RULES)
    assert verdict.passed
    assert verdict.failed == ()
    assert {result.rule for result in verdict.results} == set(get_args(Rule))


@pytest.mark.parametrize("rule", get_args(Rule))
def test_each_rule_refuses_by_itself(rule: str, tmp_path: Path) -> None:
    good = good_evidence(tmp_path)
    verdict = judge(good.model_copy(update=faults(good)[rule]), RULES)
    assert not verdict.passed
    assert [result.rule for result in verdict.failed] == [rule]


@pytest.mark.parametrize(
    ("update", "rule"),
    [
        ({"stories": ()}, "replay"),
        ({"families": ()}, "stories"),
        ({"families": ()}, "family"),
        ({"cost": {"amount": None}}, "cost"),
        ({"comparison": {"differences": ()}}, "gain"),
        ({"comparison": {"differences": ()}}, "propagation"),
        ({"comparison": {"differences": ()}}, "over_calls"),
    ],
)
def test_what_was_not_measured_does_not_pass(update: dict[str, Any], rule: str, tmp_path: Path) -> None:
    good = good_evidence(tmp_path)
    nested = {
        name: getattr(good, name).model_copy(update=value) if isinstance(value, dict) else value
        for name, value in update.items()
    }
    failed = {result.rule: result for result in judge(good.model_copy(update=nested), RULES).failed}
    assert failed[rule].figure is None  # type: ignore[index]


def test_a_model_that_never_calls_shows_no_rate_of_invented_arguments_and_does_not_pass(tmp_path: Path) -> None:
    good = good_evidence(tmp_path)
    verdict = judge(good.model_copy(update={"comparison": tuned(good, metrics={})}), RULES)
    assert [result.rule for result in verdict.failed] == ["invented_arguments"]


def test_stories_of_two_packs_are_not_held_against_each_other(tmp_path: Path) -> None:
    good = good_evidence(tmp_path)
    families = (good.families[0], runs.a_family("tuned", True, True, pack="another"))
    verdict = judge(good.model_copy(update={"families": families}), RULES)
    assert [(result.rule, result.figure) for result in verdict.failed] == [("family", None)]


def test_an_empty_dataset_has_no_yield(tmp_path: Path) -> None:
    good = good_evidence(tmp_path)
    none = Funnel(played=0, stopped=good.dataset.funnel.stopped, reasons={}, kept=0)
    verdict = judge(good.model_copy(update={"dataset": good.dataset.model_copy(update={"funnel": none})}), RULES)
    assert [result.rule for result in verdict.failed] == ["dataset_yield"]


def test_without_a_champion_and_a_limit_of_cost_their_rules_are_left_out(tmp_path: Path) -> None:
    first = good_evidence(tmp_path).model_copy(update={"against_champion": None})
    verdict = judge(first, PromotionRules(max_cost=None))
    assert verdict.passed
    assert {"champion", "cost"} & {result.rule for result in verdict.results} == set()


def test_the_champion_must_have_been_asked_the_same_decisions(tmp_path: Path) -> None:
    good = good_evidence(tmp_path)
    champion = good.against_champion
    assert champion is not None
    other = champion.base.model_copy(update={"arm": "champion", "decision_set_sha256": "e" * 64})
    moved = good.model_copy(update={"against_champion": champion.model_copy(update={"base": other})})
    [failed] = judge(moved, RULES).failed
    assert (failed.rule, failed.figure, failed.note) == ("same_decisions", 1, "champion")


shares = st.floats(-1, 1, allow_nan=False)


@given(values=st.lists(shares, min_size=5, max_size=5), index=st.integers(0, 4), better=st.floats(0, 1))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_the_verdict_is_that_of_the_rules_and_a_better_figure_never_spoils_it(
    values: list[float], index: int, better: float, tmp_path: Path
) -> None:
    good = good_evidence(tmp_path)
    verdict = judge(with_figures(good, values), RULES)
    assert verdict.passed == all(result.passed for result in verdict.results)
    for result in verdict.results:
        assert result.figure is not None
        sign = -1 if result.bound == "at most" else 1
        kept = sign * result.figure > sign * result.threshold or (
            result.bound != "above" and result.figure == result.threshold
        )
        assert result.passed == kept
    # The last of the five is the one rate of which less is better.
    values[index] += -better if index == 4 else better
    after = judge(with_figures(good, values), RULES)
    assert {one.rule for one in after.failed} <= {one.rule for one in verdict.failed}


def with_figures(good: Evidence, values: list[float]) -> Evidence:
    gain, low, propagation, decisions, over_calls = values
    compared = good.comparison
    moves: dict[str, dict[str, float]] = {
        HEADLINE: {"difference": gain, "low": low},
        "propagation_accuracy": {"low": propagation},
        "decision_accuracy": {"low": decisions},
        "over_call_rate": {"high": over_calls},
    }
    moved: tuple[Difference, ...] = tuple(
        change.model_copy(update=moves[change.metric]) for change in compared.differences
    )
    return good.model_copy(update={"comparison": compared.model_copy(update={"differences": moved})})


@pytest.mark.parametrize("value", [float("nan"), -INF])
def test_what_is_no_number_does_not_pass(value: float, tmp_path: Path) -> None:
    good = good_evidence(tmp_path)
    verdict = judge(good.model_copy(update={"comparison": changed(good, HEADLINE, low=value)}), RULES)
    assert [result.rule for result in verdict.failed] == ["certain_gain"]


def test_the_hashes_move_with_what_they_are_of(tmp_path: Path) -> None:
    good = good_evidence(tmp_path)
    before = hashes_of(good, RULES, "k")
    after = hashes_of(good, PromotionRules(minimum_gain=0.01), "k")
    assert {name for name in before if before[name] != after[name]} == {"rules"}
    repriced = good.model_copy(update={"cost": good.cost.model_copy(update={"amount": 2.0})})
    assert {name for name, value in hashes_of(repriced, RULES, "k").items() if before[name] != value} == {"evidence"}


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [(0.466, "points", "+46.6 points"), (0.02, "share", "2.0 %"), (3, "count", "3"), (1.5, "money", "1.50")],
)
def test_figures_are_told_as_a_person_reads_them(value: float, unit: Any, text: str) -> None:
    assert figure_text(value, unit) == text
    assert figure_text(None, unit) == "not measured"
