"""The life of a fine-tuning job, as values."""

from typing import Literal

from tasks.core.dataset import UploadedFile
from tasks.core.errors import TrainingFailedError
from tasks.core.provider import JobField
from tasks.core.record import Record, sha256_of

JobState = Literal["pending", "running", "paused", "succeeded", "failed", "cancelled", "unknown"]

# Provider words to ours. `pending` is Azure's; anything not listed is unknown and counts as unfinished.
JOB_STATES: dict[str, JobState] = {
    "pending": "pending",
    "validating_files": "pending",
    "queued": "pending",
    "running": "running",
    "paused": "paused",
    "pausing": "paused",
    "succeeded": "succeeded",
    "failed": "failed",
    "cancelled": "cancelled",
}
FINISHED: frozenset[JobState] = frozenset({"succeeded", "failed", "cancelled"})


class TrainingJob(Record):
    """A fine-tuning job as last read from the provider; `job_key` ties it to its inputs."""

    job_id: str
    job_key: str
    provider: str
    base_model: str
    state: JobState
    provider_state: str
    model_id: str | None = None
    failure: str | None = None
    trained_tokens: int | None = None
    created_at: int | None = None
    finished_at: int | None = None
    result_file_ids: tuple[str, ...] = ()


class TrainingMetric(Record):
    """One step of training. Losses are mean cross-entropy a token, accuracies shares of tokens."""

    step: int
    train_loss: float | None = None
    train_mean_token_accuracy: float | None = None
    valid_loss: float | None = None
    valid_mean_token_accuracy: float | None = None
    full_valid_loss: float | None = None
    full_valid_mean_token_accuracy: float | None = None


class TrainingRequest(Record):
    """All that a job is made from; two requests with the same key must never be paid for twice.

    `base_version` tells apart two base models that had the same name at different times. `training_type` is the tier
    to train in, where the provider has tiers, and `leave_out` what its server refuses in a job's creation.
    """

    base_model: str
    base_version: str
    train: UploadedFile
    valid: UploadedFile | None
    hyperparameters: dict[str, int | float | str]
    seed: int
    suffix: str
    provider: str
    method: Literal["supervised"] = "supervised"
    training_type: str | None = None
    leave_out: frozenset[JobField] = frozenset()

    def key(self) -> str:
        """Return the job key. File ids, suffix and tier are left out: they do not change what is learned."""
        return job_key(
            train_sha256=self.train.sha256,
            valid_sha256=self.valid.sha256 if self.valid else None,
            base_model=f"{self.base_model}@{self.base_version}",
            method=self.method,
            hyperparameters=dict(self.hyperparameters),
            seed=self.seed,
            provider=self.provider,
        )


def job_key(
    *,
    train_sha256: str,
    valid_sha256: str | None,
    base_model: str,
    method: str,
    hyperparameters: dict[str, object],
    seed: int,
    provider: str,
) -> str:
    """Return the key that is equal for two jobs exactly when all their inputs are."""
    return sha256_of([train_sha256, valid_sha256, base_model, method, hyperparameters, seed, provider])


def finished_model_id(job: TrainingJob) -> str | None:
    """Return the trained model's id, or None while the job is unfinished.

    Raises:
        TrainingFailedError: The job ended without a model.
    """
    if job.state not in FINISHED:
        return None
    if job.state == "succeeded" and job.model_id:
        return job.model_id
    raise TrainingFailedError(
        f"Job {job.job_id} ended as {job.provider_state!r} without a model: {job.failure or 'no reason given'}."
    )
