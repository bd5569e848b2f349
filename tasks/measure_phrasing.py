"""What unseen words cost a model: the held-out errands asked once in their own words and once in those of training."""

from pathlib import Path

from tasks import measure, phrasing
from tasks.artifacts import Dataset
from tasks.core.config import Profile
from tasks.core.errors import DataError
from tasks.core.evaluation import DecisionSet
from tasks.core.phrasing import PhrasingReport


def seen_phrasing(profile: Profile, model_id: str, dataset: Dataset) -> PhrasingReport:
    """Ask a model the decisions of both sets, and keep the difference for the report of a run with this model.

    Raises:
        DataError: The dataset has no errands in the words of training; the message says why, and the way out.
        ProviderUnavailableError: The provider does not answer.
        ProviderError: There is no such model.
        EvaluationError: Not one decision was answered, or the model was trained under another contract.
    """
    seen_set = _seen_set(profile, dataset)
    unseen = measure.report(profile, "model", model_id, dataset.decisions)
    seen = measure.report(profile, "seen-phrasing", model_id, seen_set)
    return phrasing.compare(unseen, seen, dataset.decisions, seen_set, profile.evaluation)


def _seen_set(profile: Profile, dataset: Dataset) -> DecisionSet:
    if dataset.seen_decisions is not None:
        return dataset.seen_decisions
    folder = Path(dataset.decisions.path).parent
    if profile.teacher is not None:
        raise DataError(
            f"The dataset in {str(folder)!r} has no second set with seen phrasing: models spoke for its customers, "
            "and they have no templates. Leave --seen-phrasing out, or take a profile without a teacher."
        )
    raise DataError(
        f"The dataset in {str(folder)!r} was made before there was a set with seen phrasing, or none of it passed the "
        "gates. Remove the folder and run `zava synthesize`: its other files come back with the same bytes."
    )
