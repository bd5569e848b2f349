"""Builds the clients of the model provider, of MLflow and of S3; the only place that knows how."""

from __future__ import annotations

import base64
import json
import os
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx2
from openai import AsyncOpenAI, DefaultAsyncHttpxClient, DefaultHttpxClient, OpenAI

from tasks.core.config import TrackingConfig, api_key
from tasks.core.endpoints import AzureConfig, ProviderConfig
from tasks.core.errors import ConfigError
from tasks.core.storage import StorageConfig

if TYPE_CHECKING:
    from azure.mgmt.cognitiveservices import CognitiveServicesManagementClient
    from botocore.client import BaseClient  # type: ignore[import-untyped]
    from mlflow import MlflowClient

# Pauses of 0.5, 1, 2 and 4 s, or as long as the provider asks: rides out a restart or a burst of 429.
MAX_RETRIES = 4
# Of one request to S3, with pauses of up to 1, 2, 4, 8 and 16 s.
S3_ATTEMPTS = 6

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
        http_client=DefaultHttpxClient(trust_env=not is_local(base_url), event_hooks={"response": [must_be_json]}),
    )


def must_be_json(response: httpx2.Response) -> None:
    """Take a page where JSON should be, such as a proxy's, for no answer at all: the client would hand it on as text.

    Raises:
        DecodingError: It is not JSON.
    """
    path = response.request.url.path
    if not response.is_success or path.endswith("/content"):
        return
    if response.headers.get("content-type", "").startswith("text/event-stream"):
        return
    try:
        json.loads(response.read())
    except ValueError as error:
        raise httpx2.DecodingError(f"What {path} answered is not JSON: {error}.", request=response.request) from error


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


def azure_client(azure: AzureConfig) -> CognitiveServicesManagementClient:
    """Return the client of Azure's control plane; close it. Who asks is found out by Azure's own library.

    Raises:
        ConfigError: The libraries for Azure are not installed.
    """
    try:
        from azure.identity import DefaultAzureCredential
        from azure.mgmt.cognitiveservices import CognitiveServicesManagementClient
    except ImportError as error:
        raise ConfigError("Provider 'azure' needs its libraries: pip install 'zava[azure]'.") from error
    return CognitiveServicesManagementClient(
        DefaultAzureCredential(),
        azure.subscription_id,
        azure.management_url,
        credential_scopes=[f"{azure.management_url}/.default"],
    )


def mlflow_client(tracking: TrackingConfig) -> MlflowClient:
    """Point MLflow at the tracking server and return a client of it."""
    import mlflow  # takes seconds to import, so only who tracks pays for it

    mlflow.set_tracking_uri(tracking.mlflow_uri)
    return mlflow.MlflowClient(tracking_uri=tracking.mlflow_uri)


def mlflow_login() -> dict[str, str]:
    """Return the headers that log in at MLflow as its own client does, for what is sent without it.

    Of both it takes the name and password (MLFLOW_TRACKING_USERNAME, MLFLOW_TRACKING_PASSWORD), else the token
    (MLFLOW_TRACKING_TOKEN); without either, none.
    """
    name, password = os.environ.get("MLFLOW_TRACKING_USERNAME"), os.environ.get("MLFLOW_TRACKING_PASSWORD")
    if name and password:
        both = base64.b64encode(f"{name}:{password}".encode()).decode("ascii")
        return {"Authorization": f"Basic {both}"}
    token = os.environ.get("MLFLOW_TRACKING_TOKEN")
    return {"Authorization": f"Bearer {token}"} if token else {}


def s3_client(storage: StorageConfig) -> BaseClient:
    """Return the client of S3. Who asks is found out by Amazon's own library: environment, files or the machine's role.

    It tries again for up to half a minute.
    """
    import boto3  # type: ignore[import-untyped]  # only who has a store pays for it
    from botocore.config import Config  # type: ignore[import-untyped]

    config = Config(
        retries={"mode": "standard", "total_max_attempts": S3_ATTEMPTS},
        connect_timeout=10,
        read_timeout=60,
        proxies={} if is_local(storage.endpoint_url) else None,
    )
    # The library's own session would keep the keys that it found first, and is not for several threads.
    return boto3.Session().client("s3", endpoint_url=storage.endpoint_url, config=config)


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
