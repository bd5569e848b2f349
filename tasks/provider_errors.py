"""Turns what the OpenAI client raises into the errors of the loop, with the way out."""

from collections.abc import Iterator
from contextlib import contextmanager

import openai
from openai import OpenAI

from tasks.core.errors import ProviderError, ProviderUnavailableError

RATE_LIMITED = 429
NO_QUOTA = frozenset({"insufficient_quota", "billing_hard_limit_reached"})
# A conflict (409) and a time-out (408) may end well when the same is asked again.
PASSING = frozenset({408, 409, RATE_LIMITED})


@contextmanager
def translated(client: OpenAI, action: str) -> Iterator[None]:
    """Raise the loop's error for a failed call; `action` continues "Cannot ...".

    Raises:
        ProviderUnavailableError: It may work later.
        ProviderError: It will not.
    """
    try:
        yield
    except openai.APIConnectionError as error:  # time-outs included
        raise ProviderUnavailableError(
            f"Cannot {action}: {client.base_url} does not answer ({error}). Is it up? `zava status` tells."
        ) from error
    except openai.APIStatusError as error:
        kind = ProviderUnavailableError if is_passing(error) else ProviderError
        told = f"Cannot {action}: {client.base_url} answered {error.status_code}: {error.message}"
        raise kind(f"{told}{way_out(error)}") from error
    except openai.APIError as error:
        raise ProviderError(f"Cannot {action}: {client.base_url} sent what cannot be read: {error.message}") from error


def way_out(error: openai.APIStatusError) -> str:
    """Return what to do about a refusal whose own words do not say it, or nothing."""
    if error.code in NO_QUOTA:
        return " The account has no credit left: pay in, or use another provider."
    if isinstance(error, openai.AuthenticationError):
        return " Is it the right key? provider.api_key_env names the variable that holds it."
    if "does not support fine-tuning" in str(error.message):
        # Azure says so too where the model could be trained, but not in this region with this tier.
        return " On Azure this may be the tier: try another provider.azure.training_type, or another region."
    return ""


def is_passing(error: openai.APIStatusError) -> bool:
    """May the same request succeed later?"""
    if error.code in NO_QUOTA:
        return False
    return error.status_code >= 500 or error.status_code in PASSING


def may_have_acted(error: openai.APIError) -> bool:
    """May the provider have done what was asked although it answered with this error?"""
    if isinstance(error, openai.APIStatusError):
        return error.status_code >= 500 or error.status_code in {408, 409}
    return True
