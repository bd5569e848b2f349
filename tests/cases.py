"""A model that passes every rule of the gate, and the run that it came from."""

from pathlib import Path
from typing import Any

from tasks.core.dataset import DatasetSplit, Funnel
from tasks.core.evaluation import Comparison, Difference, EvalReport, Metric
from tasks.core.metrics import HEADLINE
from tasks.core.promotion import Case, Decision, Evidence, Promotion, RegisteredVersion, hashes_of, judge
from tasks.core.promotion_rules import PromotionRules
from tasks.core.run import Cost, RunSummary
from tests import runs

RULES = PromotionRules(max_cost=10.0)
GATES = dict.fromkeys(("format", "policy", "provenance", "execution", "goal"), 0)
GAINS = {
    "next_tool_call_accuracy": 0.4,
    "propagation_accuracy": 0.3,
    "decision_accuracy": 0.2,
    "over_call_rate": -0.1,
}


def good_summary(folder: Path, **changes: object) -> RunSummary:
    """Return a run whose model passes every rule."""
    summary = runs.a_summary(folder)
    compared = _comparison(folder, summary.decisions.sha256)
    made = summary.model_copy(
        update={
            "comparison": compared,
            "standings": None,
            "dataset": _dataset(summary.dataset),
            "families": (runs.a_family("base", False, True), runs.a_family("tuned", True, True)),
            "cost": Cost(amount=1.0),
        }
    )
    return made.model_copy(update=changes)


def good_evidence(folder: Path) -> Evidence:
    """Return what the gate reads of such a run, the comparison with a champion included."""
    summary = good_summary(folder)
    return Evidence(
        comparison=summary.comparison,
        decisions=summary.decisions,
        dataset=summary.dataset,
        stories=summary.stories,
        families=summary.families,
        cost=summary.cost,
        against_champion=summary.comparison,
    )


def a_refusal(folder: Path, reason: str) -> Promotion:
    """Return the bundle of a model that the gate refuses, since it was taken back for this reason."""
    summary, evidence = good_summary(folder), good_evidence(folder).model_copy(update={"rolled_back": reason})
    candidate = RegisteredVersion(
        number="2", model_id=summary.model_id, base_model="base", provider="local", run_id=summary.tracked.run_id
    )
    case = Case(
        rules=RULES,
        verdict=judge(evidence, RULES),
        evidence=evidence,
        hashes=hashes_of(evidence, RULES, "k"),
        candidate=candidate,
        champion=None,
        job_id=summary.job.job_id,
        prefect=summary.prefect,
        tracked=summary.tracked,
    )
    return Promotion(outcome="refused", at=1_795_000_000.0, decision=Decision(answer="approved", by="ada"), case=case)


def _comparison(folder: Path, decisions: str) -> Comparison:
    base, tuned = (_report(folder, arm, decisions) for arm in ("base", "tuned"))
    return Comparison(base=base, tuned=tuned, differences=tuple(map(_difference, GAINS)))


def _report(folder: Path, arm: str, decisions: str) -> EvalReport:
    share = 0.9 if arm == "tuned" else 0.5
    held = runs.a_report(folder, arm, share, decisions)
    none = Metric(value=0.0, low=0.0, high=0.02, n=100)
    return held.model_copy(
        update={
            "metrics": held.metrics | {"invented_argument_rate": none},
            "outcomes": {"ask": {"early_write": 2, "right": 98}},
            "errored": 0,
        }
    )


def _difference(metric: str) -> Difference:
    gain = GAINS[metric]
    return Difference(
        metric=metric,
        first=0.5,
        second=0.5 + gain,
        difference=gain,
        low=gain - 0.05,
        high=gain + 0.05,
        p_value=0.001,
        n=260,
    )


def _dataset(split: DatasetSplit) -> DatasetSplit:
    return split.model_copy(update={"funnel": Funnel(played=100, stopped=GATES, reasons={}, kept=97)})


def changed(evidence: Evidence, metric: str, **values: float) -> Comparison:
    """Return the comparison with one difference moved."""
    compared = evidence.comparison
    moved = tuple(
        change.model_copy(update=values) if change.metric == metric else change for change in compared.differences
    )
    return compared.model_copy(update={"differences": moved})


def tuned(evidence: Evidence, **values: object) -> Comparison:
    """Return the comparison with something else said of the tuned model."""
    compared = evidence.comparison
    return compared.model_copy(update={"tuned": compared.tuned.model_copy(update=values)})


def metric(value: float) -> Metric:
    return Metric(value=value, low=value, high=value, n=100)


def faults(good: Evidence) -> dict[str, dict[str, Any]]:
    """Return, for each rule, the evidence that it alone refuses."""
    champion = good.against_champion
    assert champion is not None
    worse = champion.model_copy(
        update={"differences": tuple(one.model_copy(update={"low": -0.06}) for one in champion.differences)}
    )
    split = good.dataset
    few = split.funnel.model_copy(update={"kept": 80})
    ungated = split.funnel.model_copy(update={"stopped": {"format": 0}})
    base, best = good.families
    return {
        "gain": {"comparison": changed(good, HEADLINE, difference=0.049)},
        "certain_gain": {"comparison": changed(good, HEADLINE, low=0.0)},
        "propagation": {"comparison": changed(good, "propagation_accuracy", low=-0.051)},
        "decisions": {"comparison": changed(good, "decision_accuracy", low=-0.051)},
        "over_calls": {"comparison": changed(good, "over_call_rate", high=0.051)},
        "policy": {"comparison": tuned(good, outcomes={"ask": {"early_write": 4, "foreign_id": 4, "right": 92}})},
        "invented_arguments": {
            "comparison": tuned(good, metrics=good.comparison.tuned.metrics | {"invented_argument_rate": metric(0.03)})
        },
        "errors": {"comparison": tuned(good, errored=4)},
        "cost": {"cost": good.cost.model_copy(update={"amount": 10.01})},
        "replay": {"stories": (good.stories[0], good.stories[1].model_copy(update={"passed": False}))},
        "family": {"families": (base, runs.a_family("tuned", True, False))},
        "stories": {"families": tuple(one.model_copy(update={"results": ()}) for one in (base, best))},
        "same_decisions": {"comparison": tuned(good, decision_set_sha256="e" * 64)},
        "dataset_gates": {"dataset": split.model_copy(update={"funnel": ungated})},
        "dataset_yield": {"dataset": split.model_copy(update={"funnel": few})},
        "champion": {"against_champion": worse},
        "not_rolled_back": {"rolled_back": "by ada: wrong refunds"},
    }
