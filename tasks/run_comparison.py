"""Several runs side by side on one decision set, as a page: how good, what for, and which difference is real."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tasks import report_views as views
from tasks.close_ups import read_metas
from tasks.core import metrics, outcomes, statistics
from tasks.core.errors import EvaluationError
from tasks.core.evaluation import Difference, Metric
from tasks.core.failure import MEANINGS, STAGES
from tasks.core.metrics import HEADLINE
from tasks.core.record import Record
from tasks.core.run import RunSummary, cost_text
from tasks.evaluate import read_scores
from tasks.files import write_atomically
from tasks.marks import intervals
from tasks.templating import style_facts, template_environment


class RunRow(Record):
    """A run: its tuned model against the base of that run, and against the tuned model of the first run.

    `p_holm` is corrected for all runs that are compared with the first.
    """

    run_id: str
    name: str
    model_id: str
    metrics: dict[str, Metric]
    failures: dict[str, int]
    against_first: Difference | None = None
    p_holm: float | None = None
    stories: str = ""
    seconds: float
    cost: str


class RunComparison(Record):
    """Runs on one decision set, in the order asked for."""

    decisions_sha256: str
    decisions: int
    conversations: int
    runs: tuple[RunRow, ...]


class Pages(NamedTuple):
    """The files of a comparison."""

    html: Path
    markdown: Path


def compare_runs(runs: Sequence[RunSummary]) -> RunComparison:
    """Compare the tuned models of several runs, decision by decision with that of the first.

    Raises:
        EvaluationError: A run is on another decision set than the first.
        DataError: The scores of a run, or the decisions, are gone or were changed.
    """
    first = runs[0]
    for run in runs[1:]:
        if run.decisions.sha256 != first.decisions.sha256:
            raise EvaluationError(
                f"Runs {first.tracked.run_id!r} and {run.tracked.run_id!r} were measured on different decision sets, "
                f"{first.decisions.sha256[:12]} and {run.decisions.sha256[:12]}, so their figures say nothing of each "
                "other. `zava evaluate` asks a model the decisions of another profile."
            )
    changes = [_against(first, run) for run in runs[1:]]
    tested = [change.p_clustered for change in changes if change is not None and change.p_clustered is not None]
    adjusted = iter(statistics.holm(tested))
    rows = [_row(first, None, None)]
    for run, change in zip(runs[1:], changes, strict=True):
        p_holm = next(adjusted) if change is not None and change.p_clustered is not None else None
        rows.append(_row(run, change, p_holm))
    return RunComparison(
        decisions_sha256=first.decisions.sha256,
        decisions=first.decisions.items,
        conversations=first.decisions.conversations,
        runs=tuple(rows),
    )


def write_comparison(compared: RunComparison, runs: Sequence[RunSummary], folder: Path) -> Pages:
    """Write `comparison.html` and `comparison.md` into a folder.

    Raises:
        DataError: The folder cannot be written.
    """
    pages = Pages(folder / "comparison.html", folder / "comparison.md")
    facts = _facts(compared, runs)
    for path in pages:
        template = template_environment(html=path.suffix == ".html").get_template(f"{path.name}.j2")
        write_atomically(path, template.render(facts).encode())
    return pages


def _against(first: RunSummary, other: RunSummary) -> Difference | None:
    before, after = first.comparison.tuned, other.comparison.tuned
    metas = list(read_metas(Path(first.decisions.meta_path)))
    made = metrics.compare(before, after, read_scores(before), read_scores(after), metas, first.evaluation)
    return next((change for change in made.differences if change.metric == HEADLINE), None)


def _row(run: RunSummary, change: Difference | None, p_holm: float | None) -> RunRow:
    tuned = run.comparison.tuned
    family = next((one for one in run.families if one.arm == "tuned"), None)
    return RunRow(
        run_id=run.tracked.run_id,
        name=run.prefect.name,
        model_id=run.model_id,
        metrics=tuned.metrics,
        failures={kind: count for kind, count in outcomes.failures(tuned).items() if count},
        against_first=change,
        p_holm=p_holm,
        stories=f"{family.passed} of {len(family.results)}" if family and family.results else "",
        seconds=run.seconds,
        cost=cost_text(run.cost),
    )


def _facts(compared: RunComparison, runs: Sequence[RunSummary]) -> dict[str, Any]:
    names = dict.fromkeys(name for run in runs for name in run.comparison.tuned.slices)
    slices = {name: [run.comparison.tuned.slices.get(name, {}).get(HEADLINE) for run in runs] for name in names}
    return {
        **style_facts(),
        "compared": compared,
        "summaries": runs,
        "headline": HEADLINE,
        "marks": [
            intervals(run.comparison.base.metrics.get(HEADLINE), row.metrics.get(HEADLINE))
            for run, row in zip(runs, compared.runs, strict=True)
        ],
        "metric_names": [name for name in metrics.MEASURES if any(name in row.metrics for row in compared.runs)],
        "metric_meanings": metrics.MEANINGS,
        "kinds": [kind for kind in STAGES if any(kind in row.failures for row in compared.runs)],
        "meanings": MEANINGS,
        "slices": {name: cells for name, cells in slices.items() if any(cells)},
        "few": views.FEW,
    }
