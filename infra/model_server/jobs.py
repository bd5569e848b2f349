"""Fine-tuning jobs in the database: what the API reads, and the moves from state to state."""

import hashlib
import json
import sqlite3
import time
from typing import Any, NamedTuple

from infra.model_server.database import Database, new_id
from infra.model_server.errors import InvalidRequestError, NotFoundError, QueueFullError
from infra.model_server.progress import Choosable, Hyperparameters, PreferenceHyperparameters
from infra.model_server.registry import insert_model
from infra.model_server.webhooks import queue_delivery

ORGANIZATION = "org-local"
WAITING = "('validating_files', 'queued', 'paused')"
UNFINISHED = "('validating_files', 'queued', 'running', 'paused')"


class NewJob(NamedTuple):
    """What a user asked for, checked."""

    model: str
    training_file: str
    validation_file: str | None
    suffix: str | None
    seed: int
    hyperparameters: Choosable
    metadata: dict[str, str] | None


class JobStore:
    """The jobs, their events, metrics and checkpoints."""

    def __init__(self, database: Database, *, notifies: bool = False) -> None:
        """Keep jobs in `database`; with `notifies`, the end of each is queued for delivery to a webhook."""
        self._database = database
        self._notifies = notifies

    def create(self, new: NewJob, *, job_id: str, most_waiting: int) -> dict[str, Any]:
        """Queue a job and return it.

        Raises:
            QueueFullError: if `most_waiting` jobs wait already.
        """
        values = (
            job_id, int(time.time()), "queued", new.model, new.training_file, new.validation_file, new.suffix, new.seed,
            new.hyperparameters.model_dump_json(), None if new.metadata is None else json.dumps(new.metadata),
            "dpo" if isinstance(new.hyperparameters, PreferenceHyperparameters) else "supervised",
        )  # fmt: skip
        columns = (
            "id, created_at, status, model, training_file, validation_file, suffix, seed, hyperparameters, metadata,"
            " method"
        )
        with self._database.transaction() as connection:
            waiting = connection.execute(f"SELECT count(*) FROM jobs WHERE status IN {WAITING}").fetchone()[0]
            if waiting >= most_waiting:
                raise QueueFullError(f"{waiting} jobs wait already. Try again when one has ended.")
            connection.execute(f"INSERT INTO jobs ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
            add_event(connection, job_id, "created", f"Created fine-tuning job: {job_id}")
            add_event(connection, job_id, "validated", "Files validated, moving job to queued state")
        return self.get(job_id)

    def get(self, job_id: str) -> dict[str, Any]:
        """Return a job in the OpenAI shape, or raise NotFoundError."""
        return job_object(self.row(job_id))

    def row(self, job_id: str) -> sqlite3.Row:
        """Return a job's row, or raise NotFoundError."""
        row = self._database.row("SELECT * FROM jobs WHERE id = ?", (job_id,))
        if row is None:
            raise NotFoundError(f"Could not find fine-tune job: {job_id}", "fine_tuning_job_id")
        return row

    def page(self, *, after: str | None, limit: int, metadata: dict[str, str]) -> dict[str, Any]:
        """Return one page of jobs, newest first, that carry all of `metadata`."""
        before = self.row(after)["seq"] if after else None
        where, values = "1", []
        for key, value in metadata.items():
            where += " AND EXISTS (SELECT 1 FROM json_each(jobs.metadata) AS m WHERE m.key = ? AND m.value = ?)"
            values += [key, value]
        rows, more = self._database.page("jobs", where, values, before=before, limit=limit)
        return {"object": "list", "data": [job_object(row) for row in rows], "has_more": more}

    def events(self, job_id: str, *, after: str | None, limit: int) -> dict[str, Any]:
        """Return one page of a job's events, newest first."""
        self.row(job_id)
        before = self._seq_of("events", after, job_id)
        rows, more = self._database.page("events", "job_id = ?", [job_id], before=before, limit=limit)
        return {"object": "list", "data": [_event_object(row) for row in rows], "has_more": more}

    def checkpoints(self, job_id: str, *, after: str | None, limit: int) -> dict[str, Any]:
        """Return one page of a job's checkpoints, newest first."""
        self.row(job_id)
        before = self._seq_of("checkpoints", after, job_id)
        rows, more = self._database.page("checkpoints", "job_id = ?", [job_id], before=before, limit=limit)
        data = [self._checkpoint_object(row) for row in rows]
        ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"]} if data else {"first_id": None, "last_id": None}
        return {"object": "list", "data": data, "has_more": more, **ends}

    def metrics(self, job_id: str) -> list[tuple[int, dict[str, float]]]:
        """Return the figures of a job's steps, in order."""
        rows = self._database.rows("SELECT step, data FROM metrics WHERE job_id = ? ORDER BY step", (job_id,))
        return [(row["step"], json.loads(row["data"])) for row in rows]

    def next_queued(self) -> sqlite3.Row | None:
        """Return the job that has waited longest."""
        return self._database.row("SELECT * FROM jobs WHERE status = 'queued' ORDER BY seq LIMIT 1")

    def running(self) -> list[sqlite3.Row]:
        """Return the jobs that are marked as running."""
        return self._database.rows("SELECT * FROM jobs WHERE status = 'running' ORDER BY seq")

    def status(self, job_id: str) -> str:
        """Return a job's state."""
        return str(self.row(job_id)["status"])

    def start(self, job_id: str) -> bool:
        """Move a job from queued to running; False if it is queued no more."""
        with self._database.transaction() as connection:
            sql = "UPDATE jobs SET status = 'running', starts = starts + 1, started_at = ? WHERE id = ? AND status = ?"
            moved = connection.execute(sql, (time.time(), job_id, "queued")).rowcount == 1
            if moved:
                add_event(connection, job_id, "started", "Fine-tuning job started")
        return moved

    def requeue(self, job_id: str, reason: str) -> None:
        """Move a running job back to the queue."""
        with self._database.transaction() as connection:
            sql = "UPDATE jobs SET status = 'queued', estimated_finish = NULL WHERE id = ? AND status = 'running'"
            if connection.execute(sql, (job_id,)).rowcount:
                starts = connection.execute("SELECT starts FROM jobs WHERE id = ?", (job_id,)).fetchone()[0]
                add_event(connection, job_id, f"requeued:{starts}", reason, level="warn")

    def pause(self, job_id: str) -> dict[str, Any]:
        """Keep a waiting job from starting, or have a running one stop where it is; again has no effect.

        Raises:
            InvalidRequestError: if the job has ended.
        """
        with self._database.transaction() as connection:
            sql = (
                "UPDATE jobs SET status = 'paused', estimated_finish = NULL"
                " WHERE id = ? AND status IN ('validating_files', 'queued', 'running')"
            )
            if connection.execute(sql, (job_id,)).rowcount:
                add_event(connection, job_id, new_id("paused:"), "Fine-tuning job paused")
        return self._unless_ended(job_id, "paused")

    def resume(self, job_id: str) -> dict[str, Any]:
        """Put a paused job back into the queue; one that waits or runs already goes on.

        Raises:
            InvalidRequestError: if the job has ended.
        """
        with self._database.transaction() as connection:
            sql = "UPDATE jobs SET status = 'queued' WHERE id = ? AND status = 'paused'"
            if connection.execute(sql, (job_id,)).rowcount:
                add_event(connection, job_id, new_id("resumed:"), "Fine-tuning job resumed")
        return self._unless_ended(job_id, "resumed")

    def cancel(self, job_id: str) -> dict[str, Any]:
        """Cancel a job that has not ended; cancelling a cancelled one has no effect.

        Raises:
            InvalidRequestError: if the job succeeded or failed.
        """
        with self._database.transaction() as connection:
            if self._end(connection, job_id, "cancelled", UNFINISHED):
                add_event(connection, job_id, "cancelled", "Fine-tuning job cancelled")
        status = self.status(job_id)
        if status != "cancelled":
            raise InvalidRequestError(f"Job {job_id} has {status} already and cannot be cancelled.")
        return self.get(job_id)

    def fail(self, job_id: str, code: str, message: str) -> None:
        """End an unfinished job with a reason."""
        with self._database.transaction() as connection:
            if self._end(connection, job_id, "failed", UNFINISHED):
                error = json.dumps({"code": code, "message": message, "param": _param_of(code)})
                connection.execute("UPDATE jobs SET error = ? WHERE id = ?", (error, job_id))
                add_event(connection, job_id, "failed", f"The job failed: {message}", level="error")

    def succeed(self, job_id: str, *, model_id: str, folder: str, base: str, tokens: int, result_file: str) -> bool:
        """End a job with its model; False if it has ended otherwise (then the model is not listed)."""
        with self._database.transaction() as connection:
            if not self._end(connection, job_id, "succeeded", UNFINISHED):
                return False
            sql = "UPDATE jobs SET fine_tuned_model = ?, trained_tokens = ?, result_files = ? WHERE id = ?"
            connection.execute(sql, (model_id, tokens, json.dumps([result_file]), job_id))
            insert_model(connection, model_id=model_id, folder=folder, base=base, job_id=job_id)
            add_event(connection, job_id, "model", f"New fine-tuned model created: {model_id}")
            add_event(connection, job_id, "succeeded", "The job has successfully completed")
        return True

    def _end(self, connection: sqlite3.Connection, job_id: str, status: str, allowed: str) -> bool:
        sql = (
            f"UPDATE jobs SET status = ?, finished_at = ?, estimated_finish = NULL WHERE id = ? AND status IN {allowed}"
        )
        ended = connection.execute(sql, (status, int(time.time()), job_id)).rowcount == 1
        if ended and self._notifies:
            queue_delivery(connection, f"fine_tuning.job.{status}", job_id)
        return ended

    def _unless_ended(self, job_id: str, what: str) -> dict[str, Any]:
        job = self.get(job_id)
        if job["finished_at"] is not None:
            raise InvalidRequestError(f"Job {job_id} has {job['status']} already and cannot be {what}.")
        return job

    def _seq_of(self, table: str, item_id: str | None, job_id: str) -> int | None:
        if item_id is None:
            return None
        row = self._database.row(f"SELECT seq FROM {table} WHERE id = ? AND job_id = ?", (item_id, job_id))
        if row is None:
            raise NotFoundError(f"Job {job_id} has no item {item_id!r} among its {table}.", "after")
        return int(row["seq"])

    def _checkpoint_object(self, row: sqlite3.Row) -> dict[str, Any]:
        sql = "SELECT data FROM metrics WHERE job_id = ? AND step = ?"
        metrics = self._database.row(sql, (row["job_id"], row["step"]))
        return {
            "object": "fine_tuning.job.checkpoint",
            "id": row["id"],
            "created_at": row["created_at"],
            "fine_tuned_model_checkpoint": row["model_id"],
            "fine_tuning_job_id": row["job_id"],
            "metrics": {"step": row["step"]} | _named_figures({} if metrics is None else json.loads(metrics["data"])),
            "step_number": row["step"],
        }


def add_event(
    connection: sqlite3.Connection,
    job_id: str,
    key: str,
    message: str,
    *,
    level: str = "info",
    kind: str = "message",
    data: dict[str, Any] | None = None,
    at: int | None = None,
) -> bool:
    """Add an event within a transaction; False if the job has one of this key already."""
    event_id = "ftevent-" + hashlib.sha256(f"{job_id}:{key}".encode()).hexdigest()[:24]
    values = (
        event_id, job_id, key, int(time.time()) if at is None else at, level, message, kind,
        json.dumps(data or {}),
    )  # fmt: skip
    sql = (
        "INSERT OR IGNORE INTO events (id, job_id, key, created_at, level, message, type, data)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
    )
    return connection.execute(sql, values).rowcount == 1


def job_object(row: sqlite3.Row) -> dict[str, Any]:
    """Return a job in the OpenAI shape."""
    fields = (
        "id", "created_at", "finished_at", "estimated_finish", "status", "model", "fine_tuned_model", "training_file",
        "validation_file", "seed", "trained_tokens",
    )  # fmt: skip
    chosen = json.loads(row["hyperparameters"])
    method: str = row["method"]
    return {
        "object": "fine_tuning.job",
        **{name: row[name] for name in fields},
        "organization_id": ORGANIZATION,
        "result_files": json.loads(row["result_files"]),
        "error": json.loads(row["error"]) if row["error"] else None,
        "hyperparameters": {name: value for name, value in chosen.items() if name in Hyperparameters.model_fields},
        "method": {"type": method, method: {"hyperparameters": chosen}},
        "metadata": json.loads(row["metadata"]) if row["metadata"] else None,
        "integrations": [],
    }


def choices_of(row: sqlite3.Row) -> Choosable:
    """Return the choices of a job's row."""
    kind = PreferenceHyperparameters if row["method"] == "dpo" else Hyperparameters
    return kind.model_validate_json(row["hyperparameters"])


def _named_figures(figures: dict[str, float]) -> dict[str, float]:
    """Return the figures for which a checkpoint has a field."""
    return {name: value for name, value in figures.items() if name.endswith(("_loss", "_mean_token_accuracy"))}


def _event_object(row: sqlite3.Row) -> dict[str, Any]:
    fields = ("id", "created_at", "level", "message", "type")
    return {"object": "fine_tuning.job.event", **{name: row[name] for name in fields}, "data": json.loads(row["data"])}


def _param_of(code: str) -> str | None:
    named = {"invalid_training_file": "training_file", "invalid_validation_file": "validation_file"}
    return named.get(code)


def new_job_id() -> str:
    """Return a fresh job id."""
    return new_id("ftjob-")
