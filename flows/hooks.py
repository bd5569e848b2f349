"""What a signed message asks for: which flow, with which parameters, and what it may not set."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from pydantic import Field, ValidationError

from tasks.core.config import Profile, overridden
from tasks.core.errors import MessageError
from tasks.core.operation import Hook
from tasks.core.record import Record
from tasks.failing import Transcript


class Asked(NamedTuple):
    """The run that a message asks for."""

    flow: str
    parameters: dict[str, Any]


class Retraining(Record):
    """The message of the hooks `retrain` and `contract`."""

    parameters: dict[str, Any] = Field(default_factory=dict, max_length=20)


def asked(profile: Profile, hook: Hook, message: Mapping[str, Any]) -> Asked:
    """Return what to run for a message.

    Raises:
        MessageError: The message has another form, or sets what this hook may not.
        ConfigError: It sets a value that the profile cannot have.
    """
    try:
        if hook == "transcript":
            transcript = Transcript.model_validate(message)
            return Asked("add-transcript", {"transcript": transcript.model_dump(mode="json")})
        wanted = Retraining.model_validate(message).parameters
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise MessageError(f"The message of hook {hook!r} has another form: {where}: {first['msg']}.") from error
    allowed = profile.deployment.hooks[hook].parameters
    if beyond := sorted(set(wanted) - set(allowed)):
        raise MessageError(
            f"Hook {hook!r} may not set {beyond[0]!r}; deployment.hooks.{hook}.parameters allows: "
            f"{', '.join(allowed) or 'nothing'}."
        )
    changed = overridden(profile, wanted)
    flow = "follow-contract" if hook == "contract" else "retrain"
    return Asked(flow, {"profile": changed.model_dump(mode="json")} if wanted else {})
