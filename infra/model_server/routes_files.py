"""The routes below /v1/files."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import FileResponse
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile

from infra.model_server import documents
from infra.model_server.errors import InvalidRequestError, UnsupportedError
from infra.model_server.services import Services


def files_router(services: Services) -> APIRouter:
    """Return the routes over `services.files`."""
    router = APIRouter(tags=["files"], responses=documents.ERRORS)
    files = services.files

    @router.post("/files", openapi_extra=documents.UPLOAD, **documents.FILE)
    async def create(request: Request) -> dict[str, Any]:
        """Store an upload; a fine-tuning file is checked line by line."""
        async with request.form(max_files=1, max_fields=10) as form:
            upload, purpose = _fields(form)
            return await run_in_threadpool(files.add, upload.file, upload.filename or "upload", purpose)

    @router.get("/files", **documents.FILES)
    def page(
        after: str | None = None,
        limit: Annotated[int, Query(ge=1, le=10_000)] = 10_000,
        order: Literal["asc", "desc"] = "desc",
        purpose: str | None = None,
    ) -> dict[str, Any]:
        """List files."""
        return files.page(after=after, limit=limit, purpose=purpose, ascending=order == "asc")

    @router.get("/files/{file_id}", **documents.FILE)
    def retrieve(file_id: str) -> dict[str, Any]:
        """Describe a file."""
        return files.get(file_id)

    @router.get("/files/{file_id}/content", response_class=FileResponse, **documents.CONTENT)
    def content(file_id: str) -> FileResponse:
        """Return a file's bytes."""
        name = files.get(file_id)["filename"]
        return FileResponse(files.content(file_id), media_type="application/octet-stream", filename=name)

    @router.delete("/files/{file_id}", **documents.FILE_DELETED)
    def delete(file_id: str) -> dict[str, Any]:
        """Delete a file."""
        return files.delete(file_id)

    return router


def _fields(form: FormData) -> tuple[UploadFile, str]:
    upload, purpose = form.get("file"), form.get("purpose")
    if not isinstance(upload, UploadFile):
        raise InvalidRequestError("Missing required parameter: 'file'.", "file")
    if not isinstance(purpose, str):
        raise InvalidRequestError("Missing required parameter: 'purpose'.", "purpose")
    if others := set(form) - {"file", "purpose"}:
        other = min(others)
        raise UnsupportedError(f"This server does not support {other!r}.", other)
    return upload, purpose
