"""A model answers: at once, or by a deployment that Azure's own libraries make at a control plane over TLS."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks import deploy
from tasks.core.config import load_profile
from tasks.core.deployment import deployment_name
from tasks.core.endpoints import ProviderConfig
from tasks.core.errors import ConfigError, ProviderError, ProviderUnavailableError
from tests.fake_azure import ACCOUNT, FakeAzure

TUNED = "gpt-4.1-mini-2025-04-14.ft-abc"
PUT = rf"{ACCOUNT}/deployments/.*"


@pytest.fixture
def azure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeAzure]:
    with FakeAzure(folder=tmp_path, models={TUNED, "gpt-4.1-mini-2025-04-14"}) as azure:
        for name, value in azure.environment.items():
            monkeypatch.setenv(name, value)
        yield azure


@pytest.fixture
def config(azure: FakeAzure) -> ProviderConfig:
    return load_profile("local", tuple(azure.settings())).provider


def test_a_tuned_model_is_deployed_once_and_waited_for(azure: FakeAzure, config: ProviderConfig) -> None:
    deployments = deploy.deployments_of(config)
    name = deployments.serve(TUNED)
    assert name == deployments.serve(TUNED) == deployment_name(TUNED)
    held = azure.deployments[name]
    assert held["properties"]["model"] == {"format": "OpenAI", "name": TUNED, "version": "1"}
    assert held["sku"] == {"name": "DeveloperTier", "capacity": 100}
    assert azure.count(f"PUT {ACCOUNT}/deployments/{name}") == 1


def test_a_base_model_is_deployed_with_its_version(azure: FakeAzure, config: ProviderConfig) -> None:
    name = deploy.deployments_of(config).serve("gpt-4.1-mini-2025-04-14")
    held = azure.deployments[name]
    assert held["properties"]["model"] == {"format": "OpenAI", "name": "gpt-4.1-mini", "version": "2025-04-14"}
    assert held["sku"]["name"] == "GlobalStandard"


def test_a_deployment_that_others_made_is_used_and_is_not_ours(azure: FakeAzure, config: ProviderConfig) -> None:
    model = {"format": "OpenAI", "name": "gpt-4.1-mini", "version": "2025-04-14"}
    properties = {"model": model, "provisioningState": "Succeeded"}
    azure.deployments["theirs"] = {"name": "theirs", "properties": properties, "_seen": 9}
    deployments = deploy.deployments_of(config)
    assert deployments.serve("gpt-4.1-mini-2025-04-14") == "theirs"
    assert [held.is_ours for held in deployments.existing()] == [False]


def test_a_removed_deployment_is_gone_and_may_be_removed_again(azure: FakeAzure, config: ProviderConfig) -> None:
    deployments = deploy.deployments_of(config)
    name = deployments.serve(TUNED)
    deployments.remove(name)
    assert azure.deployments == {}
    deployments.remove(name)


def test_a_deployment_that_fails_is_told(azure: FakeAzure, config: ProviderConfig) -> None:
    azure.deploying = ("Creating", "Failed")
    with pytest.raises(ProviderError, match=TUNED):
        deploy.deployments_of(config).serve(TUNED)


def test_a_lack_of_quota_is_told_with_the_way_out(azure: FakeAzure, config: ProviderConfig) -> None:
    azure.fail("PUT", PUT, status=409, code="InsufficientQuota", message="This needs more than is left.")
    with pytest.raises(ProviderError, match=r"Lower provider\.azure\.capacity") as caught:
        deploy.deployments_of(config).serve(TUNED)
    assert not isinstance(caught.value, ProviderUnavailableError)


def test_a_caller_whom_azure_does_not_know_is_told(
    azure: FakeAzure, config: ProviderConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.fake_azure.TOKEN", "another token")
    azure.fail("GET", r"/msi/token", status=400, times=9)
    with pytest.raises(ProviderError, match="Azure does not know who asks"):
        deploy.deployments_of(config).existing()


def test_other_providers_serve_at_once() -> None:
    deployments = deploy.deployments_of(ProviderConfig(kind="openai"))
    assert deployments.serve("ft:model") == "ft:model"
    assert deployments.existing() == []


def test_azure_without_its_section_is_a_mistake_in_the_profile() -> None:
    with pytest.raises(ConfigError, match=r"provider\.azure go together"):
        load_profile("local", ("provider.kind=azure", "provider.base_url=http://127.0.0.1:9/openai/v1"))
