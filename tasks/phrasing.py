"""Holds a model's scores on seen words against those on unseen ones, and keeps what came of it beside the answers."""

from pathlib import Path

from pydantic import ValidationError

from tasks.core.config import EvaluationConfig
from tasks.core.errors import DataError
from tasks.core.evaluation import DecisionSet, EvalReport
from tasks.core.metrics import compare_tellings
from tasks.core.phrasing import PhrasingReport
from tasks.evaluate import check_comparable, read_decisions, read_scores
from tasks.files import read_bytes, write_atomically

KEPT = "phrasing.json"


def compare(
    unseen: EvalReport, seen: EvalReport, unseen_set: DecisionSet, seen_set: DecisionSet, config: EvaluationConfig
) -> PhrasingReport:
    """Return what the words cost a model, and write it as `phrasing.json` beside the scores on the unseen ones.

    Raises:
        EvaluationError: A report is not on its set, or the sets have no errand in common.
        DataError: A set or a file of scores is missing or was changed.
    """
    check_comparable(unseen, unseen_set)
    check_comparable(seen, seen_set)
    sides = [
        (read_scores(report), [decision.meta for decision in read_decisions(decisions)])
        for report, decisions in ((unseen, unseen_set), (seen, seen_set))
    ]
    told = [{meta.scenario_id for meta in metas} for _, metas in sides]
    made = PhrasingReport(
        model_id=unseen.model_id,
        unseen=unseen,
        seen=seen,
        errands=len(told[0] & told[1]),
        differences=compare_tellings(sides[0], sides[1], config),
    )
    write_atomically(_path(unseen), made.model_dump_json(indent=2).encode() + b"\n")
    return made


def kept(report: EvalReport) -> PhrasingReport | None:
    """Return what the words cost the model of a report on the held-out set, or None where it was not measured.

    Raises:
        DataError: The file is broken.
    """
    path = _path(report)
    if not path.is_file():
        return None
    try:
        found = PhrasingReport.model_validate_json(read_bytes(path))
    except ValidationError as error:
        raise DataError(f"{path} is not of this version; delete it, or measure again.") from error
    same = found.model_id == report.model_id and found.unseen.decision_set_sha256 == report.decision_set_sha256
    return found if same else None


def _path(report: EvalReport) -> Path:
    return Path(report.scores_path).with_name(KEPT)
