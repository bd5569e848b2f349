"""What the OpenAPI document says of answers: the types by which the openai client reads them."""

from typing import Any, Generic, Literal, TypeVar

from openai.types import FileDeleted, FileObject, Model, ModelDeleted
from openai.types.chat import ChatCompletion
from openai.types.fine_tuning import FineTuningJob, FineTuningJobEvent
from openai.types.fine_tuning.jobs import FineTuningJobCheckpoint
from pydantic import BaseModel

Item = TypeVar("Item")
Responses = dict[int | str, dict[str, Any]]


class Problem(BaseModel):
    """What is wrong with a request."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorAnswer(BaseModel):
    """The body of every answer that is no success."""

    error: Problem


class Job(FineTuningJob):
    """A fine-tuning job; the client's type does not know yet that it can be paused."""

    status: Literal[  # type: ignore[assignment]
        "validating_files", "queued", "running", "paused", "succeeded", "failed", "cancelled"
    ]


class Page(BaseModel, Generic[Item]):
    """Some items of a list."""

    object: Literal["list"]
    data: list[Item]
    has_more: bool


class NamedPage(Page[Item], Generic[Item]):
    """Some items of a list, with the ids at its ends."""

    first_id: str | None
    last_id: str | None


class ModelList(BaseModel):
    """All models."""

    object: Literal["list"]
    data: list[Model]


ERRORS: Responses = {
    "4XX": {"model": ErrorAnswer, "description": "The request cannot be met"},
    "5XX": {"model": ErrorAnswer, "description": "The server failed"},
}


def answers(model: Any) -> dict[str, Any]:
    """Return what a route says of its success: the body is of this type, and sent as the route wrote it."""
    return {"response_model": None, "responses": {200: {"model": model, "description": "Success"}}}


FILE = answers(FileObject)
FILES = answers(NamedPage[FileObject])
FILE_DELETED = answers(FileDeleted)
JOB = answers(Job)
JOBS = answers(Page[Job])
EVENTS = answers(Page[FineTuningJobEvent])
CHECKPOINTS = answers(NamedPage[FineTuningJobCheckpoint])
MODEL = answers(Model)
MODELS = answers(ModelList)
MODEL_DELETED = answers(ModelDeleted)
COMPLETION = answers(ChatCompletion)
COMPLETION["responses"][200]["content"] = {"text/event-stream": {"schema": {"type": "string"}}}
CONTENT: dict[str, Any] = {
    "response_model": None,
    "responses": {
        200: {
            "description": "The bytes of the file",
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        }
    },
}
UPLOAD: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file", "purpose"],
                    "properties": {"file": {"type": "string", "format": "binary"}, "purpose": {"type": "string"}},
                    "additionalProperties": False,
                }
            }
        },
    }
}
METADATA_FILTER: dict[str, Any] = {
    "parameters": [
        {
            "name": "metadata",
            "in": "query",
            "style": "deepObject",
            "explode": True,
            "schema": {"type": "object", "additionalProperties": {"type": "string"}},
        }
    ]
}
"""`metadata[key]=value`, which the framework cannot read from a signature."""
