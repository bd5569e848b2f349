"""What the contract tests ask with: both clients of the openai package, each raw answer checked strictly.

The tests run against a server of their own. To point them at another provider, set CONTRACT_BASE_URL, CONTRACT_API_KEY
and CONTRACT_MODEL (a model that it can fine-tune), and name what it lacks in CONTRACT_LACKS, such as `dpo,pause`.
"""

import asyncio
import json
import os
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import httpx2
import pytest
from openai import AsyncOpenAI, BaseModel, OpenAI
from openai.types import FileDeleted, FileObject, Model, ModelDeleted
from openai.types.chat import ChatCompletion
from openai.types.fine_tuning import FineTuningJobEvent
from openai.types.fine_tuning.jobs import FineTuningJobCheckpoint

from infra.model_server.documents import Job

JOB = r"/fine_tuning/jobs(/[^/]+(/(cancel|pause|resume))?)?"
SHAPES: tuple[tuple[str, str, type[BaseModel]], ...] = (
    ("DELETE", r"/files/[^/]+", FileDeleted),
    ("GET|POST", r"/files(/[^/]+)?", FileObject),
    ("GET|POST", JOB, Job),
    ("GET", r"/fine_tuning/jobs/[^/]+/events", FineTuningJobEvent),
    ("GET", r"/fine_tuning/jobs/[^/]+/checkpoints", FineTuningJobCheckpoint),
    ("DELETE", r"/models/[^/]+", ModelDeleted),
    ("GET", r"/models(/[^/]+)?", Model),
    ("POST", r"/chat/completions", ChatCompletion),
)


class Provider(NamedTuple):
    """Who is asked."""

    base_url: str
    key: str
    model: str
    lacks: frozenset[str]


def provider_from_environment() -> Provider | None:
    """Return the provider that the environment names, if it does."""
    base_url = os.environ.get("CONTRACT_BASE_URL")
    if not base_url:
        return None
    lacks = frozenset(filter(None, os.environ.get("CONTRACT_LACKS", "").split(",")))
    return Provider(base_url, os.environ["CONTRACT_API_KEY"], os.environ["CONTRACT_MODEL"], lacks)


def needs(provider: Provider, *features: str) -> None:
    """End a test here if the provider is said to lack what it is about; the server of this project lacks nothing."""
    if missing := provider.lacks & set(features):
        pytest.skip(f"{provider.base_url} is said to lack {', '.join(sorted(missing))}")


def check(kind: type[BaseModel], raw: object) -> None:
    """Fail unless a raw object is of this kind, strictly and without a field more."""
    parsed = kind.model_validate_json(json.dumps(raw), strict=True)
    extras = [(part, part.model_extra) for part in parts_of(parsed) if part.model_extra]
    assert extras == []


def parts_of(value: object) -> Iterable[BaseModel]:
    """Return the objects that an object is made of, itself included."""
    if isinstance(value, BaseModel):
        yield value
        for name in type(value).model_fields:
            yield from parts_of(getattr(value, name))
    elif isinstance(value, list):
        for item in value:
            yield from parts_of(item)


def check_answer(base_url: str, request: httpx2.Request, status: int, body: bytes) -> None:
    """Fail unless an answer's raw body is what the client's types say."""
    raw = json.loads(body)
    if status >= 400:
        assert {"message", "type", "param", "code"} <= set(raw["error"])
        return
    path = request.url.path.removeprefix(httpx2.URL(base_url).path.rstrip("/"))
    [kind] = [
        kind for methods, shape, kind in SHAPES if re.fullmatch(methods, request.method) and re.fullmatch(shape, path)
    ]
    if raw.get("object") != "list":
        check(kind, raw)
        return
    assert isinstance(raw["data"], list)
    for item in raw["data"]:
        check(kind, item)


def is_json(response: httpx2.Response) -> bool:
    return response.headers.get("content-type", "").startswith("application/json")


class Sync:
    """The openai client."""

    def __init__(self, provider: Provider) -> None:
        def checked(response: httpx2.Response) -> None:
            if is_json(response):
                check_answer(provider.base_url, response.request, response.status_code, response.read())

        http = httpx2.Client(event_hooks={"response": [checked]}, timeout=120)
        self._client = OpenAI(base_url=provider.base_url, api_key=provider.key, http_client=http, max_retries=0)

    def do(self, ask: Callable[[Any], Any]) -> Any:
        """Ask for one answer."""
        return ask(self._client)

    def all(self, ask: Callable[[Any], Any]) -> list[Any]:
        """Ask for all items of a list, or all chunks of a stream."""
        return list(ask(self._client))

    def close(self) -> None:
        self._client.close()


class Async:
    """The async openai client, asked from tests that are not."""

    def __init__(self, provider: Provider) -> None:
        async def checked(response: httpx2.Response) -> None:
            if is_json(response):
                check_answer(provider.base_url, response.request, response.status_code, await response.aread())

        http = httpx2.AsyncClient(event_hooks={"response": [checked]}, timeout=120)
        self._client = AsyncOpenAI(base_url=provider.base_url, api_key=provider.key, http_client=http, max_retries=0)
        self._runner = asyncio.Runner()

    def do(self, ask: Callable[[Any], Awaitable[Any]]) -> Any:
        """Ask for one answer."""

        async def answer() -> Any:
            return await ask(self._client)

        return self._runner.run(answer())

    def all(self, ask: Callable[[Any], Any]) -> list[Any]:
        """Ask for all items of a list, or all chunks of a stream."""

        async def items() -> list[Any]:
            found = ask(self._client)
            return [item async for item in (found if hasattr(found, "__aiter__") else await found)]

        return self._runner.run(items())

    def close(self) -> None:
        self._runner.run(self._client.close())
        self._runner.close()


Api = Sync | Async


@contextmanager
def api_of(kind: type[Api], provider: Provider) -> Iterator[Api]:
    """Return a client that is closed in the end."""
    api = kind(provider)
    try:
        yield api
    finally:
        api.close()
