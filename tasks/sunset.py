"""Finds out when a base model dies, from the data file and from the provider, and warns or refuses in time."""

from datetime import UTC, date, datetime
from pathlib import Path

import openai
from openai import OpenAI

from tasks.core.config import Profile
from tasks.core.endpoints import ProviderConfig
from tasks.core.errors import ConfigError
from tasks.core.sunset import Sunset, What, sunsets_within
from tasks.files import read_records
from tasks.provider_errors import translated

# Beside the profiles. What Azure's model list calls the ends of a model, and what we call them.
DATES = Path("configs/sunset.yaml")
MODEL_LIST = "the provider's model list"
_TOLD: dict[str, What] = {"fine_tune": "training", "inference": "answers"}


def known_sunsets(path: Path = DATES) -> list[Sunset]:
    """Return the dates of the data file; none where there is no such file.

    Raises:
        ConfigError: The file is broken.
    """
    return read_records(path, Sunset)


def told_sunsets(client: OpenAI, provider: ProviderConfig, model: str) -> list[Sunset]:
    """Return the dates that the provider's own list of models tells of one.

    Raises:
        ProviderUnavailableError: The provider does not answer.
    """
    with translated(client, f"look at model {model!r}"):
        try:
            told = (client.models.retrieve(model).model_extra or {}).get("deprecation")
        except openai.NotFoundError:
            return []
    dates = told if isinstance(told, dict) else {}
    return [
        Sunset(provider=provider.kind, model=model, what=what, date=_day(dates[name]), source=MODEL_LIST)
        for name, what in _TOLD.items()
        if isinstance(dates.get(name), int)
    ]


def _day(seconds: int) -> date:
    return datetime.fromtimestamp(seconds, UTC).date()


def due(profile: Profile, client: OpenAI, model: str, today: date) -> list[Sunset]:
    """Return what ends for a base model within `sunset.days`, or has ended.

    Raises:
        ProviderUnavailableError: The provider does not answer.
        ConfigError: The data file is broken.
    """
    known = [*known_sunsets(), *told_sunsets(client, profile.provider, model)]
    return sunsets_within(known, profile.provider.kind, model, today, profile.sunset.days)


def check(profile: Profile, client: OpenAI, today: date) -> list[str]:
    """Return the warnings about the profile's base model, or refuse to train it where the profile says so.

    Raises:
        ConfigError: The profile refuses a base model that dies soon.
    """
    model = profile.training.base_model
    told = [sunset.sentence(model) for sunset in due(profile, client, model, today)]
    if told and profile.sunset.action == "refuse":
        raise ConfigError(
            f"Base model {'; '.join(told)}. Choose another training.base_model, or say sunset.action=warn."
        )
    return told
