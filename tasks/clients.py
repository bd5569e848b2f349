"""Builds the clients of the model provider and of MLflow; the only place that knows how."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from openai import AsyncOpenAI, DefaultAsyncHttpxClient, DefaultHttpxClient, OpenAI

from tasks.core.config import ProviderConfig, TrackingConfig, api_key
from tasks.core.errors import ConfigError

if TYPE_CHECKING:
    from mlflow import MlflowClient

# Pauses of 0.5, 1, 2 and 4 s, or as long as the provider asks: rides out a restart or a burst of 429.
MAX_RETRIES = 4

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def openai_client(provider: ProviderConfig) -> OpenAI:
    """Return the client of a provider. Creating a job sends no idempotency key: turn retries off for that call.

    Raises:
        ConfigError: The key or the address is missing.
    """
    base_url = _base_url(provider)
    return OpenAI(
        api_key=api_key(provider),
        base_url=base_url,
        timeout=provider.timeout_s,
        max_retries=MAX_RETRIES,
        http_client=DefaultHttpxClient(trust_env=False) if is_local(base_url) else None,
    )


def async_openai_client(provider: ProviderConfig) -> AsyncOpenAI:
    """Return the asynchronous client of a provider; close it, or use it in an `async with`.

    Raises:
        ConfigError: The key or the address is missing.
    """
    base_url = _base_url(provider)
    return AsyncOpenAI(
        api_key=api_key(provider),
        base_url=base_url,
        timeout=provider.timeout_s,
        max_retries=MAX_RETRIES,
        http_client=DefaultAsyncHttpxClient(trust_env=False) if is_local(base_url) else None,
    )


def mlflow_client(tracking: TrackingConfig) -> MlflowClient:
    """Point MLflow at the tracking server and return a client of it."""
    import mlflow  # takes seconds to import, so only who tracks pays for it

    mlflow.set_tracking_uri(tracking.mlflow_uri)
    return mlflow.MlflowClient(tracking_uri=tracking.mlflow_uri)


def _base_url(provider: ProviderConfig) -> str | None:
    if provider.base_url is None and provider.kind != "openai":
        raise ConfigError(
            f"Provider {provider.kind!r} needs provider.base_url, the address of its API, such as "
            "http://127.0.0.1:8766/v1."
        )
    return provider.base_url


def is_local(base_url: str | None) -> bool:
    """Return whether an address is this machine's, where a proxy named in the environment is in the way."""
    return base_url is not None and urlsplit(base_url).hostname in _LOOPBACK
