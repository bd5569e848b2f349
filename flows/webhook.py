"""Receives signed messages: `POST /hooks/NAME` begins one run of a deployment; forgeries and repeats begin none.

The id of a message is the idempotency key of its run in Prefect's database, so that a message that comes twice, also
after a restart, begins one run. Nothing is kept here.
"""

import json
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
from prefect.settings import PREFECT_UI_URL
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from pyrate_limiter import Duration, Limiter, Rate, StateBucket, TokenBucket
from standardwebhooks.webhooks import Webhook
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from flows.bundler import Bundler, BusyError
from flows.hooks import Asked, asked
from flows.starting import BY_WEBHOOK
from tasks import signature
from tasks.artifacts import workspace
from tasks.core.config import Profile
from tasks.core.errors import ConfigError, MessageError
from tasks.core.operation import Hook, HookConfig

log = logging.getLogger(__name__)

# Of a message, in bytes; of its arrival and of Prefect's sign of life, in seconds.
LARGEST_BODY = 64 * 1024
ARRIVAL_S = 10.0
ALIVE_S = 20.0


class Refusal(Exception):
    """A message that begins nothing, with the status that tells its sender why."""

    def __init__(self, status: int, text: str, retry_after_s: int | None = None) -> None:
        """Name the status, and after how many seconds the same message may be taken."""
        super().__init__(text)
        self.status = status
        self.headers = {} if retry_after_s is None else {"retry-after": str(retry_after_s)}


class Gate:
    """The secrets and the pace of one hook."""

    def __init__(self, hook: Hook, config: HookConfig) -> None:
        """Read the secrets.

        Raises:
            ConfigError: There are none.
        """
        self._checks: list[Webhook] = signature.verifiers(hook)
        self._pace = Limiter(StateBucket([Rate(config.per_minute, Duration.MINUTE)], TokenBucket()))

    def pass_through(self, body: bytes, headers: Any) -> str:
        """Return the message's id; only what is signed counts against the pace, so that forgers slow nobody down."""
        try:
            message_id = signature.check(body, headers, self._checks)
        except MessageError as error:
            raise Refusal(401, str(error)) from error
        if not self._pace.try_acquire(blocking=False):
            raise Refusal(429, "Too many messages; send it again later.", retry_after_s=60)
        return message_id


class Receiver:
    """The hooks of a profile, and what came of their messages."""

    def __init__(self, profile: Profile) -> None:
        """Read the secrets of all hooks that the profile names.

        Raises:
            ConfigError: A secret is missing, or the profile names no hook.
        """
        if not profile.deployment.hooks:
            raise ConfigError("Nothing to receive: deployment.hooks names no hook.")
        self._profile = profile
        self._bells = workspace(profile).bells
        self._gates: dict[str, tuple[Hook, Gate]] = {
            hook: (hook, Gate(hook, config)) for hook, config in profile.deployment.hooks.items()
        }
        self._runs = Bundler(profile.name)
        self.metrics = CollectorRegistry()
        self._answers = Counter(
            "zava_webhook_messages", "Messages by hook and status.", ("hook", "status"), registry=self.metrics
        )
        self._seconds = Histogram("zava_webhook_seconds", "Until the answer.", ("hook",), registry=self.metrics)

    @asynccontextmanager
    async def open(self, _: Starlette) -> AsyncIterator[None]:
        """Hold the connection to Prefect."""
        async with self._runs.open():
            yield

    async def receive(self, request: Request) -> Response:
        """Answer one message."""
        began, name = time.perf_counter(), request.path_params["name"]
        try:
            answer: Response = JSONResponse(await self._taken(name, request), status_code=202)
        except Refusal as refusal:
            answer = JSONResponse({"error": str(refusal)}, refusal.status, refusal.headers)
        # Names from outside are not labels, of which each is kept.
        hook = name if name in self._gates else "unknown"
        self._answers.labels(hook, str(answer.status_code)).inc()
        self._seconds.labels(hook).observe(time.perf_counter() - began)
        return answer

    async def _taken(self, name: str, request: Request) -> dict[str, str | None]:
        if name not in self._gates:
            raise Refusal(404, f"There is no hook {name[:40]!r}.")
        hook, gate = self._gates[name]
        body = await _body(request)
        message_id = gate.pass_through(body, request.headers)
        message = _object(body)
        if hook == "provider":
            return {"job": self._bells.accept(message, message_id)}
        try:
            wanted = asked(self._profile, hook, message)
        except (MessageError, ConfigError) as error:
            raise Refusal(422, str(error)) from error
        return await self._begun(hook, wanted, message_id)

    async def _begun(self, hook: Hook, wanted: Asked, message_id: str) -> dict[str, str | None]:
        """Ask Prefect for the run, the same one for the same message."""
        tags, key = [BY_WEBHOOK, f"hook:{hook}"], f"{hook}:{message_id}"
        try:
            run_id = await self._runs.begin(wanted.flow, wanted.parameters, tags, key)
        except BusyError as error:
            log.warning("No run for message %s of hook %s: %s", message_id, hook, error)
            raise Refusal(503, "Prefect takes no run now; send it again later.", retry_after_s=30) from error
        return {"run": str(run_id), "address": f"{PREFECT_UI_URL.value()}/runs/flow-run/{run_id}"}

    async def is_ready(self) -> bool:
        """Does Prefect answer?"""
        with anyio.move_on_after(ALIVE_S):
            return await self._runs.prefect.api_healthcheck() is None
        return False


async def _body(request: Request) -> bytes:
    """Return the body; one that is too large or does not arrive is not waited for."""
    body = bytearray()
    try:
        with anyio.fail_after(ARRIVAL_S):
            async for part in request.stream():
                body += part
                if len(body) > LARGEST_BODY:
                    raise Refusal(413, f"A message has at most {LARGEST_BODY} bytes.")
    except (TimeoutError, ClientDisconnect) as error:
        raise Refusal(408, f"The message did not arrive within {ARRIVAL_S:.0f} s.") from error
    return bytes(body)


def _object(body: bytes) -> dict[str, Any]:
    try:
        message = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refusal(422, f"The message is not JSON: {error}") from error
    if not isinstance(message, dict):
        raise Refusal(422, "The message is not a JSON object.")
    return message


def receiver(profile: Profile) -> Starlette:
    """Return the application of a profile's hooks, with `/healthz`, `/readyz` and Prometheus' `/metrics`.

    Raises:
        ConfigError: A secret is missing, or the profile names no hook.
    """
    hooks = Receiver(profile)

    async def healthz(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def readyz(_: Request) -> Response:
        ready = await hooks.is_ready()
        return JSONResponse({"prefect": "ok" if ready else "away"}, status_code=200 if ready else 503)

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(hooks.metrics), media_type=CONTENT_TYPE_LATEST)

    routes = [Route("/hooks/{name}", hooks.receive, methods=["POST"])]
    shown: dict[str, Callable[[Request], Awaitable[Response]]] = {
        "/healthz": healthz,
        "/readyz": readyz,
        "/metrics": metrics,
    }
    routes += [Route(path, endpoint, methods=["GET"]) for path, endpoint in shown.items()]
    return Starlette(routes=routes, lifespan=hooks.open)
