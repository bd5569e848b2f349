"""What every request passes: a request id, the size of its body, and the bearer key."""

import hmac
import json
import secrets
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from infra.model_server.errors import ApiError, AuthenticationError, TooLargeError
from infra.model_server.settings import Settings

OPEN_PATHS = ("/healthz",)


def error_body(error: ApiError) -> dict[str, Any]:
    """Return an error's body in the OpenAI shape."""
    return {"error": {"message": error.message, "type": error.kind, "param": error.param, "code": error.code}}


class Gate:
    """Refuses what may not come in, and names each answer by an id."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        """Stand before `app`."""
        self._app = app
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it with an error."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = f"req_{secrets.token_hex(16)}".encode()

        async def named_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), (b"x-request-id", request_id)]
            await send(message)

        try:
            self._check_key(scope)
            await self._within_limit(scope, receive, named_send)
        except ApiError as error:
            await _answer(error, named_send)

    def _check_key(self, scope: Scope) -> None:
        key = self._settings.api_key
        if key is None or scope["path"] in OPEN_PATHS:
            return
        scheme, _, given = _header(scope, b"authorization").partition(b" ")
        if scheme.lower() != b"bearer" or not hmac.compare_digest(given.strip(), key.encode()):
            raise AuthenticationError("Incorrect API key provided." if given else "You didn't provide an API key.")

    async def _within_limit(self, scope: Scope, receive: Receive, send: Send) -> None:
        uploads = scope["path"].rstrip("/").endswith("/files")
        # A form adds its boundaries and fields to the file.
        limit = self._settings.max_upload_bytes + 65_536 if uploads else self._settings.max_body_bytes
        error = TooLargeError(f"The body is larger than the {limit} bytes allowed.")
        declared = _header(scope, b"content-length")
        if declared.isdigit() and int(declared) > limit:
            raise error
        received, started = 0, False

        async def counted_receive() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            # The application turns whatever happens while it reads into an answer of its own, so it is told that
            # the client has gone, and its answer is replaced.
            return {"type": "http.disconnect"} if received > limit else message

        async def checked_send(message: Message) -> None:
            nonlocal started
            if received <= limit:
                await send(message)
            elif not started:
                started = True
                await _answer(error, send)

        await self._app(scope, counted_receive, checked_send)
        if received > limit and not started:
            raise error


async def _answer(error: ApiError, send: Send) -> None:
    body = json.dumps(error_body(error)).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if error.status == AuthenticationError.status:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _header(scope: Scope, name: bytes) -> bytes:
    found: bytes = next((value for key, value in scope["headers"] if key == name), b"")
    return found
