"""What a provider can do for a profile, found out by asking it what costs nothing."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import openai
from openai import OpenAI

from tasks.clients import openai_client
from tasks.core.config import Profile

TIMEOUT_S = 10.0
BASE_ADVICE = "set training.base_model to one that it trains"


class Capability(NamedTuple):
    """Something that the loop needs of a provider: whether it is there, and what to do where it is not."""

    name: str
    works: bool
    found: str
    advice: str = ""


def capabilities(profile: Profile) -> Iterator[Capability]:
    """Yield what the provider of a profile can do; where it does not answer at all, only that.

    Raises:
        ConfigError: The key or the address is missing.
    """
    with openai_client(profile.provider) as provider:
        client = provider.with_options(max_retries=0, timeout=TIMEOUT_S)
        try:
            yield _base_model(client, profile.training.base_model)
            yield _offered("files", lambda: client.files.list(limit=1))
            yield _offered("fine-tuning", lambda: client.fine_tuning.jobs.list(limit=1))
        except openai.APIConnectionError as error:
            advice = "zava up" if profile.provider.kind == "local" else "check provider.base_url and the network"
            yield Capability("provider", False, f"nothing answers at {client.base_url}: {error}", advice)
        except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
            advice = f"put a key that may do this into {profile.provider.api_key_env}"
            yield Capability("provider", False, f"refuses the key: {error.message}", advice)


def _base_model(client: OpenAI, name: str) -> Capability:
    try:
        client.models.retrieve(name)
    except (openai.AuthenticationError, openai.PermissionDeniedError, openai.APIConnectionError):
        raise
    except openai.APIError as error:
        return Capability("base model", False, f"the provider does not tell of {name!r}: {error.message}", BASE_ADVICE)
    return Capability("base model", True, f"{name}, at the provider")


def _offered(name: str, look: Callable[[], object]) -> Capability:
    try:
        look()
    except (openai.AuthenticationError, openai.PermissionDeniedError, openai.APIConnectionError):
        raise
    except openai.NotFoundError:
        return Capability(name, False, "the provider does not offer it", "train elsewhere: provider.base_url")
    except openai.APIError as error:
        return Capability(name, False, error.message, "ask the provider; its status page may tell")
    return Capability(name, True, "offered")
