"""Starts a fine-tuning job exactly once: a job that is there already is adopted, never paid for again."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

import openai
from openai import OpenAI
from openai.types.fine_tuning import FineTuningJob
from openai.types.fine_tuning.job_create_params import Method

from tasks.core.config import ProviderConfig, TrainingConfig
from tasks.core.dataset import UploadedFile
from tasks.core.errors import ProviderUnavailableError
from tasks.core.training import FINISHED, JOB_STATES, TrainingJob, TrainingRequest
from tasks.files import write_atomically
from tasks.ledger import Ledger
from tasks.provider_errors import may_have_acted, translated

KEY_IN_METADATA = "zava_job_key"
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
        # A local server may move to another port and is still the same.
        provider=provider.kind if provider.kind == "local" else f"{provider.kind}:{provider.base_url or ''}",
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
        begun = entry is not None and entry.job_id is None
        job = _look_again(client, key, sleep) if begun else find_job(client, key)
        adopted = job is not None
        if job is None:
            ledger.write(key, job_id=None, run_id=run_id)
            job = _create_job(client, request, key, sleep)
        ledger.write(key, job_id=job.job_id, run_id=run_id)
    return job, adopted


def find_job(client: OpenAI, key: str) -> TrainingJob | None:
    """Return the succeeded or else the living job that carries this key, or None."""
    with translated(client, "list the fine-tuning jobs"):
        # A provider may not know the filter, so each job's own metadata is looked at too.
        listed = [
            job
            for job in client.fine_tuning.jobs.list(metadata={KEY_IN_METADATA: key}, limit=100)
            if (job.metadata or {}).get(KEY_IN_METADATA) == key
        ]
    jobs = [to_record(job, key) for job in sorted(listed, key=lambda job: job.created_at or 0)]
    for job in jobs:
        if job.state == "succeeded" and job.model_id and _is_served(client, job.model_id):
            return job
    return next((job for job in jobs if job.state not in FINISHED), None)


def _is_served(client: OpenAI, model_id: str) -> bool:
    with translated(client, f"look for model {model_id!r}"):
        try:
            client.models.retrieve(model_id)
        except openai.NotFoundError:
            return False
    return True


def _create_job(client: OpenAI, request: TrainingRequest, key: str, sleep: Callable[[float], None]) -> TrainingJob:
    with translated(client, f"create a fine-tuning job on {request.base_model!r}"):
        try:
            created = _send(client, request, key)
        except openai.APIError as error:
            if not may_have_acted(error):
                raise
            job = _look_again(client, key, sleep)
            if job is None:
                raise
            return job
    return to_record(created, key)


def _send(client: OpenAI, request: TrainingRequest, key: str) -> FineTuningJob:
    # The one call that is never repeated by the client: it sends no idempotency key, so a repeat could be paid twice.
    return client.with_options(max_retries=0).fine_tuning.jobs.create(
        model=request.base_model,
        training_file=request.train.file_id,
        validation_file=request.valid.file_id if request.valid else None,
        suffix=request.suffix,
        seed=request.seed,
        metadata={KEY_IN_METADATA: key, "zava_train_sha256": request.train.sha256},
        method=cast(Method, {"type": "supervised", "supervised": {"hyperparameters": dict(request.hyperparameters)}}),
    )


def _look_again(client: OpenAI, key: str, sleep: Callable[[float], None]) -> TrainingJob | None:
    for pause in LOOKS:
        if pause:
            sleep(pause)
        if job := find_job(client, key):
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
    provider_state = str(job.status)
    return TrainingJob(
        job_id=job.id,
        job_key=key,
        provider=str(job.organization_id or ""),
        base_model=job.model,
        state=JOB_STATES.get(provider_state, "unknown"),
        provider_state=provider_state,
        model_id=job.fine_tuned_model,
        failure=(job.error.message or job.error.code) if job.error else None,
        trained_tokens=job.trained_tokens,
        created_at=job.created_at,
        finished_at=job.finished_at,
        result_file_ids=tuple(job.result_files or ()),
    )
