"""Which models a person can talk with: the champion, the last tuned one and the base."""

from typing import NamedTuple

from tasks.artifacts import latest_summary
from tasks.champion import champion_here
from tasks.core.config import Profile


class Offered(NamedTuple):
    """A model, and what it is here."""

    label: str
    model_id: str


def offered(profile: Profile) -> tuple[Offered, ...]:
    """Return the models to talk with, the best one first; a model that is two things is named once.

    Raises:
        DataError: The file of the champion or the summary of the last run is broken.
    """
    summary = latest_summary(profile)
    known = {
        "champion": champion_here(profile),
        "tuned": summary.model_id if summary else None,
        "base": profile.training.base_model,
    }
    named: dict[str, Offered] = {}
    for label, model_id in known.items():
        if model_id is not None:
            named.setdefault(model_id, Offered(label, model_id))
    return tuple(named.values())
