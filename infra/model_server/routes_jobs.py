"""The routes below /v1/fine_tuning."""

import re
import secrets
import shutil
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from infra.model_server import documents
from infra.model_server.dataset_validation import is_preference_file
from infra.model_server.errors import InvalidRequestError, NotFoundError
from infra.model_server.jobs import NewJob, new_job_id
from infra.model_server.progress import (
    TRAINING_NAME,
    VALIDATION_NAME,
    Choosable,
    Hyperparameters,
    PreferenceHyperparameters,
)
from infra.model_server.schemas import HyperparameterChoice, JobRequest, PreferenceChoice
from infra.model_server.services import Services

PATH = "/fine_tuning/jobs"
Limit = Annotated[int, Query(ge=1, le=100)]


def jobs_router(services: Services) -> APIRouter:
    """Return the routes over `services.jobs`."""
    router = APIRouter(tags=["fine_tuning"], responses=documents.ERRORS)
    jobs, runner = services.jobs, services.runner

    @router.post(PATH, **documents.JOB)
    def create(body: JobRequest) -> dict[str, Any]:
        """Queue a fine-tuning job."""
        job = _create(services, body)
        runner.wake()
        return job

    @router.get(PATH, openapi_extra=documents.METADATA_FILTER, **documents.JOBS)
    def page(request: Request, after: str | None = None, limit: Limit = 20) -> dict[str, Any]:
        """List jobs, newest first; `metadata[key]=value` filters."""
        found = (re.fullmatch(r"metadata\[(.*)\]", name) for name in request.query_params)
        wanted = {match[1]: request.query_params[match[0]] for match in found if match}
        return jobs.page(after=after, limit=limit, metadata=wanted)

    @router.get(PATH + "/{job_id}", **documents.JOB)
    def retrieve(job_id: str) -> dict[str, Any]:
        """Describe a job."""
        return jobs.get(job_id)

    @router.get(PATH + "/{job_id}/events", **documents.EVENTS)
    def events(job_id: str, after: str | None = None, limit: Limit = 20) -> dict[str, Any]:
        """List a job's events, newest first."""
        return jobs.events(job_id, after=after, limit=limit)

    @router.get(PATH + "/{job_id}/checkpoints", **documents.CHECKPOINTS)
    def checkpoints(job_id: str, after: str | None = None, limit: Limit = 10) -> dict[str, Any]:
        """List a job's checkpoints, newest first."""
        return jobs.checkpoints(job_id, after=after, limit=limit)

    _add_moves(router, services)
    return router


def _add_moves(router: APIRouter, services: Services) -> None:
    jobs, runner = services.jobs, services.runner

    @router.post(PATH + "/{job_id}/cancel", **documents.JOB)
    def cancel(job_id: str) -> dict[str, Any]:
        """Cancel a job."""
        job = jobs.cancel(job_id)
        runner.wake()
        return job

    @router.post(PATH + "/{job_id}/pause", **documents.JOB)
    def pause(job_id: str) -> dict[str, Any]:
        """Pause a job; a running one saves where it is."""
        job = jobs.pause(job_id)
        runner.wake()
        return job

    @router.post(PATH + "/{job_id}/resume", **documents.JOB)
    def resume(job_id: str) -> dict[str, Any]:
        """Let a paused job go on."""
        job = jobs.resume(job_id)
        runner.wake()
        return job


def _create(services: Services, body: JobRequest) -> dict[str, Any]:
    services.registry.get(body.model)
    chosen = _hyperparameters(body)
    training = _data_file(services, body.training_file, "training_file", chosen)
    validation = None
    if body.validation_file is not None:
        validation = _data_file(services, body.validation_file, "validation_file", chosen)
    new = NewJob(
        model=body.model,
        training_file=body.training_file,
        validation_file=body.validation_file,
        suffix=body.suffix,
        seed=secrets.randbelow(2**31) if body.seed is None else body.seed,
        hyperparameters=chosen,
        metadata=body.metadata,
    )
    job_id = new_job_id()
    folder = services.settings.jobs / job_id
    folder.mkdir(parents=True)
    try:
        _keep(training, folder / TRAINING_NAME)
        if validation is not None:
            _keep(validation, folder / VALIDATION_NAME)
        return services.jobs.create(new, job_id=job_id, most_waiting=services.settings.max_queued_jobs)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _data_file(services: Services, file_id: str, param: str, chosen: Choosable) -> Path:
    try:
        file = services.files.get(file_id)
    except NotFoundError:
        raise InvalidRequestError(f"File with id {file_id!r} not found.", param) from None
    if file["purpose"] != "fine-tune":
        raise InvalidRequestError(f"File {file_id!r} has purpose {file['purpose']!r}, not 'fine-tune'.", param)
    if file["status"] != "processed":
        raise InvalidRequestError(f"File {file_id!r} is not valid: {file['status_details']}", param)
    content = services.files.content(file_id)
    preference = isinstance(chosen, PreferenceHyperparameters)
    if is_preference_file(content) != preference:
        wanted = "'input', 'preferred_output' and 'non_preferred_output'" if preference else "'messages'"
        method = "dpo" if preference else "supervised"
        raise InvalidRequestError(
            f"The rows of file {file_id!r} do not fit method {method!r}: it needs {wanted}.", param
        )
    return content


def _keep(content: Path, target: Path) -> None:
    """Give a job its own link to a file's content, so that the file may be deleted while the job waits."""
    try:
        target.hardlink_to(content)
    except OSError:
        # Not every file system has links.
        shutil.copyfile(content, target)


def _hyperparameters(body: JobRequest) -> Choosable:
    method = body.method
    chosen: HyperparameterChoice = body.hyperparameters or HyperparameterChoice()
    if method is not None and method.type == "dpo":
        preference = method.dpo.hyperparameters if method.dpo else None
        chosen = preference or PreferenceChoice(**chosen.model_dump())
    elif method is not None and method.supervised is not None:
        chosen = method.supervised.hyperparameters or chosen
    kind = PreferenceHyperparameters if isinstance(chosen, PreferenceChoice) else Hyperparameters
    return kind(**{name: "auto" if value is None else value for name, value in chosen})
