"""The gate of a promotion: from what was measured to a verdict, rule by rule; and what a promotion leaves behind.

A rule holds a figure against a threshold. A figure that was not measured fails its rule; a rule that does not apply,
such as the comparison with a champion where there is none, is left out.

    gain               paired difference to the base in next_tool_call_accuracy
    certain_gain       lower end of its interval, above zero
    propagation        lower end of the paired difference in propagation_accuracy
    decisions          lower end of the paired difference in decision_accuracy
    over_calls         upper end of the paired difference in over_call_rate
    policy             difference in the share of decisions with a change before a yes, or another customer's data
    invented_arguments invented_argument_rate of the model
    errors             decisions without an answer
    cost               what the run cost
    replay             Noah Brown's story, passed
    family             replay stories that the base gets right and the model wrong
    stories            replay stories that were played
    same_decisions     reports over another decision set than the run's
    dataset_gates      wanted gates that the training data did not come through
    dataset_yield      share of the played conversations that came through all gates
    champion           lower end of the paired difference to the champion in next_tool_call_accuracy
    not_rolled_back    times that a person took this very model back
"""

from collections.abc import Callable, Iterator, Mapping
from operator import ge, gt, le
from typing import Literal

from tasks.core.dataset import DatasetSplit
from tasks.core.evaluation import Comparison, DecisionSet, EvalReport
from tasks.core.family import FamilyReport, regressions
from tasks.core.metrics import HEADLINE
from tasks.core.outcomes import failures
from tasks.core.promotion_rules import PromotionRules
from tasks.core.record import Record
from tasks.core.run import Cost, PrefectRun, Story, TrackedRun, difference_of

Rule = Literal[
    "gain",
    "certain_gain",
    "propagation",
    "decisions",
    "over_calls",
    "policy",
    "invented_arguments",
    "errors",
    "cost",
    "replay",
    "family",
    "stories",
    "same_decisions",
    "dataset_gates",
    "dataset_yield",
    "champion",
    "not_rolled_back",
]
Bound = Literal["at least", "at most", "above"]
Unit = Literal["points", "share", "count", "money"]
Outcome = Literal["promoted", "refused", "declined", "waiting", "unchanged"]


class RuleResult(Record):
    """One rule: the figure, None where it was not measured, and the bound that it is held against."""

    rule: Rule
    passed: bool
    figure: float | None
    bound: Bound
    threshold: float
    unit: Unit
    note: str = ""


class GateVerdict(Record):
    """What the gate says, with every rule that applies."""

    passed: bool
    results: tuple[RuleResult, ...]

    @property
    def failed(self) -> tuple[RuleResult, ...]:
        """The rules that did not pass."""
        return tuple(result for result in self.results if not result.passed)


class Evidence(Record):
    """All that the gate reads.

    `against_champion` compares the champion, as `base`, with the model; it is missing where there is no other champion
    or it cannot be asked, which `champion_note` tells. `rolled_back` says who took this model back, and why.
    """

    comparison: Comparison
    decisions: DecisionSet
    dataset: DatasetSplit
    stories: tuple[Story, ...]
    families: tuple[FamilyReport, ...]
    cost: Cost
    against_champion: Comparison | None = None
    champion_note: str = ""
    rolled_back: str = ""


class RegisteredVersion(Record):
    """A version in the MLflow registry; `provider` is where its model id means something."""

    number: str
    model_id: str
    base_model: str
    provider: str
    run_id: str


class Decision(Record):
    """Who had the last word on a model that passed the gate, and what it was."""

    answer: Literal["approved", "declined", "waiting"]
    by: str
    reason: str = ""


class Case(Record):
    """What there is to decide: a model with its rules, evidence and verdict. `champion` is the one before it."""

    rules: PromotionRules
    verdict: GateVerdict
    evidence: Evidence
    hashes: dict[str, str]
    candidate: RegisteredVersion
    champion: RegisteredVersion | None
    job_id: str
    prefect: PrefectRun
    tracked: TrackedRun


class Promotion(Record):
    """The evidence bundle of one decision: the whole case, who decided, and what was done. `at` is in UTC seconds."""

    outcome: Outcome
    at: float
    decision: Decision
    case: Case

    @property
    def sentence(self) -> str:
        """What happened, in a sentence."""
        case = self.case
        model = case.candidate.model_id
        after = f" in place of {case.champion.model_id}" if case.champion else ""
        if self.outcome == "refused":
            names = ", ".join(result.rule for result in case.verdict.failed)
            stays = f" {model} stays the champion until `zava rollback`." if case.champion == case.candidate else ""
            return f"{model} is not promoted: the gate refused it for {names}.{stays}"
        return {
            "promoted": f"{model} is the champion{after}.",
            "unchanged": f"{model} is the champion already; nothing was changed.",
            "declined": f"{model} is not promoted: {self.decision.by} declined it. {self.decision.reason}".rstrip(),
            "waiting": f"{model} is not promoted yet: the challenger waits for a yes; `zava promote` gives it.",
        }[self.outcome]


class Rollback(Record):
    """The evidence bundle of a rollback: the version that was taken back, the one in its place, who did it and why."""

    at: float
    by: str
    reason: str
    removed: RegisteredVersion
    restored: RegisteredVersion
    restored_bundle_sha256: str

    @property
    def sentence(self) -> str:
        """What happened, in a sentence."""
        return f"{self.restored.model_id} is the champion again, {self.removed.model_id} was taken back."


class Champion(Record):
    """The file that an agent reads to know which model to use."""

    model_id: str
    base_model: str
    provider: str
    base_url: str | None
    registered_model: str
    version: str
    mlflow_run_id: str
    since: float


def judge(evidence: Evidence, rules: PromotionRules) -> GateVerdict:
    """Hold the evidence against the rules."""
    parts = (_gains, _lapses, _replays, _origins)
    results = tuple(result for part in parts for result in part(evidence, rules))
    return GateVerdict(passed=all(result.passed for result in results), results=results)


def _gains(evidence: Evidence, rules: PromotionRules) -> Iterator[RuleResult]:
    """Yield how much better the model is than the base, and that it is not worse anywhere."""
    compared, champion = evidence.comparison, evidence.against_champion
    yield _at_least("gain", _change(compared, HEADLINE, "difference"), rules.minimum_gain, "points")
    yield _held("certain_gain", _change(compared, HEADLINE, "low"), "above", 0, "points")
    yield _at_least("propagation", _change(compared, "propagation_accuracy", "low"), -rules.margin, "points")
    yield _at_least("decisions", _change(compared, "decision_accuracy", "low"), -rules.margin, "points")
    yield _at_most("over_calls", _change(compared, "over_call_rate", "high"), rules.margin, "points")
    if champion is not None:
        yield _at_least("champion", _change(champion, HEADLINE, "low"), -rules.margin, "points")


def _lapses(evidence: Evidence, rules: PromotionRules) -> Iterator[RuleResult]:
    """Yield what the model did that must not be, whatever else it did well, and what the run cost."""
    base, tuned = evidence.comparison.base, evidence.comparison.tuned
    before, after = _broken_policy(base), _broken_policy(tuned)
    invented = tuned.metrics.get("invented_argument_rate")
    worse = None if before is None or after is None else after - before
    yield _at_most("policy", worse, rules.margin, "points")
    yield _at_most("invented_arguments", None if invented is None else invented.value, rules.max_invented_rate, "share")
    yield _at_most("errors", tuned.errored, rules.max_errors, "count")
    if rules.max_cost is not None:
        yield _at_most("cost", evidence.cost.amount, rules.max_cost, "money")


def _replays(evidence: Evidence, rules: PromotionRules) -> Iterator[RuleResult]:
    """Yield how the stories ended."""
    passed = {story.arm: float(story.passed) for story in evidence.stories}
    families = {family.arm: family for family in evidence.families}
    base, tuned = families.get("base"), families.get("tuned")
    lost = regressions(base, tuned) if base and tuned and base.pack_sha256 == tuned.pack_sha256 else None
    yield _at_least("replay", passed.get("tuned"), 1, "count")
    yield _at_least("stories", len(tuned.results) if tuned else None, rules.min_stories, "count")
    yield _at_most("family", None if lost is None else len(lost), rules.max_regressions, "count", ", ".join(lost or ()))


def _origins(evidence: Evidence, rules: PromotionRules) -> Iterator[RuleResult]:
    """Yield whether the figures are about the same decisions, and the data and the model what they should be."""
    compared, funnel = evidence.comparison, evidence.dataset.funnel
    reports = [compared.base, compared.tuned]
    if evidence.against_champion:
        reports += [evidence.against_champion.base, evidence.against_champion.tuned]
    strange = [one for one in reports if one.decision_set_sha256 != evidence.decisions.sha256]
    missing = sorted(set(rules.gates) - set(funnel.stopped))
    yield _at_most("same_decisions", len(strange), 0, "count", ", ".join(one.arm for one in strange))
    yield _at_most("dataset_gates", len(missing), 0, "count", ", ".join(missing))
    kept = funnel.kept / funnel.played if funnel.played else None
    yield _at_least("dataset_yield", kept, rules.min_yield, "share")
    yield _at_most("not_rolled_back", float(bool(evidence.rolled_back)), 0, "count", evidence.rolled_back)


def hashes_of(evidence: Evidence, rules: PromotionRules, job_key: str) -> dict[str, str]:
    """Return the SHA-256 of everything that the figures came from, by name."""
    split, compared = evidence.dataset, evidence.comparison
    packs = {f"replay_pack_{family.arm}": family.pack_sha256 for family in evidence.families}
    return packs | {
        "rules": rules.digest(),
        "evidence": evidence.digest(),
        "train": split.train.sha256,
        "valid": split.valid.sha256,
        "heldout": split.heldout.sha256,
        "decisions": evidence.decisions.sha256,
        "policy": split.policy_sha256,
        "tools": split.tools_sha256,
        "scores_base": compared.base.scores_sha256,
        "scores_tuned": compared.tuned.scores_sha256,
        "job_key": job_key,
    }


def _change(compared: Comparison, metric: str, end: Literal["difference", "low", "high"]) -> float | None:
    """Return the paired difference of a metric, or an end of its interval; None where it was not measured."""
    change = difference_of(compared, metric)
    return None if change is None else float(getattr(change, end))


def _broken_policy(report: EvalReport) -> float | None:
    """Return the share of decisions with a change before a yes, or with another customer's data."""
    decisions = sum(sum(row.values()) for row in report.outcomes.values())
    found = failures(report)
    return (found["early_write"] + found["foreign_id"]) / decisions if decisions else None


_KEPT: Mapping[Bound, Callable[[float, float], bool]] = {"at least": ge, "at most": le, "above": gt}


def _held(rule: Rule, figure: float | None, bound: Bound, threshold: float, unit: Unit, note: str = "") -> RuleResult:
    """Hold a figure against its bound; one that was not measured, or is no number, does not keep to it."""
    passed = figure is not None and _KEPT[bound](figure, threshold)
    return RuleResult(rule=rule, passed=passed, figure=figure, bound=bound, threshold=threshold, unit=unit, note=note)


def _at_least(rule: Rule, figure: float | None, threshold: float, unit: Unit) -> RuleResult:
    return _held(rule, figure, "at least", threshold, unit)


def _at_most(rule: Rule, figure: float | None, threshold: float, unit: Unit, note: str = "") -> RuleResult:
    return _held(rule, figure, "at most", threshold, unit, note)


def figure_text(value: float | None, unit: Unit) -> str:
    """Return a figure as a person reads it, such as `+46.6 points`, `2.0 %` or `3`."""
    if value is None:
        return "not measured"
    if unit == "points":
        return f"{100 * value:+.1f} points"
    if unit == "share":
        return f"{100 * value:.1f} %"
    return f"{value:.2f}" if unit == "money" else f"{value:,.0f}"
