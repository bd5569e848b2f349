"""Remembers which job belongs to which key, on disk, so that a killed run finds its job again."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from tasks.core.errors import DataError
from tasks.core.record import Record
from tasks.core.training import TrainingRequest
from tasks.files import write_atomically


class LedgerEntry(Record):
    """What is known of one job key. Without `job_id`, a creation was begun whose outcome is not known.

    `request` is missing where the entry was made for a job that was found at the provider.
    """

    job_key: str
    job_id: str | None = None
    run_id: str | None = None
    request: TrainingRequest | None = None
    written_at: float


class Ledger:
    """The entries of one workspace, one file for each key."""

    def __init__(self, folder: Path) -> None:
        """Name the folder; it is made when first written to."""
        self._folder = folder

    def read(self, job_key: str) -> LedgerEntry | None:
        """Return the entry of a key, or None; a file that a crash cut short counts as none."""
        try:
            return LedgerEntry.model_validate_json((self._folder / f"{job_key}.json").read_text(encoding="utf-8"))
        except (FileNotFoundError, ValidationError, UnicodeDecodeError):
            return None

    def write(
        self, job_key: str, *, job_id: str | None, run_id: str | None, request: TrainingRequest | None = None
    ) -> None:
        """Remember the job of a key, or with `job_id` None that its creation begins now.

        Raises:
            DataError: The folder cannot be written.
        """
        entry = LedgerEntry(job_key=job_key, job_id=job_id, run_id=run_id, request=request, written_at=time.time())
        write_atomically(self._folder / f"{job_key}.json", entry.model_dump_json().encode())

    def entries(self) -> list[LedgerEntry]:
        """Return all entries."""
        found = (self.read(path.stem) for path in sorted(self._folder.glob("*.json")))
        return [entry for entry in found if entry]

    def of_run(self, run_id: str) -> list[LedgerEntry]:
        """Return the entries that a Prefect run wrote last."""
        return [entry for entry in self.entries() if entry.run_id == run_id]

    def job_ids_of_others(self, job_key: str) -> frozenset[str]:
        """Return the jobs that belong to other keys."""
        return frozenset(entry.job_id for entry in self.entries() if entry.job_id and entry.job_key != job_key)

    def forget(self, job_key: str) -> None:
        """Drop the entry of a key.

        Raises:
            DataError: The folder cannot be written.
        """
        try:
            (self._folder / f"{job_key}.json").unlink(missing_ok=True)
        except OSError as error:
            raise DataError(f"Cannot write in {str(self._folder)!r}: {error.strerror or error}.") from error

    @contextmanager
    def locked(self, job_key: str) -> Iterator[None]:
        """Keep other processes on this machine from creating a job of the same key meanwhile.

        Raises:
            DataError: The folder cannot be written.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(self._folder / f"{job_key}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise DataError(f"Cannot write in {str(self._folder)!r}: {error.strerror or error}.") from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)
