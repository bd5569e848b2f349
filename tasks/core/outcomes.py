"""What came of decisions, counted: by the move that was right, by act of words, and by kind of failure."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple, get_args

from tasks.core.evaluation import EvalReport, FailureExample, ItemMeta, Score
from tasks.core.failure import STAGES, FailureKind
from tasks.core.move import Act, Move

RIGHT, EQUIVALENT = "right", "equivalent"
OUTCOMES: tuple[str, ...] = (RIGHT, EQUIVALENT, *get_args(FailureKind))
EXAMPLES_A_KIND = 3


def outcome_of(score: Score) -> str:
    """Return what came of a decision: "right", "equivalent" or the kind of failure."""
    return score.failure or (EQUIVALENT if score.equivalent else RIGHT)


def by_move(scores: Sequence[Score]) -> dict[str, dict[str, int]]:
    """Count outcomes by the move that was right; moves and outcomes that never occur are left out."""
    return _table([(score.move, outcome_of(score)) for score in scores], get_args(Move), OUTCOMES)


def acts(scores: Sequence[Score], metas: Sequence[ItemMeta]) -> dict[str, dict[str, int]]:
    """Count, for decisions to be answered in words, what the model did by what the right words do."""
    pairs = [(score.move, _did(score)) for score, meta in zip(scores, metas, strict=True) if meta.kind == "text"]
    return _table(pairs, get_args(Act), (*get_args(Act), "call", "no words", "no answer"))


def examples(scores: Sequence[Score]) -> tuple[FailureExample, ...]:
    """Return the first few decisions of each kind of failure, in the order of the kinds."""
    found: list[FailureExample] = []
    for kind in get_args(FailureKind):
        failed = [score for score in scores if score.failure == kind][:EXAMPLES_A_KIND]
        found += [FailureExample(kind=kind, item_id=one.item_id, explanation=one.explanation) for one in failed]
    return tuple(found)


def failures(report: EvalReport) -> dict[FailureKind, int]:
    """Return how often each kind of failure occurred, all kinds named."""
    total: Counter[str] = Counter()
    for row in report.outcomes.values():
        total.update(row)
    return {kind: total[kind] for kind in STAGES}


class Contribution(NamedTuple):
    """What one kind of failure, or one slice, gives to a gain, in shares of all decisions."""

    name: str
    first: int
    second: int
    gain: float


def gain_by_failure(first: EvalReport, second: EvalReport) -> list[Contribution]:
    """Return what each kind of failure, become rarer or more frequent, gives to the gain.

    The gains add up exactly to the difference in the share of decisions that are right or equivalent.
    """
    before, after = failures(first), failures(second)
    decisions = sum(sum(row.values()) for row in second.outcomes.values())
    if not decisions:
        return []
    return [
        Contribution(kind, before[kind], after[kind], (before[kind] - after[kind]) / decisions)
        for kind in STAGES
        if before[kind] or after[kind]
    ]


def gain_by_slice(first: EvalReport, second: EvalReport, metric: str, prefix: str) -> list[Contribution]:
    """Return what each slice of a kind, such as "tool=", gives to the gain in a metric over the same decisions.

    Where each decision is in one slice, the gains add up exactly to the difference of the metric.
    """
    found = []
    for name, metrics in second.slices.items():
        before, after = first.slices.get(name, {}).get(metric), metrics.get(metric)
        if name.startswith(prefix) and before and after and metric in second.metrics:
            hits = round(before.value * before.n), round(after.value * after.n)
            found.append(Contribution(name, *hits, (hits[1] - hits[0]) / second.metrics[metric].n))
    return sorted(found, key=lambda one: -abs(one.gain))


def _did(score: Score) -> str:
    if score.error is not None:
        return "no answer"
    return "call" if score.called else score.act or "no words"


def _table(pairs: Sequence[tuple[str, str]], rows: Sequence[str], columns: Sequence[str]) -> dict[str, dict[str, int]]:
    """Count pairs as rows of columns, both in the order given."""
    counts = Counter(pairs)
    table = {row: {column: counts[row, column] for column in columns if counts[row, column]} for row in rows}
    return {row: cells for row, cells in table.items() if cells}
