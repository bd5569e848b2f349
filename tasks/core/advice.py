"""What a reader of a run should look at next: one sentence, by rule."""

from tasks.core.metrics import HEADLINE
from tasks.core.outcomes import failures, gain_by_step
from tasks.core.promotion import Promotion
from tasks.core.run import RunSummary, difference_of, verdict

# A slice of fewer decisions says too little to point at.
_ENOUGH = 20


def main_reason(summary: RunSummary) -> str:
    """Return which step of a decision gave most to the gain, or nothing where none gave any."""
    steps = gain_by_step(summary.comparison.base, summary.comparison.tuned)
    best = max(steps, key=lambda one: one.gain, default=None)
    if best is None or best.gain <= 0:
        return ""
    return (
        f"{best.name}: {100 * best.gain:+.1f} points of all decisions; {best.first:,} went wrong, now {best.second:,}"
    )


def next_step(summary: RunSummary, promotion: Promotion | None) -> str:
    """Return what to do next: what the gate asks for, more decisions, or the largest kind of failure that is left."""
    if promotion is not None and promotion.case.verdict.failed:
        rules = ", ".join(result.rule.replace("_", " ") for result in promotion.case.verdict.failed)
        return f"The gate refused the model for {rules}. {_left(summary)}"
    change = difference_of(summary.comparison, HEADLINE)
    if not verdict(summary.comparison).better and change is not None and change.needed and change.needed > change.n:
        wanted = f"{change.needed:,} decisions with a call would tell the difference wanted"
        return f"Ask more: {wanted}; here are {change.n:,}."
    return _left(summary)


def _left(summary: RunSummary) -> str:
    tuned = summary.comparison.tuned
    left = failures(tuned)
    total = sum(left.values())
    if not total:
        return "The tuned model got every decision right: ask it harder ones."
    kind, count = max(left.items(), key=lambda one: one[1])
    said = f"Look at {kind.replace('_', ' ')}: {count:,} of the {total:,} decisions that it still gets wrong."
    tools = {
        name.removeprefix("tool="): metrics[HEADLINE]
        for name, metrics in tuned.slices.items()
        if name.startswith("tool=") and HEADLINE in metrics and metrics[HEADLINE].n >= _ENOUGH
    }
    if not tools:
        return said
    tool, metric = min(tools.items(), key=lambda one: one[1].value)
    return f"{said} Its weakest tool is {tool}, {100 * metric.value:.1f} % of {metric.n:,}."
