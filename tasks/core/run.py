"""A whole run as one value: what the table, the report and the Prefect summary are made of, and its verdict."""

from typing import NamedTuple

from tasks.core.config import EvaluationConfig
from tasks.core.conversation import Message
from tasks.core.dataset import DatasetSplit
from tasks.core.evaluation import Comparison, DecisionSet, Difference, Metric
from tasks.core.family import FamilyReport
from tasks.core.metrics import HEADLINE, MEASURES
from tasks.core.record import Record
from tasks.core.standings import Standings
from tasks.core.training import TrainingJob, TrainingMetric


class TrackedRun(Record):
    """An MLflow run. `address` opens it in a browser."""

    experiment_id: str
    run_id: str
    address: str


class PrefectRun(Record):
    """A Prefect flow run. `address` opens it in a browser."""

    run_id: str
    name: str
    address: str


class Stage(Record):
    """How long a stage took, in seconds, and whether it found its work done already."""

    name: str
    seconds: float
    reused: bool = False
    note: str = ""


class Story(Record):
    """The replayed story with one arm. `traces_path` is the file of its spans, where they were recorded."""

    arm: str
    model_id: str
    passed: bool
    reasons: tuple[str, ...]
    calls: int
    seconds: float
    messages: tuple[Message, ...]
    traces_path: str = ""


class Cost(Record):
    """What a run cost. `amount` is None where no price is known; CPU minutes are of this machine, all processes.

    `amount` is the sum of what synthesis, training and evaluation cost, with what earlier runs paid for their results.
    """

    amount: float | None
    currency: str = "USD"
    synthesis: float | None = None
    training: float | None = None
    evaluation: float | None = None
    cpu_minutes: float | None = None
    trained_tokens: int | None = None


class RunSummary(Record):
    """One retraining from start to end. `started_at` and `seconds` are in UTC seconds since 1970 and in seconds.

    `report_address` is where the artifact store keeps the report, if there is one.
    """

    profile: str
    provider: str
    started_at: float
    seconds: float
    base_model: str
    model_id: str
    dataset: DatasetSplit
    decisions: DecisionSet
    job: TrainingJob
    curve: tuple[TrainingMetric, ...]
    comparison: Comparison
    standings: Standings | None = None
    evaluation: EvaluationConfig = EvaluationConfig()
    stories: tuple[Story, ...]
    families: tuple[FamilyReport, ...] = ()
    stages: tuple[Stage, ...]
    cost: Cost
    prefect: PrefectRun
    tracked: TrackedRun
    report_path: str
    report_address: str = ""


class Verdict(NamedTuple):
    """Whether the tuned model is better, and the sentence that says so."""

    better: bool
    sentence: str


def verdict(comparison: Comparison) -> Verdict:
    """Judge by the headline metric: better means that the interval of the paired difference lies above zero."""
    change = difference_of(comparison, HEADLINE)
    if change is None:
        return Verdict(False, f"Undecided: {HEADLINE} was not measured for both models.")
    numbers = (
        f"the right next tool call in {percent(change.second)} of {change.n} decisions, against "
        f"{percent(change.first)} before ({points(change)})"
    )
    if change.low > 0:
        return Verdict(True, f"The tuned model is better: {numbers}.")
    if change.high < 0:
        return Verdict(False, f"The tuned model is worse: {numbers}.")
    return Verdict(False, f"No clear difference: {numbers}. More held-out conversations would tell.")


def difference_of(comparison: Comparison, metric: str) -> Difference | None:
    """Return the paired difference of a metric, or None where it was not measured for both."""
    return next((change for change in comparison.differences if change.metric == metric), None)


def percent(share: float) -> str:
    """Return a share as text, such as `87.0 %`."""
    return f"{100 * share:.1f} %"


def points(change: Difference) -> str:
    """Return a difference with its interval in percentage points, such as `+57.2 points, 51.0 to 63.1`."""
    return f"{100 * change.difference:+.1f} points, {100 * change.low:.1f} to {100 * change.high:.1f}"


class MetricRow(NamedTuple):
    """One metric of both arms. A metric over nothing, or of one arm alone, is None where it is missing."""

    name: str
    base: Metric | None
    tuned: Metric | None
    change: Difference | None


def metric_rows(comparison: Comparison) -> list[MetricRow]:
    """Return the metrics of both arms in the order in which they are measured."""
    base, tuned = comparison.base.metrics, comparison.tuned.metrics
    names = [name for name in MEASURES if name in base or name in tuned]
    return [MetricRow(name, base.get(name), tuned.get(name), difference_of(comparison, name)) for name in names]


def interval(metric: Metric | None) -> str:
    """Return a share with its interval, such as `87.0 (82.1..91.0)`, in per cent."""
    if metric is None:
        return "-"
    return f"{100 * metric.value:.1f} ({100 * metric.low:.1f}..{100 * metric.high:.1f})"


def cost_text(cost: Cost) -> str:
    """Return the cost as a person says it."""
    money = "not known: no price" if cost.amount is None else f"{cost.amount:.2f} {cost.currency}"
    parts = [money]
    if cost.cpu_minutes is not None:
        parts.append(f"{cost.cpu_minutes:.1f} CPU minutes of this machine")
    if cost.trained_tokens is not None:
        parts.append(f"{cost.trained_tokens:,} tokens trained")
    return ", ".join(parts)
