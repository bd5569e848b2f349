"""The shop over HTTP: MCP at /mcp, a health check, and a client's access to its own sandbox."""

import hmac
import ipaddress
import socket
from collections.abc import Sequence

import uvicorn
from mcp.server.transport_security import TransportSecurityMiddleware, TransportSecuritySettings
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from zava_mcp.changes import changes
from zava_mcp.errors import RetailError, SandboxError
from zava_mcp.sandboxes import Sandboxes
from zava_mcp.server import build_server
from zava_mcp.snapshot import dump_snapshot

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


class HostGuard:
    """Refuses requests with a foreign Host or Origin on every path but the health check.

    The SDK guards its own endpoint only, and a page in a browser must not reach a sandbox either.
    """

    def __init__(self, app: ASGIApp, settings: TransportSecuritySettings) -> None:
        """Guard this application."""
        self._app = app
        self._checks = TransportSecurityMiddleware(settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it with 421 or 403."""
        refusal: Response | None = None
        if scope["type"] == "http" and scope["path"] != "/healthz":
            refusal = await self._checks.validate_request(Request(scope))
        await (refusal or self._app)(scope, receive, send)


class KeyGuard:
    """Asks for a bearer key on every path but the health check."""

    def __init__(self, app: ASGIApp, key: str) -> None:
        """Guard this application."""
        self._app = app
        self._key = key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it with 401."""
        answer: ASGIApp = self._app
        if scope["type"] == "http" and scope["path"] != "/healthz" and not self._holds_key(Request(scope)):
            answer = JSONResponse({"error": "The bearer key is missing or wrong."}, 401, {"www-authenticate": "Bearer"})
        await answer(scope, receive, send)

    def _holds_key(self, request: Request) -> bool:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), self._key)


def build_app(
    shop: Sandboxes, *, host: str = "127.0.0.1", allowed_hosts: Sequence[str] = (), key: str | None = None
) -> Starlette:
    """Return the HTTP application; `allowed_hosts` are its further names, `key` what clients must show."""
    security = _security({*LOOPBACK, in_url(host), *allowed_hosts})
    app = build_server(shop).streamable_http_app(
        host=host, stateless_http=True, json_response=True, transport_security=security
    )
    app.router.routes += _routes(shop)
    if key is not None:
        app.add_middleware(KeyGuard, key=key)
    app.add_middleware(HostGuard, settings=security)
    return app


def _routes(shop: Sandboxes) -> list[Route]:
    async def healthz(_request: Request) -> Response:
        return JSONResponse({"status": "ok", "sandboxes": len(shop)})

    async def drop(request: Request) -> Response:
        try:
            return JSONResponse({"dropped": shop.drop(request.path_params["name"])})
        except SandboxError as error:
            return JSONResponse({"error": str(error)}, status_code=400)

    async def snapshot(request: Request) -> Response:
        try:
            return JSONResponse(dump_snapshot(shop.peek(request.path_params["name"])))
        except SandboxError as error:
            return JSONResponse({"error": str(error)}, status_code=400)

    async def changed(request: Request) -> Response:
        try:
            now = shop.peek(request.path_params["name"])
        except SandboxError as error:
            return JSONResponse({"error": str(error)}, status_code=400)
        return JSONResponse([change._asdict() for change in changes(shop.start, now)])

    return [
        Route("/healthz", healthz, methods=["GET"]),
        Route("/sandboxes/{name}", drop, methods=["DELETE"]),
        Route("/sandboxes/{name}/changes", changed, methods=["GET"]),
        Route("/sandboxes/{name}/snapshot", snapshot, methods=["GET"]),
    ]


def bound_socket(host: str, port: int) -> socket.socket:
    """Return a listening socket, so that a port in use is told before anything starts.

    Raises:
        RetailError: If the address cannot be bound.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Without the protocol named, asyncio leaves Nagle's algorithm on and each answer waits 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except (OSError, OverflowError) as error:
        listener.close()
        reason = getattr(error, "strerror", None) or error
        raise RetailError(f"Cannot listen on {in_url(host)}:{port}: {reason}. Choose another --port.") from error
    listener.listen(128)
    return listener


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches what listens there."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def in_url(host: str) -> str:
    """Return a host as it stands in a URL: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host else host


def serve(app: Starlette, listener: socket.socket) -> None:
    """Serve until interrupted."""
    uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listener])


def own_pages_only(port: int) -> TransportSecuritySettings:
    """Return the settings of a server for browsers on this machine: only pages that it served itself may call it."""
    names = [f"{name}:{port}" for name in LOOPBACK]
    return TransportSecuritySettings(allowed_hosts=names, allowed_origins=[f"http://{name}" for name in names])


def _security(hosts: set[str]) -> TransportSecuritySettings:
    names = sorted(hosts)
    return TransportSecuritySettings(
        enable_dns_rebinding_protection=True,
        allowed_hosts=[*names, *(f"{name}:*" for name in names)],
        allowed_origins=[f"http://{name}{port}" for name in names for port in ("", ":*")],
    )
