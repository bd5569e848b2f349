"""All arms of an evaluation side by side: who is better than whom, corrected for asking that often."""

from collections.abc import Mapping, Sequence

from pydantic import Field

from tasks.core import metrics, statistics
from tasks.core.config import EvaluationConfig
from tasks.core.errors import EvaluationError
from tasks.core.evaluation import Difference, EvalReport, ItemMeta, Score
from tasks.core.metrics import HEADLINE
from tasks.core.record import Record


class ArmOutcome(Record):
    """An arm beside base and tuned: its report, or why it says nothing about this model.

    `note` is what a reader must know of how it was asked.
    """

    arm: str
    model_id: str
    report: EvalReport | None = None
    skipped: str = ""
    note: str = ""


class Contrast(Record):
    """An arm against another in the headline metric; `p_holm` is corrected for all contrasts of the standings."""

    arm: str
    against: str
    difference: Difference
    p_holm: float


class Standings(Record):
    """The reports of all arms on one decision set and their contrasts, the arms that were left out, notes by arm."""

    reports: tuple[EvalReport, ...]
    contrasts: tuple[Contrast, ...]
    skipped: tuple[ArmOutcome, ...] = ()
    notes: dict[str, str] = Field(default_factory=dict)


def standings(
    reports: Sequence[EvalReport],
    scores: Mapping[str, Sequence[Score]],
    metas: Sequence[ItemMeta],
    config: EvaluationConfig,
    others: Sequence[ArmOutcome] = (),
) -> Standings:
    """Compare every arm with those before it among the first two, base and tuned.

    `others` says of the arms beside these two which were left out, and what to know of the rest.

    Raises:
        EvaluationError: Two arms have one name, or were measured on different decision sets.
    """
    names = [report.arm for report in reports]
    if len(set(names)) < len(names):
        raise EvaluationError(f"Two arms have one name: {', '.join(names)}.")
    found: list[tuple[str, str, Difference, float]] = []
    for place, report in enumerate(reports):
        for other in reports[: min(place, 2)]:
            compared = metrics.compare(other, report, scores[other.arm], scores[report.arm], metas, config)
            change = next((one for one in compared.differences if one.metric == HEADLINE), None)
            if change is not None and change.p_clustered is not None:
                found.append((report.arm, other.arm, change, change.p_clustered))
    adjusted = statistics.holm([p_value for *_, p_value in found])
    contrasts = tuple(
        Contrast(arm=arm, against=against, difference=change, p_holm=p_holm)
        for (arm, against, change, _), p_holm in zip(found, adjusted, strict=True)
    )
    return Standings(
        reports=tuple(reports),
        contrasts=contrasts,
        skipped=tuple(other for other in others if other.report is None),
        notes={other.arm: other.note for other in others if other.report is not None and other.note},
    )
