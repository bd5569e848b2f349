"""The clients: the right address, the right key, and no proxy in the way of this machine."""

from pathlib import Path

import pytest
from openai import InternalServerError

from tasks.clients import MAX_RETRIES, async_openai_client, mlflow_client, openai_client
from tasks.core.config import TrackingConfig
from tasks.core.endpoints import ProviderConfig
from tasks.core.errors import ConfigError
from tests.fake_provider import FakeProvider, fault, say

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_both_clients_reach_the_local_server_past_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("ZAVA_API_KEY", raising=False)
    question = [{"role": "user", "content": "Hello"}]
    with FakeProvider(lambda request: say("Hi")) as provider:
        config = ProviderConfig(kind="local", base_url=provider.base_url)
        with openai_client(config) as client:
            reply = client.post("/chat/completions", body={"model": "m", "messages": question}, cast_to=dict)
            assert reply["choices"][0]["message"]["content"] == "Hi"
        async with async_openai_client(config) as waiting:
            reply = await waiting.post("/chat/completions", body={"model": "m", "messages": question}, cast_to=dict)
            assert reply["choices"][0]["message"]["content"] == "Hi"


async def test_a_fault_that_lasts_is_retried_as_often_as_promised() -> None:
    with FakeProvider(lambda request: fault(503, retry_after=0.01)) as provider:
        config = ProviderConfig(kind="local", base_url=provider.base_url)
        async with async_openai_client(config) as client:
            with pytest.raises(InternalServerError, match="injected"):
                await client.post("/chat/completions", body={"model": "m"}, cast_to=dict)
        assert len(provider.requests) == 1 + MAX_RETRIES


def test_the_key_and_the_address_are_those_of_the_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "secret-1")
    config = ProviderConfig(
        kind="compatible", base_url="https://models.example.com/v1", api_key_env="MY_KEY", timeout_s=33
    )
    with openai_client(config) as client:
        assert (client.api_key, client.timeout, client.max_retries) == ("secret-1", 33, MAX_RETRIES)
        assert str(client.base_url) == "https://models.example.com/v1/"


def test_a_missing_key_or_address_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MY_KEY", raising=False)
    with pytest.raises(ConfigError, match="set the variable MY_KEY"):
        openai_client(ProviderConfig(kind="openai", api_key_env="MY_KEY"))
    with pytest.raises(ConfigError, match=r"Provider 'local' needs provider\.base_url"):
        async_openai_client(ProviderConfig(kind="local"))


@pytest.mark.slow
def test_the_mlflow_client_is_that_of_the_profile(tmp_path: Path) -> None:
    import mlflow  # as slow to import as everything else here together

    before = mlflow.get_tracking_uri()
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    try:
        assert mlflow_client(TrackingConfig(mlflow_uri=uri)).tracking_uri == uri
        assert mlflow.get_tracking_uri() == uri
    finally:
        mlflow.set_tracking_uri(before)
