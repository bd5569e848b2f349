"""The receiver of providers' messages: `POST /hooks/provider`, signed, small, and told from forgeries and repeats."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tasks.core.errors import ProviderError
from tasks.webhook import Bells

LARGEST_BODY = 64 * 1024


def receiver(bells: Bells, secret: str) -> Starlette:
    """Return the application; what rings no bell is accepted all the same, since providers repeat what is refused."""

    async def receive(request: Request) -> Response:
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > LARGEST_BODY:
                return JSONResponse({"error": f"A message has at most {LARGEST_BODY} bytes."}, status_code=413)
        try:
            job_id = bells.accept(body, request.headers, secret)
        except ProviderError as error:
            return JSONResponse({"error": str(error)}, status_code=401)
        return JSONResponse({"job": job_id}, status_code=202)

    async def healthz(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    return Starlette(routes=[Route("/hooks/provider", receive, methods=["POST"]), Route("/healthz", healthz)])
