"""Trains queued jobs, one at a time, each in a child process."""

import logging
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import torch

from infra.model_server.database import Database
from infra.model_server.errors import ModelNotFoundError
from infra.model_server.files import FileStore
from infra.model_server.ingest import checkpoint_folder, model_name, result_csv, store
from infra.model_server.jobs import JobStore, choices_of
from infra.model_server.progress import (
    FINAL_MODEL,
    LOG_NAME,
    PAUSE_NAME,
    SPEC_NAME,
    Checkpoint,
    Dated,
    Done,
    Failed,
    JobSpec,
    LoraMode,
    ProgressReader,
)
from infra.model_server.registry import ModelEntry, Registry
from infra.model_server.settings import Settings

log = logging.getLogger(__name__)

POLL_SECONDS = 0.2
GRACE_SECONDS = 5.0
RETRY_SECONDS = 5
LOG_TAIL_BYTES = 4096
SPIN_COUNT = "20000"
"""How long threads of OpenMP spin before they sleep. By its default they spin on and starve the server's on a small
machine; with none, the small model's steps take half as long again."""


class Runner(threading.Thread):
    """Takes jobs from the queue for as long as the server lives."""

    def __init__(
        self, database: Database, settings: Settings, *, files: FileStore, jobs: JobStore, registry: Registry
    ) -> None:
        """Train into `settings.jobs`; models end up in `settings.tuned_models`."""
        super().__init__(name="runner", daemon=True)
        settings.jobs.mkdir(parents=True, exist_ok=True)
        self._database = database
        self._settings = settings
        self._files = files
        self._jobs = jobs
        self._registry = registry
        self._wake = threading.Event()
        self._stopping = threading.Event()

    def wake(self) -> None:
        """Look at the queue now: a job came, or one was cancelled."""
        self._wake.set()

    def stop(self) -> None:
        """End the running trainer and the thread; its job is queued again when the server starts next."""
        self._stopping.set()
        self._wake.set()
        self.join()

    def run(self) -> None:
        """Train job after job; a full disk or a locked database is waited out."""
        while not self._stopping.is_set():
            try:
                self._work()
            except (OSError, sqlite3.Error):
                log.exception("The queue cannot be worked on; trying again in %d seconds.", RETRY_SECONDS)
                self._stopping.wait(RETRY_SECONDS)

    def _work(self) -> None:
        # This thread is the only one that trains, so a job marked as running was left by an earlier server.
        for job in self._jobs.running():
            self._recover(job)
        queued = self._jobs.next_queued()
        if queued is None:
            self._sweep()
            self._wake.wait()
            self._wake.clear()
        elif self._jobs.start(queued["id"]):
            self._train(self._jobs.row(queued["id"]))

    def _recover(self, job: sqlite3.Row) -> None:
        """Finish a job whose trainer had ended before its server noticed; queue the others again."""
        end = self._ingest(job, ProgressReader(self._job_dir(job)))
        if end is None:
            self._jobs.requeue(job["id"], "The training was interrupted; it goes on from its last saved state")
        else:
            self._finish(job, end)

    def _sweep(self) -> None:
        """Remove what ended jobs left; a failed one keeps its log."""
        for folder in self._settings.jobs.iterdir():
            job = self._database.row("SELECT status FROM jobs WHERE id = ?", (folder.name,))
            if job is None or job["status"] in ("queued", "running", "paused"):
                continue
            if job["status"] != "failed":
                shutil.rmtree(folder, ignore_errors=True)
                continue
            for path in folder.iterdir():
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                elif path.name != LOG_NAME:
                    path.unlink(missing_ok=True)

    def _train(self, job: sqlite3.Row) -> None:
        try:
            entry = self._registry.get(job["model"])
            weights = self._registry.weights(entry)
        except ModelNotFoundError as error:
            self._jobs.fail(job["id"], "model_not_found", str(error))
            return
        job_dir = self._job_dir(job)
        if end := self._ingest(job, ProgressReader(job_dir)):
            # The last trainer had ended when the job was paused, or its server was killed.
            self._finish(job, end)
            return
        try:
            (job_dir / PAUSE_NAME).unlink(missing_ok=True)
            _write_spec(job_dir, job, entry, weights, self._settings.lora)
            child = _start_trainer(job_dir)
        except OSError as error:
            self._jobs.fail(job["id"], "storage_failed", f"The job's folder cannot be written: {error}")
            return
        try:
            end = self._follow(job, child)
        finally:
            _end_trainer(child)
        if end is not None and not self._stopping.is_set():
            self._finish(job, end)

    def _follow(self, job: sqlite3.Row, child: subprocess.Popen[bytes]) -> Done | Failed | None:
        """Store what the trainer reports until it ends, or must end; return how the job ended, if it did."""
        job_dir = self._job_dir(job)
        reader = ProgressReader(job_dir)
        while not self._stopping.is_set() and (status := self._jobs.status(job["id"])) in ("running", "paused"):
            if status == "paused":
                (job_dir / PAUSE_NAME).touch()
            exit_status = child.poll()
            # Read after the poll, so that what was written just before the end is not missed.
            end = self._ingest(job, reader)
            if end is not None:
                return end
            if exit_status is not None:
                return None if status == "paused" and exit_status == 0 else _reason(job_dir, exit_status)
            self._wake.wait(POLL_SECONDS)
            self._wake.clear()
        return None

    def _ingest(self, job: sqlite3.Row, reader: ProgressReader) -> Done | Failed | None:
        records = list(reader.new_records())
        for dated in records:
            self._place_checkpoint(job, dated)
        return store(self._database, job, self._base_name(job), records)

    def _place_checkpoint(self, job: sqlite3.Row, dated: Dated) -> None:
        if isinstance(dated.record, Checkpoint):
            target = self._settings.tuned_models / checkpoint_folder(job["id"], dated.record.step)
            _move(self._job_dir(job) / dated.record.folder, target)

    def _finish(self, job: sqlite3.Row, end: Done | Failed) -> None:
        job_id: str = job["id"]
        if isinstance(end, Failed):
            self._jobs.fail(job_id, end.code, end.message)
        else:
            self._publish(job, end)

    def _publish(self, job: sqlite3.Row, end: Done) -> None:
        job_id: str = job["id"]
        base = self._base_name(job)
        try:
            _move(self._job_dir(job) / FINAL_MODEL, self._settings.tuned_models / job_id)
            result_file = self._files.add_result(result_csv(self._jobs, job_id), "step_metrics.csv")
        except OSError as error:
            self._jobs.fail(job_id, "storage_failed", f"The model cannot be stored: {error}")
            return
        published = self._jobs.succeed(
            job_id,
            model_id=model_name(base, job["suffix"], job_id),
            folder=job_id,
            base=base,
            tokens=end.tokens,
            result_file=result_file,
        )
        if not published:
            shutil.rmtree(self._settings.tuned_models / job_id, ignore_errors=True)
            self._files.delete(result_file)

    def _base_name(self, job: sqlite3.Row) -> str:
        """Return the base model's name, also for a job that tunes a tuned model."""
        model: str = job["model"]
        return model.split(":")[1] if model.startswith("ft:") else model

    def _job_dir(self, job: sqlite3.Row) -> Path:
        return self._settings.jobs / str(job["id"])


def _write_spec(job_dir: Path, job: sqlite3.Row, entry: ModelEntry, weights: ModelEntry, lora: LoraMode) -> None:
    """Write what the trainer is to do, once: later starts must do the same although `auto` was replaced meanwhile."""
    path = job_dir / SPEC_NAME
    if path.exists():
        return
    spec = JobSpec(
        job_id=job["id"],
        base=weights.model_id,
        model_dir=weights.folder.resolve(),
        adapter_dir=None if entry is weights else entry.folder.resolve(),
        lora=lora,
        seed=job["seed"],
        hyperparameters=choices_of(job),
    )
    partial = path.with_suffix(".partial")
    partial.write_text(spec.model_dump_json(), encoding="utf-8")
    partial.replace(path)


def trainer_command(job_dir: Path, gpus: int) -> list[str]:
    """Return what trains a job: one process, or one for each of several GPUs."""
    launch = ["-m", "torch.distributed.run", "--standalone", "--local-addr=127.0.0.1", f"--nproc-per-node={gpus}"]
    launcher = launch if gpus > 1 else []
    return [sys.executable, *launcher, "-m", "infra.model_server.trainer", str(job_dir.resolve())]


def _start_trainer(job_dir: Path) -> subprocess.Popen[bytes]:
    environment = {"GOMP_SPINCOUNT": SPIN_COUNT, "HF_HUB_OFFLINE": "1", **os.environ}
    root = Path(__file__).parent.parent.parent
    with (job_dir / LOG_NAME).open("ab") as output:
        return subprocess.Popen(
            trainer_command(job_dir, torch.cuda.device_count()),
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            cwd=root,
            env=environment,
        )


def _end_trainer(child: subprocess.Popen[bytes]) -> None:
    if child.stdin is not None:
        child.stdin.close()
    if child.poll() is None:
        child.terminate()
    try:
        child.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _reason(job_dir: Path, status: int | None) -> Failed:
    """Return why a trainer ended that did not say so itself."""
    if status is not None and status < 0:
        hint = " The machine may have run out of memory." if -status == signal.SIGKILL else ""
        return Failed(code="trainer_killed", message=f"The trainer was killed by signal {-status}.{hint}")
    tail = last_line(job_dir / LOG_NAME)
    return Failed(code="trainer_crashed", message=f"The trainer ended with status {status}: {tail}")


def last_line(path: Path) -> str:
    """Return the last line of a log."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - LOG_TAIL_BYTES, 0))
        lines = file.read().decode("utf-8", "replace").strip().splitlines()
    return lines[-1].strip() if lines else "its log is empty"


def _move(source: Path, target: Path) -> None:
    """Move a folder to its place; done already if only the target is there."""
    if source.is_dir():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(target, ignore_errors=True)
        source.rename(target)
