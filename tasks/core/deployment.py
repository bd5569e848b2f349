"""A model made ready to answer, where a provider asks for that."""

from datetime import datetime

from tasks.core.record import Record, sha256_of

# What this project makes begins so; nothing else is ever removed.
OURS = "zava-"


class Deployment(Record):
    """A deployment at the provider. `state` is the provider's word; `name` is what a request asks for."""

    name: str
    model_id: str
    state: str
    created_at: datetime | None = None

    @property
    def is_ours(self) -> bool:
        """Was it made by this project?"""
        return self.name.startswith(OURS)


def deployment_name(model_id: str) -> str:
    """Return the one name under which this project deploys a model, so that it is never deployed twice."""
    return f"{OURS}{sha256_of(model_id)[:12]}"
