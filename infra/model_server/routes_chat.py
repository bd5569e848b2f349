"""The route /v1/chat/completions."""

import asyncio
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response

from infra.model_server import documents
from infra.model_server.chat import Chat, forwarded
from infra.model_server.schemas import ChatRequest
from infra.model_server.services import Services
from infra.model_server.streaming import ChatStream


def chat_router(services: Services) -> APIRouter:
    """Return the route over `services.engines`."""
    router = APIRouter(tags=["chat"], responses=documents.ERRORS)
    # Held in the event loop, so that requests which wait for a model to load do not occupy a thread each.
    loading = asyncio.Lock()

    @router.post("/chat/completions", **documents.COMPLETION)
    async def create(request: Request, body: ChatRequest) -> Response:
        """Answer a conversation."""
        entry = await run_in_threadpool(services.registry.get, body.model)
        vllm = services.vllm
        if vllm is not None and await run_in_threadpool(vllm.serves, entry):
            async with loading:
                address = await run_in_threadpool(vllm.ready, entry)
            if body.stream:
                return StreamingResponse(await vllm.events(address, forwarded(body)), media_type="text/event-stream")
            return JSONResponse(await vllm.completion(address, forwarded(body)))
        loaded = services.pool.ready(entry)
        if loaded is None:
            async with loading:
                loaded = await run_in_threadpool(services.pool.get, entry)
        chat = Chat(body, loaded, services.engines)
        if body.stream:
            stream = ChatStream(chat)
            await stream.start()
            return StreamingResponse(stream.events(), media_type="text/event-stream")
        await chat.start()
        return JSONResponse(await _unless_gone(request, chat))

    return router


async def _unless_gone(request: Request, chat: Chat) -> dict[str, Any]:
    """Return the completion; if the client goes away meanwhile, the engine stops working on it."""
    answer = asyncio.create_task(chat.completion())
    # All of the body was received, so what comes next is that the client has gone.
    gone = asyncio.ensure_future(request.receive())
    await asyncio.wait([answer, gone], return_when=asyncio.FIRST_COMPLETED)
    if answer.done():
        gone.cancel()
    else:
        chat.cancel()
    return await answer
