"""The application: OpenAI's paths, errors in OpenAI's shape, and the life of the parts behind them."""

import errno
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException

from infra.model_server.errors import ApiError, InvalidRequestError, NotFoundError, QueueFullError, StorageFullError
from infra.model_server.middleware import Gate, error_body
from infra.model_server.routes_chat import chat_router
from infra.model_server.routes_files import files_router
from infra.model_server.routes_jobs import jobs_router
from infra.model_server.routes_models import models_router
from infra.model_server.services import build_services
from infra.model_server.settings import Settings

RETRY_AFTER = {"retry-after": "1"}


def build_app(settings: Settings) -> Gate:
    """Return the application; its parts start and stop with it."""
    services = build_services(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        services.start()
        yield
        if services.vllm is not None:
            await services.vllm.close()
        services.stop()

    # Only for the document: the key is checked in front of the application.
    secured = [] if settings.api_key is None else [Depends(HTTPBearer(auto_error=False))]
    app = FastAPI(title="Model server", version="1", lifespan=lifespan, dependencies=secured)
    for router in (files_router, jobs_router, models_router, chat_router):
        app.include_router(router(services), prefix="/v1")

    @app.get("/healthz")
    async def health() -> JSONResponse:
        """Say whether the server can train and answer."""
        alive = services.engines.is_alive() and services.runner.is_alive()
        return JSONResponse({"status": "ok" if alive else "failed"}, 200 if alive else 503)

    app.add_exception_handler(ApiError, _api_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(OSError, _storage_error)
    app.add_exception_handler(sqlite3.OperationalError, _storage_error)
    app.add_exception_handler(Exception, _unexpected_error)
    # Outside of the application, so that every answer passes it, those to unexpected errors included.
    return Gate(app, settings)


def _answer(error: ApiError) -> JSONResponse:
    headers = RETRY_AFTER if isinstance(error, QueueFullError) else None
    return JSONResponse(error_body(error), error.status, headers)


async def _api_error(_: Request, error: Exception) -> JSONResponse:
    return _answer(error) if isinstance(error, ApiError) else _answer(ApiError(str(error)))


async def _validation_error(_: Request, error: Exception) -> JSONResponse:
    problems: Sequence[Any] = error.errors() if isinstance(error, RequestValidationError) else []
    first = problems[0]
    param = _path(first["loc"])
    if first["type"] == "json_invalid":
        return _answer(InvalidRequestError("We could not parse the JSON body of your request."))
    if first["type"] == "missing":
        return _answer(InvalidRequestError(f"Missing required parameter: '{param}'.", param))
    if first["type"] == "extra_forbidden":
        return _answer(InvalidRequestError(f"Unrecognized request argument supplied: {param}", param))
    return _answer(InvalidRequestError(f"Invalid '{param}': {first['msg']}", param))


async def _http_error(request: Request, error: Exception) -> JSONResponse:
    status = error.status_code if isinstance(error, HTTPException) else 500
    if status == NotFoundError.status:
        return _answer(NotFoundError(f"Unknown request URL: {request.method} {request.url.path}."))
    kind = "invalid_request_error" if status < 500 else "server_error"
    detail = error.detail if isinstance(error, HTTPException) else str(error)
    body = {"error": {"message": detail, "type": kind, "param": None, "code": None}}
    headers = error.headers if isinstance(error, HTTPException) else None
    return JSONResponse(body, status, headers)


async def _storage_error(_: Request, error: Exception) -> JSONResponse:
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    if full or "full" in str(error):
        return _answer(StorageFullError("The disk of the server is full. Delete files or models that are not needed."))
    return _answer(ApiError(f"The server's storage failed: {error}"))


async def _unexpected_error(_: Request, error: Exception) -> JSONResponse:
    # The framework logs the traceback; the answer says no more than the client can use.
    return _answer(ApiError("The server had an error while processing your request. Its log says more."))


def _path(location: Sequence[str | int]) -> str:
    """Return where a request is wrong, as OpenAI writes it: `messages[0].content`."""
    path = ""
    for part in location[1:]:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path
