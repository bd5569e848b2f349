"""Answers by vLLM: a `vllm serve` of its own, started when first asked, with the adapters that jobs have left.

It serves one model's weights at a time, which is what a GPU has room for, beside a training.
"""

import os
import shutil
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import httpx2

from infra.model_server.chat_template import ChatTemplateRenderer
from infra.model_server.errors import ApiError, InvalidRequestError, ModelFailedError, RenderingError, VllmMissingError
from infra.model_server.registry import ModelEntry, Registry
from infra.model_server.rendering import renderer_for
from infra.model_server.runner import last_line
from infra.model_server.settings import Settings
from infra.model_server.tool_calls import HERMES, LLAMA, MISTRAL, CallFormat
from infra.services import process
from infra.services.errors import ServicesError

HOST = "127.0.0.1"
PARSERS = {HERMES: "hermes", MISTRAL: "mistral", LLAMA: "llama3_json"}
"""vLLM's name for each form of tool calls."""
MEMORY_SHARE = 0.45
"""The part of the GPU's memory that vLLM takes, so that a training has room beside it."""
START_SECONDS = 900.0
GRACE_SECONDS = 20.0
POLL_SECONDS = 0.2


class Vllm:
    """One `vllm serve`, kept alive."""

    def __init__(self, settings: Settings, registry: Registry) -> None:
        """Keep the process's record and log in the folder of the server's data.

        Raises:
            VllmMissingError: if there is no program to start.
        """
        beside = str(Path(sys.executable).parent)
        program = shutil.which("vllm", path=os.pathsep.join([os.environ.get("PATH", ""), beside]))
        if program is None:
            raise VllmMissingError("The engine 'vllm' needs the program 'vllm'. Install it by `pip install vllm`.")
        self._program = program
        self._registry = registry
        self._record_path = settings.data / "vllm.json"
        self._log = settings.data / "vllm.log"
        self._lock = threading.Lock()
        self._running: Path | None = None
        self._adapters: set[str] = set()
        self._forms: dict[Path, CallFormat | None] = {}
        self._stopping = False
        self._client = httpx2.Client(timeout=START_SECONDS, trust_env=False)
        # As many at once as are asked, and none kept: vLLM may close a connection just as it is used again.
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=0)
        self._answers = httpx2.AsyncClient(timeout=None, trust_env=False, limits=limits)
        # One that a killed server has left holds the GPU.
        self._end()

    def serves(self, entry: ModelEntry) -> bool:
        """Tell whether vLLM can answer as a model: those with a renderer of their own are unknown to it."""
        return self._form(self._registry.weights(entry)) is not None

    def ready(self, entry: ModelEntry) -> str:
        """Return the address that answers as a model, once it does: weights are loaded, and the adapter on them.

        Raises:
            ModelFailedError: if vLLM does not start, or refuses the adapter.
        """
        weights = self._registry.weights(entry)
        with self._lock:
            record = process.read_record(self._record_path)
            if record is None or self._running != weights.folder or process.leader(record) is None:
                record = self._start(weights)
            address = f"http://{HOST}:{record.port}"
            if entry.adapts is not None and entry.model_id not in self._adapters:
                self._load_adapter(address, entry)
            return address

    async def completion(self, address: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return the answer to a chat request."""
        try:
            answer = await self._answers.post(f"{address}/v1/chat/completions", json=body)
        except httpx2.HTTPError as error:
            raise ModelFailedError(f"vLLM broke off while it answered: {error!r}") from error
        if not answer.is_success:
            raise _refusal(answer)
        completion: dict[str, Any] = answer.json()
        return completion

    async def events(self, address: str, body: Mapping[str, Any]) -> AsyncIterator[bytes]:
        """Return the answer to a chat request as it comes, once vLLM has taken the request."""
        request = self._answers.build_request("POST", f"{address}/v1/chat/completions", json=body)
        try:
            answer = await self._answers.send(request, stream=True)
            if not answer.is_success:
                await answer.aread()
                raise _refusal(answer)
        except httpx2.HTTPError as error:
            raise ModelFailedError(f"vLLM broke off while it answered: {error!r}") from error
        return _chunks(answer)

    async def close(self) -> None:
        """End vLLM and the connections to it."""
        self._stopping = True
        await self._answers.aclose()
        with self._lock:
            self._end()
            self._client.close()

    def _form(self, weights: ModelEntry) -> CallFormat | None:
        """Return how a model writes calls; None if it has no chat template."""
        if weights.folder not in self._forms:
            try:
                renderer = renderer_for(weights.folder)
            except RenderingError as error:
                raise ModelFailedError(f"The model {weights.model_id!r} cannot be loaded: {error}", "model") from error
            self._forms[weights.folder] = renderer.calls if isinstance(renderer, ChatTemplateRenderer) else None
        return self._forms[weights.folder]

    def _start(self, weights: ModelEntry) -> process.ProcessRecord:
        self._end()
        port = _free_port()
        command = self._command(weights, port)
        environment = {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True", "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"}
        try:
            record = process.spawn(command, environment, log=self._log, marker="model-server-vllm", port=port)
        except ServicesError as error:
            raise ModelFailedError(f"vLLM cannot be started: {error}", "model") from error
        process.write_record(self._record_path, record)
        self._running = weights.folder
        self._await_health(record)
        return record

    def _command(self, weights: ModelEntry, port: int) -> list[str]:
        # Sampling is the request's alone, as with the engine of this server: not what a model's folder recommends.
        return [
            *(self._program, "serve", str(weights.folder), "--served-model-name", weights.model_id),
            *("--host", HOST, "--port", str(port), "--generation-config", "vllm"),
            *("--gpu-memory-utilization", str(MEMORY_SHARE), "--enable-lora"),
            *("--enable-auto-tool-choice", "--tool-call-parser", PARSERS[self._form(weights) or HERMES]),
        ]

    def _await_health(self, record: process.ProcessRecord) -> None:
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and not self._stopping and process.leader(record) is not None:
            try:
                if self._client.get(f"http://{HOST}:{record.port}/health").is_success:
                    return
            except httpx2.TransportError:
                time.sleep(POLL_SECONDS)
        self._end()
        raise ModelFailedError(f"vLLM did not start: {last_line(self._log)} Its log is {str(self._log)!r}.", "model")

    def _load_adapter(self, address: str, entry: ModelEntry) -> None:
        adapter = {"lora_name": entry.model_id, "lora_path": str(entry.folder)}
        try:
            answer = self._client.post(f"{address}/v1/load_lora_adapter", json=adapter)
        except httpx2.HTTPError as error:
            raise ModelFailedError(f"vLLM did not load {entry.model_id!r}: {error!r}", "model") from error
        if not answer.is_success:
            raise ModelFailedError(f"vLLM refused the adapter {entry.model_id!r}: {answer.text}", "model")
        self._adapters.add(entry.model_id)

    def _end(self) -> None:
        record = process.read_record(self._record_path)
        if record is not None:
            process.stop(record, grace_s=GRACE_SECONDS)
        self._record_path.unlink(missing_ok=True)
        self._running = None
        self._adapters.clear()


async def _chunks(answer: httpx2.Response) -> AsyncIterator[bytes]:
    try:
        async for chunk in answer.aiter_bytes():
            yield chunk
    finally:
        # Also where the client has gone: vLLM then drops the request.
        await answer.aclose()


def _refusal(answer: httpx2.Response) -> ApiError:
    """Return vLLM's error as one of ours; it wraps the message in `error` or not, as its version likes."""
    try:
        body: Any = answer.json()
    except ValueError:
        body = {}
    problem = body.get("error", body) if isinstance(body, dict) else {}
    message = problem.get("message") if isinstance(problem, dict) else None
    kind = InvalidRequestError if 400 <= answer.status_code < 500 else ModelFailedError
    return kind(message or f"vLLM answered with status {answer.status_code}.")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
