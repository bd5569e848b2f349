"""Starts a fine-tuning job exactly once: a job that is there already is adopted, never paid for again."""

import time
from collections.abc import Callable, Set
from pathlib import Path
from typing import Any

import openai
from openai import Omit, OpenAI, omit
from openai.types.fine_tuning import FineTuningJob

from tasks.core.config import TrainingConfig
from tasks.core.dataset import UploadedFile
from tasks.core.endpoints import ProviderConfig
from tasks.core.errors import ProviderError, ProviderUnavailableError
from tasks.core.provider import JobField
from tasks.core.training import FINISHED, JOB_STATES, TrainingJob, TrainingRequest
from tasks.files import write_atomically
from tasks.ledger import Ledger
from tasks.provider_errors import may_have_acted, translated

KEY_IN_METADATA = "zava_job_key"
PAGE = 100
# After an answer was lost, a provider may list the new job only a little later. Seconds before each look.
LOOKS = (0.0, 1.0, 2.0, 4.0)


def request_of(
    provider: ProviderConfig,
    config: TrainingConfig,
    train: UploadedFile,
    valid: UploadedFile | None,
    *,
    base_version: str,
) -> TrainingRequest:
    """Return what a job would be made from. `auto` values are left out: the provider chooses."""
    chosen = {
        "n_epochs": config.n_epochs,
        "batch_size": config.batch_size,
        "learning_rate_multiplier": config.learning_rate_multiplier,
    }
    return TrainingRequest(
        base_model=config.base_model,
        base_version=base_version,
        train=train,
        valid=valid,
        hyperparameters={name: value for name, value in chosen.items() if value != "auto"},
        seed=config.seed,
        suffix=config.suffix,
        provider=provider.place,
        training_type=provider.azure.training_type if provider.azure else None,
        leave_out=provider.leave_out,
    )


def version_of(client: OpenAI, model_id: str) -> str:
    """Return what tells this model from an earlier one of the same name: when the provider says it was created.

    Raises:
        ProviderUnavailableError: The provider does not answer.
        ProviderError: There is no such model.
    """
    with translated(client, f"use model {model_id!r}"):
        return str(client.models.retrieve(model_id).created or "")


def start_job(
    client: OpenAI,
    request: TrainingRequest,
    ledger: Ledger,
    *,
    run_id: str | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> tuple[TrainingJob, bool]:
    """Return the job of this request and whether it was adopted; create it only where none lives or succeeded.

    Raises:
        ProviderUnavailableError: The provider does not answer, or it is unclear whether it acted: try again.
        ProviderError: The provider refuses the job.
    """
    key = request.key()
    with ledger.locked(key):
        entry = ledger.read(key)
        taken = ledger.job_ids_of_others(key)
        if entry and entry.job_id is None:
            job = _look_again(client, request, taken, sleep)
        else:
            # A list may lag behind, so the job that is known by its id is asked for first.
            known = known_job(client, entry.job_id, key) if entry and entry.job_id else None
            job = known if known and _is_usable(client, known) else find_job(client, request, taken)
        adopted = job is not None
        if job is None:
            ledger.write(key, job_id=None, run_id=run_id, request=request)
            job = _create_job(client, request, taken, sleep)
        ledger.write(key, job_id=job.job_id, run_id=run_id, request=request)
    return job, adopted


def find_job(client: OpenAI, request: TrainingRequest, taken: Set[str] = frozenset()) -> TrainingJob | None:
    """Return the succeeded or else the living job of this request, or None. `taken` are the jobs of other requests.

    A provider may drop a job's metadata, and the key with it; then what the job is made from tells.
    """
    key = request.key()
    with translated(client, "list the fine-tuning jobs"):
        # A provider may not know the filter, so each job's own metadata is looked at too.
        asked: dict[str, str] | Omit = omit if "metadata" in request.leave_out else {KEY_IN_METADATA: key}
        listed = [
            job
            for job in client.fine_tuning.jobs.list(metadata=asked, limit=PAGE)
            if (job.metadata or {}).get(KEY_IN_METADATA) == key
            or (not job.metadata and job.id not in taken and is_made_from(job, request))
        ]
    jobs = sorted((to_record(job, key) for job in listed), key=lambda job: job.created_at or 0)
    succeeded = (job for job in jobs if job.state == "succeeded" and _is_usable(client, job))
    return next(succeeded, None) or next((job for job in jobs if job.state not in FINISHED), None)


def known_job(client: OpenAI, job_id: str, key: str) -> TrainingJob | None:
    """Return a job as it is now, or None where the provider does not know it.

    Raises:
        ProviderUnavailableError: The provider does not answer.
    """
    with translated(client, f"read fine-tuning job {job_id}"):
        try:
            return to_record(client.fine_tuning.jobs.retrieve(job_id), key)
        except openai.NotFoundError:
            return None


def _is_usable(client: OpenAI, job: TrainingJob) -> bool:
    """Will the job have a model, or does its model still answer?"""
    if job.state not in FINISHED:
        return True
    return job.state == "succeeded" and job.model_id is not None and _is_served(client, job.model_id)


def is_made_from(job: FineTuningJob, request: TrainingRequest) -> bool:
    """Is a job made from these files, base, seed and settings? What it does not tell counts as equal."""
    told = _told(job)
    valid = request.valid.file_id if request.valid else None
    if (told.get("training_file"), told.get("validation_file")) != (request.train.file_id, valid):
        return False
    supervised = (told.get("method") or {}).get("supervised") or {}
    settings = {**(supervised.get("hyperparameters") or told.get("hyperparameters") or {}), **told}
    wanted = {"model": request.base_model, "seed": request.seed, **request.hyperparameters}
    return all(settings.get(name) in (None, value) for name, value in wanted.items())


def _told(job: FineTuningJob) -> dict[str, Any]:
    """Return what a provider's answer really holds: the client's types promise fields that some leave out."""
    return dict(job.to_dict(warnings=False))


def _is_served(client: OpenAI, model_id: str) -> bool:
    with translated(client, f"look for model {model_id!r}"):
        try:
            client.models.retrieve(model_id)
        except openai.NotFoundError:
            return False
    return True


def _create_job(
    client: OpenAI, request: TrainingRequest, taken: Set[str], sleep: Callable[[float], None]
) -> TrainingJob:
    with translated(client, f"create a fine-tuning job on {request.base_model!r}"):
        try:
            created = _send(client, request)
        except openai.PermissionDeniedError as error:
            raise ProviderError(_not_allowed(request, error)) from error
        except openai.APIError as error:
            if not may_have_acted(error):
                raise
            job = _look_again(client, request, taken, sleep)
            if job is None:
                raise
            return job
    return to_record(created, request.key())


def _not_allowed(request: TrainingRequest, error: openai.PermissionDeniedError) -> str:
    told = f"Cannot create a fine-tuning job on {request.base_model!r}: not allowed (403): {error.message}"
    if request.provider.startswith("openai"):
        # OpenAI closed the platform to new organisations in May 2026; it answers them with 403.
        way_out = "This organisation can no longer create fine-tuning jobs on OpenAI; use provider local, azure or"
        return f"{told} {way_out} compatible."
    return f"{told} The key, or the role behind it, may not train models there."


def _send(client: OpenAI, request: TrainingRequest) -> FineTuningJob:
    # The one call that is never repeated by the client: it sends no idempotency key, so a repeat could be paid twice.
    create = client.with_options(max_retries=0).fine_tuning.jobs.create
    metadata = {KEY_IN_METADATA: request.key(), "zava_train_sha256": request.train.sha256}
    chosen = {"hyperparameters": dict(request.hyperparameters)}
    fields: dict[JobField, Any] = {
        "metadata": metadata,
        "seed": request.seed,
        "suffix": request.suffix,
        "method": {"type": "supervised", "supervised": chosen},
    }
    extra: dict[str, Any] = {"trainingType": request.training_type} if request.training_type else {}
    extra |= chosen if "method" in request.leave_out else {}
    return create(
        model=request.base_model,
        training_file=request.train.file_id,
        validation_file=request.valid.file_id if request.valid else None,
        **{name: value for name, value in fields.items() if name not in request.leave_out},
        extra_body=extra or None,
    )


def _look_again(
    client: OpenAI, request: TrainingRequest, taken: Set[str], sleep: Callable[[float], None]
) -> TrainingJob | None:
    for pause in LOOKS:
        if pause:
            sleep(pause)
        if job := find_job(client, request, taken):
            return job
    return None


def read_job(client: OpenAI, job_id: str, key: str) -> TrainingJob:
    """Return the job as it is now.

    Raises:
        ProviderUnavailableError: The provider does not answer.
        ProviderError: The provider does not know the job.
    """
    with translated(client, f"read fine-tuning job {job_id}"):
        return to_record(client.fine_tuning.jobs.retrieve(job_id), key)


def cancel_job(client: OpenAI, job_id: str, key: str) -> TrainingJob:
    """Ask the provider to cancel a job, and return it as it is then: it may have ended just before.

    Raises:
        ProviderUnavailableError: The provider does not answer; the job may go on and cost.
    """
    try:
        with translated(client, f"cancel fine-tuning job {job_id}"):
            try:
                return to_record(client.fine_tuning.jobs.cancel(job_id), key)
            except openai.BadRequestError:
                return read_job(client, job_id, key)
    except ProviderUnavailableError as error:
        raise ProviderUnavailableError(f"{error} The job may go on and cost: cancel it by hand.") from error


def download_results(client: OpenAI, job: TrainingJob, folder: Path) -> list[Path]:
    """Write the files that a job made, such as its metrics by step as CSV, into a folder; return them.

    Raises:
        ProviderUnavailableError: The provider does not answer.
        DataError: The folder cannot be written.
    """
    paths = []
    for file_id in job.result_file_ids:
        with translated(client, f"read result file {file_id}"):
            content = client.files.content(file_id).read()
        paths.append(folder / f"{file_id}.csv")
        write_atomically(paths[-1], content)
    return paths


def to_record(job: FineTuningJob, key: str) -> TrainingJob:
    """Read a provider's job; null and unknown fields are allowed, and an unknown state is not an end."""
    told = _told(job)
    provider_state = str(told.get("status"))
    error = told.get("error") or {}
    return TrainingJob(
        job_id=job.id,
        job_key=key,
        provider=str(told.get("organization_id") or ""),
        base_model=str(told.get("model") or ""),
        state=JOB_STATES.get(provider_state, "unknown"),
        provider_state=provider_state,
        model_id=told.get("fine_tuned_model"),
        failure=error.get("message") or error.get("code"),
        trained_tokens=told.get("trained_tokens"),
        created_at=told.get("created_at"),
        finished_at=told.get("finished_at"),
        result_file_ids=tuple(told.get("result_files") or ()),
    )
