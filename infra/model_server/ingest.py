"""Stores what a trainer reported: each fact once, however often it is read."""

import csv
import io
import json
import sqlite3
import time
from collections.abc import Iterable
from typing import Any

from infra.model_server.database import Database, new_id
from infra.model_server.jobs import JobStore, add_event
from infra.model_server.progress import Checkpoint, Dated, Done, Failed, Note, Planned, Step
from infra.model_server.registry import insert_model

COLUMNS = {
    "step": "step",
    "train_loss": "train_loss",
    "train_accuracy": "train_mean_token_accuracy",
    "valid_loss": "valid_loss",
    "valid_mean_token_accuracy": "valid_mean_token_accuracy",
}
"""The columns of a result file, and the figures that they hold."""
PREFERENCE_COLUMNS = {
    "step": "step",
    "train_loss": "train_loss",
    "train_reward_accuracy": "train_reward_accuracy",
    "valid_loss": "valid_loss",
    "valid_reward_accuracy": "valid_reward_accuracy",
}


def model_name(base: str, suffix: str | None, job_id: str, step: int | None = None) -> str:
    """Return the id of a job's model, or of its checkpoint at a step."""
    short = job_id.removeprefix("ftjob-")[-8:]
    if step is None:
        return f"ft:{base}:{suffix or ''}::{short}"
    return f"ft:{base}:{suffix or ''}:{short}:ckpt-step-{step}"


def checkpoint_folder(job_id: str, step: int) -> str:
    """Return the name of a checkpoint's folder among the tuned models."""
    return f"{job_id}-step-{step}"


def store(database: Database, job: sqlite3.Row, base: str, records: Iterable[Dated]) -> Done | Failed | None:
    """Store a batch of records in one transaction; return the one that ends the job, if it is among them."""
    end: Done | Failed | None = None
    records = list(records)
    if not records:
        return None
    with database.transaction() as connection:
        for at, record in records:
            if isinstance(record, Done | Failed):
                end = record
            else:
                _store_one(connection, job, base, at, record)
    return end


def result_csv(jobs: JobStore, job_id: str) -> bytes:
    """Return a job's figures as the result file: one line a step, empty where nothing was measured."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    columns = PREFERENCE_COLUMNS if jobs.row(job_id)["method"] == "dpo" else COLUMNS
    writer.writerow(columns)
    for step, figures in jobs.metrics(job_id):
        writer.writerow([({"step": step} | figures).get(name, "") for name in columns.values()])
    return out.getvalue().encode()


def _store_one(
    connection: sqlite3.Connection, job: sqlite3.Row, base: str, at: int, record: Planned | Step | Checkpoint | Note
) -> None:
    job_id: str = job["id"]
    match record:
        case Step():
            _store_step(connection, job_id, at, record)
        case Planned():
            if add_event(connection, job_id, record.key, record.message, at=at):
                sql = "UPDATE jobs SET hyperparameters = ? WHERE id = ?"
                connection.execute(sql, (record.hyperparameters.model_dump_json(), job_id))
        case Checkpoint():
            _store_checkpoint(connection, job, base, at, record)
        case Note():
            add_event(connection, job_id, record.key, record.message, level=record.level, at=at)


def _store_step(connection: sqlite3.Connection, job_id: str, at: int, record: Step) -> None:
    data: dict[str, Any] = {"step": record.step, "total_steps": record.steps, **record.metrics}
    message = f"Step {record.step}/{record.steps}: training loss={record.metrics['train_loss']:.2f}"
    if "valid_loss" in record.metrics:
        message += f", validation loss={record.metrics['valid_loss']:.2f}"
    if add_event(connection, job_id, record.key, message, kind="metrics", data=data, at=at):
        connection.execute(
            "INSERT OR IGNORE INTO metrics (job_id, step, data) VALUES (?, ?, ?)",
            (job_id, record.step, json.dumps(record.metrics)),
        )
    left = (record.steps - record.step) * record.elapsed / max(record.done, 1)
    sql = "UPDATE jobs SET estimated_finish = ? WHERE id = ? AND status = 'running'"
    connection.execute(sql, (int(time.time() + left), job_id))


def _store_checkpoint(connection: sqlite3.Connection, job: sqlite3.Row, base: str, at: int, record: Checkpoint) -> None:
    job_id = job["id"]
    model_id = model_name(base, job["suffix"], job_id, record.step)
    folder = checkpoint_folder(job_id, record.step)
    if add_event(connection, job_id, record.key, f"Checkpoint created at step {record.step}: {model_id}", at=at):
        connection.execute(
            "INSERT OR IGNORE INTO checkpoints (id, job_id, created_at, step, model_id) VALUES (?, ?, ?, ?, ?)",
            (new_id("ftckpt_"), job_id, at, record.step, model_id),
        )
        insert_model(connection, model_id=model_id, folder=folder, base=base, job_id=job_id)
