"""From scores to metrics with intervals and slices, and from two reports to their paired differences.

Every metric is a share: hits over trials, both summed over decisions. A decision that errored, timed out or was
filtered fails wherever it is counted; `error_rate`, and the worst and the best case of each metric, stand beside it.

    next_tool_call_accuracy   call decisions graded 1.0 / call decisions
    equivalent_accuracy       call decisions graded 1.0, or with the same effect or information / call decisions
    decision_accuracy         decisions graded 1.0 / decisions, text turns included
    weighted_score            points / points to earn; a decision is worth 1, one that is to change the shop 3: earned
                              where right or equivalent, 3 lost for another change than the right one, else nothing
    over_call_rate            text decisions with a call, or without an answer / text decisions
    missed_call_rate          call decisions without a call / call decisions
    act_accuracy              text decisions whose words do what the right ones do (ask, confirm, ...) / text decisions
    tool_name_accuracy        exactly the expected tools / call decisions with a call
    argument_accuracy         right arguments / call decisions with the right tools
    propagation_accuracy      graded 1.0 / call decisions whose gold arguments hold a value from a tool
    invented_argument_rate    calls with a value from nowhere / calls emitted
    error_rate                decisions without an answer / decisions
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from tasks.core import statistics
from tasks.core.config import EvaluationConfig
from tasks.core.errors import EvaluationError
from tasks.core.evaluation import Comparison, Difference, EvalReport, ItemMeta, Metric, Score

HEADLINE = "next_tool_call_accuracy"

Count = tuple[float, float]
Measure = Callable[[ItemMeta, Score], Count]

NOTHING: Count = (0, 0)
# A wrong change of the shop costs as much as the right one is worth; a read that was not needed costs nothing.
WRITE_WEIGHT = 3


def _right(score: Score) -> bool:
    return score.value == 1.0


def _good(score: Score) -> bool:
    return _right(score) or score.equivalent


def _points(score: Score) -> Count:
    worth = WRITE_WEIGHT if score.move == "write" else 1
    return (worth if _good(score) else -WRITE_WEIGHT if score.wrong_write else 0), worth


def _over_call(score: Score) -> bool:
    return score.called or score.error is not None


MEASURES: Mapping[str, Measure] = {
    "next_tool_call_accuracy": lambda meta, score: (_right(score), 1) if meta.kind == "call" else NOTHING,
    "equivalent_accuracy": lambda meta, score: (_good(score), 1) if meta.kind == "call" else NOTHING,
    "decision_accuracy": lambda _, score: (_right(score), 1),
    "weighted_score": lambda _, score: _points(score),
    "over_call_rate": lambda meta, score: (_over_call(score), 1) if meta.kind == "text" else NOTHING,
    "act_accuracy": lambda meta, score: (score.act == score.move, 1) if meta.kind == "text" else NOTHING,
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
        "equivalent_accuracy",
        "decision_accuracy",
        "over_call_rate",
        "act_accuracy",
        "missed_call_rate",
        "propagation_accuracy",
        "error_rate",
    }
)
# With as many points to earn whatever the model does; the paired permutation test asks for no more.
SAME_TRIALS = SAME_DECISIONS | {"weighted_score"}
LOWER_IS_BETTER = frozenset({"over_call_rate", "missed_call_rate", "invented_argument_rate", "error_rate"})
# For readers of a report: what each is the share of.
MEANINGS: Mapping[str, str] = {
    "next_tool_call_accuracy": "call decisions with the right tool and exactly the right arguments",
    "equivalent_accuracy": "the same, where a call that does or tells the same is as good",
    "decision_accuracy": "all decisions, text turns included",
    "weighted_score": "points to earn; a change of the shop is worth 3, and a wrong one costs 3",
    "over_call_rate": "text turns on which it called, or gave no answer",
    "act_accuracy": "text turns answered by words of the right kind: ask, confirm, refuse, hand over, tell",
    "missed_call_rate": "call turns on which it did not call",
    "tool_name_accuracy": "calls on call turns that name the right tool",
    "argument_accuracy": "calls of the right tool with the right arguments",
    "propagation_accuracy": "call decisions that need a value which a tool returned earlier, done right",
    "invented_argument_rate": "emitted calls with an argument that nobody gave",
    "error_rate": "decisions without an answer",
}


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
        name: Metric(
            value=interval.value, low=interval.low, high=interval.high, n=int(total), **_bounds(name, scores, metas)
        )
        for name, interval, total in zip(MEASURES, intervals, trials.sum(axis=0), strict=True)
        if interval is not None
    }


def _bounds(name: str, scores: Sequence[Score], metas: Sequence[ItemMeta]) -> dict[str, float]:
    """Return the worst and the best case of a metric; nothing where all of its decisions were answered."""
    if name not in SAME_DECISIONS or name == "error_rate":
        return {}
    counts = [(*MEASURES[name](meta, score), score.error) for meta, score in zip(metas, scores, strict=True)]
    trials = sum(tried for _, tried, _ in counts)
    unknown = sum(tried for _, tried, error in counts if error is not None)
    if not unknown:
        return {}
    known = sum(hits for hits, _, error in counts if error is None)
    low, high = known / trials, (known + unknown) / trials
    return {"worst": high, "best": low} if name in LOWER_IS_BETTER else {"worst": low, "best": high}


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
    first = statistics.by_cluster(clusters, _counts(base_scores, metas))
    second = statistics.by_cluster(clusters, _counts(tuned_scores, metas))
    intervals = statistics.share_differences(
        first, second, samples=config.bootstrap_samples, confidence=config.confidence, seed=config.seed
    )
    p_values = statistics.paired_p_values(first[0], second[0], samples=config.bootstrap_samples, seed=config.seed)
    errors = statistics.standard_errors(first, second)
    differences = tuple(
        Difference(
            metric=name,
            first=base.metrics[name].value,
            second=tuned.metrics[name].value,
            difference=interval.value,
            low=interval.low,
            high=interval.high,
            p_value=_p_value(name, base_scores, tuned_scores, metas),
            p_clustered=p_clustered if name in SAME_TRIALS else None,
            n=tuned.metrics[name].n,
            **_reach(error, tuned.metrics[name].n, int(clusters), config),
        )
        for name, interval, p_clustered, error, clusters in zip(
            MEASURES, intervals, p_values, errors, (first[1] + second[1] > 0).sum(axis=0), strict=True
        )
        if interval is not None
    )
    return Comparison(base=base, tuned=tuned, differences=differences)


def compare_tellings(
    first: tuple[Sequence[Score], Sequence[ItemMeta]],
    second: tuple[Sequence[Score], Sequence[ItemMeta]],
    config: EvaluationConfig,
) -> tuple[Difference, ...]:
    """Return the difference, second minus first, of every metric of one model on two sets that tell the same errands.

    Errands are resampled, each with its decisions of both sets: an errand that is hard is so however it is told.

    Raises:
        EvaluationError: Scores are not those of their items, or the sets have no errand in common.
    """
    for scores, metas in (first, second):
        _check_paired(scores, metas)
    told = [[meta.scenario_id for meta in metas] for _, metas in (first, second)]
    if not set(told[0]) & set(told[1]):
        raise EvaluationError("The two decision sets have no errand in common: they differ in more than the words.")
    nothing = [[NOTHING] * len(MEASURES)]
    counts = [_counts(*first), _counts(*second)]
    sides = [
        statistics.by_cluster(told[0] + told[1], counts[0] + nothing * len(told[1])),
        statistics.by_cluster(told[0] + told[1], nothing * len(told[0]) + counts[1]),
    ]
    intervals = statistics.share_differences(
        *sides, samples=config.bootstrap_samples, confidence=config.confidence, seed=config.seed
    )
    shares = [(hits.sum(axis=0), trials.sum(axis=0)) for hits, trials in sides]
    return tuple(
        Difference(
            metric=name,
            first=float(shares[0][0][column] / shares[0][1][column]),
            second=float(shares[1][0][column] / shares[1][1][column]),
            difference=interval.value,
            low=interval.low,
            high=interval.high,
            p_value=None,
            n=int(shares[1][1][column]),
        )
        for column, (name, interval) in enumerate(zip(MEASURES, intervals, strict=True))
        if interval is not None
    )


def _reach(error: float, trials: int, clusters: int, config: EvaluationConfig) -> dict[str, Any]:
    """Return the smallest difference that a set would show, and how many trials would show the wanted one."""
    if not error > 0:  # without spread, or with one conversation, nothing is known of it
        return {}
    reach = statistics.Reach(config.confidence, config.power)
    detectable = reach.detectable(error, clusters)
    return {
        "detectable": detectable if math.isfinite(detectable) else None,
        "needed": reach.items_needed(trials, error, clusters, config.wanted_difference),
    }


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
