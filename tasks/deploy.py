"""Makes a model answer: at once where the provider serves what it trained, by a deployment on Azure."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from tasks import train
from tasks.clients import azure_client, openai_client
from tasks.core.deployment import Deployment, deployment_name
from tasks.core.endpoints import AzureConfig, ProviderConfig
from tasks.core.errors import ProviderError, ProviderUnavailableError
from tasks.provider_errors import PASSING

if TYPE_CHECKING:
    from azure.mgmt.cognitiveservices.models import Deployment as AzureDeployment

READY = "Succeeded"
# `gpt-4.1-mini-2025-04-14` is the model `gpt-4.1-mini` in the version `2025-04-14`; a tuned one has the version 1.
_DATED = re.compile(r"(?P<name>.+)-(?P<version>\d{4}-\d{2}-\d{2})")


class Deployments(Protocol):
    """How a provider makes models answer."""

    def serve(self, model_id: str) -> str:
        """Return the name under which a model answers, deployed first where it must be and is not."""

    def existing(self) -> list[Deployment]:
        """Return all deployments, also those that others made."""

    def remove(self, name: str) -> None:
        """Remove a deployment; one that is gone already counts as removed."""


class _ServedAtOnce:
    """A provider whose models answer under their own ids."""

    def serve(self, model_id: str) -> str:
        return model_id

    def existing(self) -> list[Deployment]:
        return []

    def remove(self, name: str) -> None:
        """There are none."""


class _AzureDeployments:
    """Deployments through Azure's control plane; its PUT under a fixed name can be repeated without harm."""

    def __init__(self, azure: AzureConfig) -> None:
        self._azure = azure
        self._place = (azure.resource_group, azure.account)

    def serve(self, model_id: str) -> str:
        same = [held for held in self.existing() if held.model_id == model_id]
        if ready := next((held for held in same if held.state == READY), None):
            return ready.name
        return self._deploy(model_id)

    def existing(self) -> list[Deployment]:
        with _answering("list the deployments"), azure_client(self._azure) as client:
            return [_to_record(held) for held in client.deployments.list(*self._place)]

    def remove(self, name: str) -> None:
        with _answering(f"remove deployment {name!r}"), azure_client(self._azure) as client:
            client.deployments.begin_delete(*self._place, name).result()

    def _deploy(self, model_id: str) -> str:
        from azure.mgmt.cognitiveservices import models

        name = deployment_name(model_id)
        dated = _DATED.fullmatch(model_id)
        model = models.DeploymentModel(
            format="OpenAI",
            name=dated["name"] if dated else model_id,
            version=dated["version"] if dated else "1",
        )
        sku = models.Sku(name=self._azure.base_sku if dated else self._azure.sku, capacity=self._azure.capacity)
        wanted = models.Deployment(sku=sku, properties=models.DeploymentProperties(model=model))
        with _answering(f"deploy model {model_id!r}"), azure_client(self._azure) as client:
            made = _to_record(client.deployments.begin_create_or_update(*self._place, name, wanted).result())
        if made.state != READY:
            raise ProviderError(f"Deployment {name!r} of model {model_id!r} ended as {made.state!r}.")
        return made.name


def _to_record(held: "AzureDeployment") -> Deployment:
    properties = held.properties
    model = properties.model if properties else None
    version = model.version if model else None
    name = str(model.name if model else "")
    return Deployment(
        name=str(held.name),
        model_id=f"{name}-{version}" if version and _DATED.fullmatch(f"{name}-{version}") else name,
        state=str(properties.provisioning_state if properties else "unknown"),
        created_at=held.system_data.created_at if held.system_data else None,
    )


@contextmanager
def _answering(action: str) -> Iterator[None]:
    """Raise the loop's error where the control plane refuses or is away; `action` continues "Cannot ..."."""
    from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError

    try:
        yield
    except ClientAuthenticationError as error:
        raise ProviderError(
            f"Cannot {action}: Azure does not know who asks. Say `az login`. ({error.message})"
        ) from error
    except HttpResponseError as error:
        status = error.status_code or 0
        told = f"Cannot {action}: Azure answered {status}: {error.message}"
        if "InsufficientQuota" in str(error.error.code if error.error else ""):
            raise ProviderError(
                f"{told} Lower provider.azure.capacity, choose another sku, or ask for quota."
            ) from error
        raise (ProviderUnavailableError if status >= 500 or status in PASSING else ProviderError)(told) from error
    except AzureError as error:
        raise ProviderUnavailableError(f"Cannot {action}: Azure does not answer: {error.message}") from error


def deployments_of(provider: ProviderConfig) -> Deployments:
    """Return how this provider makes models answer.

    Raises:
        ConfigError: The libraries for Azure are not installed.
    """
    return _AzureDeployments(provider.azure) if provider.azure else _ServedAtOnce()


def version_of(provider: ProviderConfig, name: str) -> str:
    """Return what tells the model that answers under this name from an earlier one.

    Raises:
        ProviderUnavailableError: The provider does not answer.
        ProviderError: There is no such model.
    """
    if provider.azure:
        # A deployment is named for its model, and that never changes.
        return ""
    with openai_client(provider) as client:
        return train.version_of(client, name)
