"""The web page for the agent: a conversation with it, its tool calls, and what they make of the shop.

It spends money and writes, so that nothing but its own page may call it: no page of another address, nor one whose name
was made to point here.
"""

import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from jinja2 import Environment, PackageLoader
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tasks.core.config import Profile
from tasks.core.errors import MessageError, ProviderUnavailableError, ServiceError, ZavaError
from tasks.desk import Busy, Conversation, Desk, Told, Unknown
from zava_mcp.http import HostGuard, own_pages_only

# Of a message, in bytes.
LARGEST_BODY = 16 * 1024
Endpoint = Callable[[Request], Awaitable[Response]]


class TooLarge(MessageError):
    """A message is larger than any that the page sends."""


class Endpoints:
    """What the page may ask for."""

    def __init__(self, desk: Desk) -> None:
        """Answer for this desk."""
        self._desk = desk
        self._template = Environment(loader=PackageLoader("tasks"), autoescape=True).get_template("page.html")

    def _named(self, request: Request) -> Conversation:
        return self._desk.find(request.path_params["id"])

    async def index(self, _: Request) -> Response:
        """Return the page."""
        nonce = secrets.token_urlsafe(16)
        return HTMLResponse(self._template.render(nonce=nonce), headers=_headers(nonce))

    async def begin(self, _: Request) -> Response:
        """Begin a conversation."""
        return JSONResponse((await self._desk.open()).shown(), status_code=201)

    async def show(self, request: Request) -> Response:
        """Return all that happened in a conversation."""
        return JSONResponse(self._named(request).shown())

    async def end(self, request: Request) -> Response:
        """Forget a conversation."""
        await self._desk.close(request.path_params["id"])
        return Response(status_code=204)

    async def say(self, request: Request) -> Response:
        """Say something, and return the agent's steps as they happen, a JSON object a line."""
        words = await _field(request, "words")
        return StreamingResponse(_lines(self._named(request).say(words)), media_type="application/x-ndjson")

    async def stop(self, request: Request) -> Response:
        """Stop the agent where it is at work, and return once it is at rest."""
        await _body(request)
        await self._named(request).stop()
        return Response(status_code=204)

    async def switch(self, request: Request) -> Response:
        """Let another model answer."""
        model = await _field(request, "model")
        self._named(request).switch(model)
        return JSONResponse({"model": model})

    async def replay(self, request: Request) -> Response:
        """Put a conversation into the replay pack."""
        await _body(request)
        held = await self._named(request).to_pack()
        return JSONResponse({"member": held.member, "sentence": held.sentence}, status_code=201)


async def _healthz(_: Request) -> Response:
    return JSONResponse({"status": "ok"})


def page(profile: Callable[[], Profile], port: int) -> Starlette:
    """Return the application; `profile` is read for each conversation, and `port` is where the page is served."""
    endpoints = Endpoints(Desk(profile))
    one = "/conversations/{id}"
    routes = [
        Route("/", endpoints.index),
        Route("/healthz", _healthz),
        Route("/conversations", _in_words(endpoints.begin), methods=["POST"]),
        Route(one, _in_words(endpoints.show), methods=["GET"]),
        Route(one, _in_words(endpoints.end), methods=["DELETE"]),
        Route(f"{one}/say", _in_words(endpoints.say), methods=["POST"]),
        Route(f"{one}/stop", _in_words(endpoints.stop), methods=["POST"]),
        Route(f"{one}/model", _in_words(endpoints.switch), methods=["POST"]),
        Route(f"{one}/replay", _in_words(endpoints.replay), methods=["POST"]),
    ]
    app = Starlette(routes=routes)
    app.add_middleware(HostGuard, settings=own_pages_only(port))
    return app


def _in_words(endpoint: Endpoint) -> Endpoint:
    """Return an endpoint whose errors are told in words."""

    async def answered(request: Request) -> Response:
        try:
            return await endpoint(request)
        except ZavaError as error:
            return JSONResponse({"error": str(error)}, status_code=_status(error))

    return answered


def _status(error: ZavaError) -> int:
    statuses: dict[type[ZavaError], int] = {
        Busy: 409,
        Unknown: 404,
        TooLarge: 413,
        ServiceError: 503,
        ProviderUnavailableError: 503,
    }
    return next((status for kind, status in statuses.items() if isinstance(error, kind)), 422)


async def _lines(steps: AsyncIterator[Told]) -> AsyncIterator[str]:
    async for step in steps:
        yield json.dumps(step) + "\n"


async def _body(request: Request) -> dict[str, Any]:
    """Return the JSON object that a page sent.

    Raises:
        MessageError: It is something else, or too large.
    """
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > LARGEST_BODY:
            raise TooLarge(f"A message has at most {LARGEST_BODY:,} bytes.")
    # A form of another page can send text, but not name it JSON without asking first.
    if not request.headers.get("content-type", "").startswith("application/json"):
        raise MessageError("The message is not named application/json.")
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise MessageError(f"The message is not JSON: {error}.") from error
    if not isinstance(value, dict):
        raise MessageError("The message is not a JSON object.")
    return value


async def _field(request: Request, name: str) -> str:
    value = (await _body(request)).get(name)
    if not isinstance(value, str):
        raise MessageError(f"The message has no text {name!r}.")
    return value


def _headers(nonce: str) -> dict[str, str]:
    own = f"'nonce-{nonce}'"
    policy = {
        "default-src": "'none'",
        "connect-src": "'self'",
        "script-src": own,
        "style-src": own,
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return {
        "content-security-policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cross-origin-opener-policy": "same-origin",
        "cache-control": "no-store",
    }
