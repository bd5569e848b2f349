"""Sections of a profile that say where models and services are, and which models play a part in synthesis."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, PlainSerializer, model_validator

from tasks.core.provider import JobField, ProviderKind
from tasks.core.record import Record

# A set is in another order in each process; a profile must be told apart by what it says.
IN_ORDER = PlainSerializer(sorted, return_type=list[str], when_used="json")
Positive = Annotated[int, Field(ge=1)]


class AzureConfig(Record):
    """What Azure's control plane needs to deploy a model; who may do so is read from the environment by its library."""

    subscription_id: str = Field(description="Of the account.")
    resource_group: str = Field(description="Of the account.")
    account: str = Field(description="The Foundry or Azure OpenAI resource that trains and serves.")
    training_type: Literal["Standard", "GlobalStandard", "DeveloperTier"] = Field(
        "GlobalStandard", description="The tier to train in: where, and at what price."
    )
    sku: str = Field("DeveloperTier", description="Of a tuned model's deployment; this one costs by the token alone.")
    base_sku: str = Field("GlobalStandard", description="Of a base model's deployment.")
    capacity: Positive = Field(100, description="Of a deployment, in thousands of tokens a minute.")
    management_url: str = Field("https://management.azure.com", description="Another one in a sovereign cloud.")


class ProviderConfig(Record):
    """Where models are trained and served. The key is read from the environment, never from the file."""

    kind: ProviderKind = Field("local", description="`compatible`: any server of OpenAI's shape.")
    base_url: str | None = Field(
        None, description="Of the OpenAI-shaped API, /v1 included; local and empty: the model server of `zava up`."
    )
    api_key_env: str = Field("ZAVA_API_KEY", description="Name of the environment variable that holds the key.")
    timeout_s: float = Field(120.0, gt=0, description="Client time-out of one request, in seconds.")
    leave_out: Annotated[frozenset[JobField], IN_ORDER] = Field(
        frozenset(), description="What this server refuses when a job is created; `method`: it wants the older form."
    )
    azure: AzureConfig | None = Field(None, description="Only, and always, with kind `azure`.")

    @property
    def place(self) -> str:
        """Where a model id means something; a local server may move to another port and is still the same."""
        return self.kind if self.kind == "local" else f"{self.kind}:{self.base_url or ''}"

    @model_validator(mode="after")
    def _azure_goes_with_azure(self) -> Self:
        if (self.kind == "azure") != (self.azure is not None):
            raise ValueError("kind 'azure' and a section provider.azure go together")
        return self


class PriceConfig(Record):
    """What a million tokens cost, in USD."""

    prompt: float = Field(ge=0, description="Tokens read.")
    completion: float = Field(ge=0, description="Tokens written.")


class ChatConfig(Record):
    """A model that plays a part in synthesis."""

    model: str = Field(description="Its name at the provider.")
    provider: ProviderConfig | None = Field(None, description="Where it is served; left out: where models are trained.")
    temperature: float | None = Field(None, ge=0, description="Left out: the provider's default.")
    max_completion_tokens: Positive = Field(1024, description="Most tokens of an answer.")
    price: PriceConfig | None = Field(None, description="Needed for a budget in money.")


class BudgetConfig(Record):
    """How much synthesis may spend in all, what earlier runs paid included. Requests in flight are still paid for."""

    calls: Positive | None = Field(None, description="Answered requests.")
    tokens: Positive | None = Field(None, description="Read and written.")
    money: float | None = Field(None, gt=0, description="In USD, by the prices of the models.")


class TeacherConfig(Record):
    """Chat models that write the conversations, in the place of the programmatic expert."""

    agent: ChatConfig = Field(description="Plays the agent, and writes the blueprints for a server.")
    customer: ChatConfig | None = Field(None, description="Plays the customer; left out: the agent's model.")
    concurrency: Positive = Field(4, description="Conversations at a time, each with one request in flight.")
    max_turns: Positive = Field(20, description="Most turns of the customer.")
    timeout_s: float = Field(300.0, gt=0, description="Of one request, retries included.")
    budget: BudgetConfig = BudgetConfig()

    @property
    def speaks_for_customer(self) -> ChatConfig:
        """The model that plays the customer."""
        return self.customer or self.agent

    @model_validator(mode="after")
    def _priced(self) -> Self:
        if self.budget.money is not None and not (self.agent.price and self.speaks_for_customer.price):
            raise ValueError("a budget in money needs the price of both models")
        return self


class ServicesConfig(Record):
    """The services that `zava up` starts on 127.0.0.1, their ports, and those that run elsewhere, which it does not."""

    prefect_port: int = Field(4200, description="Of the Prefect server and its UI.")
    mlflow_port: int = Field(5000, description="Of the MLflow server and its UI.")
    model_port: int = Field(8766, description="Of the model server.")
    shop_port: int = Field(8765, description="Of the Retail MCP server.")
    worker_port: int = Field(8768, description="Where the worker says that it is well.")
    webhook_port: int = Field(8767, description="Of the receiver of webhooks.")
    page_port: int = Field(8769, description="Of the web page for the agent.")
    prefect_url: str = Field(
        "", pattern=r"^(https?://.*[^/])?$", description="Without /api; empty: the Prefect server of `zava up`."
    )
    shop_url: str = Field(
        "", pattern=r"^(https?://.*/mcp)?$", description="Ends with /mcp; empty: the shop that `zava up` serves."
    )
    models: Path = Field(
        Path("infra/model_server/base"), description="Folder of base models for the model server, one folder each."
    )
    hub_model: str | None = Field(
        None,
        pattern=r"^[\w.-]+/[\w.-]+(@[\w./-]+)?$",
        description="OWNER/NAME or OWNER/NAME@REVISION of the Hugging Face hub; `zava up` fetches it where "
        "training.base_model is NAME and services.models has no such folder.",
    )
    engine: Literal["transformers", "vllm"] = Field(
        "transformers", description="What answers as a model: vllm needs CUDA and the program `vllm`."
    )

    @property
    def prefect(self) -> str:
        """The address of the Prefect server."""
        return self.prefect_url or f"http://127.0.0.1:{self.prefect_port}"

    @property
    def shop(self) -> str:
        """The address of the shop."""
        return self.shop_url or f"http://127.0.0.1:{self.shop_port}/mcp"
