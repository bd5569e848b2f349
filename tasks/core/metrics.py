"""From scores to metrics with intervals and slices, and from two reports to their paired differences.

Every metric is a share: hits over trials, both summed over decisions. A decision that errored, timed out or was
filtered has value 0 and no call, so it fails wherever it is counted; `error_rate` and the best case stand beside it.

    next_tool_call_accuracy             call decisions graded 1.0 / call decisions; errors as failures: the worst case
    next_tool_call_accuracy_best_case   the same with errors as successes; the truth lies between the two
    decision_accuracy                   decisions graded 1.0 / decisions, text turns included
    over_call_rate                      text decisions with a call / text decisions
    missed_call_rate                    call decisions without a call / call decisions
    tool_name_accuracy                  exactly the expected tools / call decisions with a call
    argument_accuracy                   right arguments / call decisions with the right tools
    propagation_accuracy                graded 1.0 / call decisions whose gold arguments hold a value from a tool
    invented_argument_rate              calls with a value from nowhere / calls emitted
    error_rate                          decisions without an answer / decisions
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

from tasks.core import statistics
from tasks.core.config import EvaluationConfig
from tasks.core.errors import EvaluationError
from tasks.core.evaluation import Comparison, Difference, EvalReport, ItemMeta, Metric, Score

Count = tuple[float, float]
Measure = Callable[[ItemMeta, Score], Count]

NOTHING: Count = (0, 0)


def _right(score: Score) -> bool:
    return score.value == 1.0


MEASURES: Mapping[str, Measure] = {
    "next_tool_call_accuracy": lambda meta, score: (_right(score), 1) if meta.kind == "call" else NOTHING,
    "next_tool_call_accuracy_best_case": lambda meta, score: (
        (_right(score) or score.error is not None, 1) if meta.kind == "call" else NOTHING
    ),
    "decision_accuracy": lambda _, score: (_right(score), 1),
    "over_call_rate": lambda meta, score: (score.called, 1) if meta.kind == "text" else NOTHING,
    "missed_call_rate": lambda meta, score: (not score.called, 1) if meta.kind == "call" else NOTHING,
    "tool_name_accuracy": lambda meta, score: (
        (score.name_right, 1) if meta.kind == "call" and score.called else NOTHING
    ),
    "argument_accuracy": lambda meta, score: (
        (score.arguments_right, 1) if meta.kind == "call" and score.name_right else NOTHING
    ),
    "propagation_accuracy": lambda meta, score: (
        (_right(score), 1) if meta.kind == "call" and meta.propagates else NOTHING
    ),
    "invented_argument_rate": lambda _, score: (score.invented_calls, score.calls),
    "error_rate": lambda _, score: (score.error is not None, 1),
}
# Metrics over the same decisions whatever the model does, hence with McNemar's test; the others are over its own calls.
SAME_DECISIONS = frozenset(
    {
        "next_tool_call_accuracy",
        "decision_accuracy",
        "over_call_rate",
        "missed_call_rate",
        "propagation_accuracy",
        "error_rate",
    }
)
LOWER_IS_BETTER = frozenset({"over_call_rate", "missed_call_rate", "invented_argument_rate", "error_rate"})


def measure(scores: Sequence[Score], metas: Sequence[ItemMeta], config: EvaluationConfig) -> dict[str, Metric]:
    """Return every metric that has at least one trial, with its interval clustered by conversation.

    Raises:
        EvaluationError: The scores are not one for each item, in the items' order.
    """
    _check_paired(scores, metas)
    if not metas:
        return {}
    hits, trials = statistics.by_cluster([meta.conversation_id for meta in metas], _counts(scores, metas))
    intervals = statistics.share_intervals(
        hits, trials, samples=config.bootstrap_samples, confidence=config.confidence, seed=config.seed
    )
    return {
        name: Metric(value=interval.value, low=interval.low, high=interval.high, n=int(total))
        for name, interval, total in zip(MEASURES, intervals, trials.sum(axis=0), strict=True)
        if interval is not None
    }


def measure_slices(
    scores: Sequence[Score], metas: Sequence[ItemMeta], config: EvaluationConfig
) -> dict[str, dict[str, Metric]]:
    """Return the metrics of each slice, such as "intent=cancel"; a decision with two intents is in both slices."""
    members: dict[str, list[int]] = {}
    for index, meta in enumerate(metas):
        for name in slices_of(meta):
            members.setdefault(name, []).append(index)
    return {
        name: measure([scores[i] for i in indices], [metas[i] for i in indices], config)
        for name, indices in sorted(members.items())
    }


def slices_of(meta: ItemMeta) -> list[str]:
    """Return the names of the slices that a decision is in."""
    return [
        *(f"intent={intent}" for intent in dict.fromkeys(meta.intents)),
        f"tool={meta.tool or 'none'}",
        f"depth={_depth_band(meta.depth)}",
        f"template={'unseen' if meta.template_unseen else 'seen'}",
    ]


def percentile(values: Iterable[float], share: float) -> float:
    """Return the nearest-rank percentile of the values; 0.0 of none."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(share * len(ranked)) - 1)] if ranked else 0.0


def compare(
    base: EvalReport,
    tuned: EvalReport,
    base_scores: Sequence[Score],
    tuned_scores: Sequence[Score],
    metas: Sequence[ItemMeta],
    config: EvaluationConfig,
) -> Comparison:
    """Return the paired difference, tuned minus base, of every metric that both models have.

    Raises:
        EvaluationError: The two were measured on different decision sets, or the scores are not those of the items.
    """
    if base.decision_set_sha256 != tuned.decision_set_sha256:
        raise EvaluationError(
            f"Arms {base.arm!r} and {tuned.arm!r} were measured on different decision sets, "
            f"{base.decision_set_sha256} and {tuned.decision_set_sha256}. Evaluate both on the same set."
        )
    _check_paired(base_scores, metas)
    _check_paired(tuned_scores, metas)
    clusters = [meta.conversation_id for meta in metas]
    intervals = statistics.share_differences(
        statistics.by_cluster(clusters, _counts(base_scores, metas)),
        statistics.by_cluster(clusters, _counts(tuned_scores, metas)),
        samples=config.bootstrap_samples,
        confidence=config.confidence,
        seed=config.seed,
    )
    differences = tuple(
        Difference(
            metric=name,
            first=base.metrics[name].value,
            second=tuned.metrics[name].value,
            difference=interval.value,
            low=interval.low,
            high=interval.high,
            p_value=_p_value(name, base_scores, tuned_scores, metas),
            n=tuned.metrics[name].n,
        )
        for name, interval in zip(MEASURES, intervals, strict=True)
        if interval is not None
    )
    return Comparison(base=base, tuned=tuned, differences=differences)


def _counts(scores: Sequence[Score], metas: Sequence[ItemMeta]) -> list[list[Count]]:
    return [
        [measured(meta, score) for measured in MEASURES.values()] for meta, score in zip(metas, scores, strict=True)
    ]


def _p_value(
    name: str, base_scores: Sequence[Score], tuned_scores: Sequence[Score], metas: Sequence[ItemMeta]
) -> float | None:
    if name not in SAME_DECISIONS:
        return None
    only_base = only_tuned = 0
    for meta, base, tuned in zip(metas, base_scores, tuned_scores, strict=True):
        base_hit, tuned_hit = MEASURES[name](meta, base)[0], MEASURES[name](meta, tuned)[0]
        only_base += base_hit > tuned_hit
        only_tuned += tuned_hit > base_hit
    return statistics.mcnemar(only_base, only_tuned)


def _check_paired(scores: Sequence[Score], metas: Sequence[ItemMeta]) -> None:
    if len(scores) != len(metas):
        raise EvaluationError(f"{len(scores)} scores for {len(metas)} items; evaluate the whole set again.")
    for position, (score, meta) in enumerate(zip(scores, metas, strict=True), start=1):
        if score.item_id != meta.item_id:
            raise EvaluationError(f"Score {position} is of item {score.item_id!r}, the set has {meta.item_id!r} there.")


def _depth_band(depth: int) -> str:
    """Return the band of powers of two that a depth is in: 0, 1, 2-3, 4-7, 8-15 and so on."""
    low = 1 << (depth.bit_length() - 1) if depth > 0 else 0
    high = 2 * low - 1
    return str(low) if high <= low else f"{low}-{high}"
