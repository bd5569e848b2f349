"""What requests may say: the OpenAI fields that this server honours, and a refusal of those that it cannot."""

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from infra.model_server.progress import Auto

MAX_SEED = 2**63 - 1
ToolName = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
Zero = Annotated[float, Field(ge=0, le=0)]
Metadata = dict[Annotated[str, StringConstraints(max_length=64)], Annotated[str, StringConstraints(max_length=512)]]


def is_unicode(value: object) -> bool:
    """Tell whether all texts of a JSON value can be written as UTF-8; JSON's escapes can spell some that cannot."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


class Request(BaseModel):
    """Unknown fields are refused, so that a misspelt one is not silently without effect."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class HyperparameterChoice(Request):
    """Hyper-parameters within the bounds of a sensible run."""

    n_epochs: Annotated[int, Field(ge=1, le=50)] | Auto | None = None
    batch_size: Annotated[int, Field(ge=1, le=1024)] | Auto | None = None
    learning_rate_multiplier: Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)] | Auto | None = None


class Supervised(Request):
    """Options of supervised fine-tuning."""

    hyperparameters: HyperparameterChoice | None = None


class PreferenceChoice(HyperparameterChoice):
    """The hyper-parameters of direct preference optimisation."""

    beta: Annotated[float, Field(gt=0, le=2, allow_inf_nan=False)] | Auto | None = None


class Preference(Request):
    """Options of direct preference optimisation."""

    hyperparameters: PreferenceChoice | None = None


class Method(Request):
    """How to fine-tune."""

    type: Literal["supervised", "dpo"]
    supervised: Supervised | None = None
    dpo: Preference | None = None


class Body(Request):
    """The body of a request; its texts are Unicode."""

    @model_validator(mode="before")
    @classmethod
    def _refuse_half_characters(cls, value: object) -> object:
        if not is_unicode(value):
            raise PydanticCustomError("not_unicode", "A text holds half of a surrogate pair, which is no character")
        return value


class JobRequest(Body):
    """The body of a request for a fine-tuning job."""

    model: str
    training_file: str
    validation_file: str | None = None
    suffix: Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9_.-]{1,64}$")] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    metadata: Annotated[Metadata, Field(max_length=16)] | None = None
    method: Method | None = None
    hyperparameters: HyperparameterChoice | None = None
    integrations: Annotated[list[Any], Field(max_length=0)] | None = None


class TextPart(BaseModel):
    """A part of a message's content."""

    type: Literal["text"]
    text: str


class CalledFunction(BaseModel):
    """The function of a tool call."""

    name: str
    arguments: str


class ToolCall(BaseModel):
    """A call that the assistant made earlier in the conversation."""

    id: str
    type: Literal["function"] = "function"
    function: CalledFunction


class Message(BaseModel):
    """One message of the conversation so far."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[TextPart] | None = None
    name: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None


class ToolFunction(BaseModel):
    """A function that the model may call."""

    name: ToolName
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(BaseModel):
    """A tool that the model may call."""

    type: Literal["function"]
    function: ToolFunction


class ChosenFunction(Request):
    """The name of the tool that must be called."""

    name: str


class ChosenTool(Request):
    """The tool that must be called."""

    type: Literal["function"]
    function: ChosenFunction


class StreamOptions(Request):
    """Options of a stream."""

    include_usage: bool = False
    include_obfuscation: bool | None = None


class TextFormat(Request):
    """The only response format: free text."""

    type: Literal["text"]


SAYS_NOTHING = {"metadata", "user", "safety_identifier", "store", "service_tier", "prompt_cache_key"}
"""The fields of a chat request that have no effect on the answer."""


class ChatRequest(Body):
    """The body of a request for a chat completion.

    Fields that say nothing about the answer (`user`, `store`, ...) are accepted and have no effect; fields that
    would change it and cannot be honoured are only accepted with the value that changes nothing.
    """

    model: str
    messages: Annotated[list[Message], Field(min_length=1)]
    tools: Annotated[list[Tool], Field(max_length=128)] | None = None
    tool_choice: Literal["none", "auto", "required"] | ChosenTool | None = None
    parallel_tool_calls: bool | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    seed: Annotated[int, Field(ge=-MAX_SEED - 1, le=MAX_SEED)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    stop: str | Annotated[list[str], Field(max_length=4)] | None = None
    n: Annotated[int, Field(ge=1, le=16)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    response_format: TextFormat | None = None
    logprobs: Literal[False] | None = None
    frequency_penalty: Zero | None = None
    presence_penalty: Zero | None = None
    logit_bias: Annotated[dict[str, float], Field(max_length=0)] | None = None
    metadata: Metadata | None = None
    user: str | None = None
    safety_identifier: str | None = None
    store: bool | None = None
    service_tier: str | None = None
    prompt_cache_key: str | None = None
