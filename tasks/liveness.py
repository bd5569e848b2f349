"""Tells a run whose process lives from one that was killed, by a lock that the kernel gives back with the process."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tasks.core.errors import DataError


@contextmanager
def alive(folder: Path, run_id: str) -> Iterator[None]:
    """Be seen as alive meanwhile; what is left afterwards tells of a run that was killed.

    Raises:
        DataError: The folder cannot be written.
    """
    path, coming = folder / run_id, folder / f".{run_id}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(coming, os.O_RDWR | os.O_CREAT, 0o600)
        # Locked before it can be seen: nobody may find it free in between.
        fcntl.flock(handle, fcntl.LOCK_EX)
        coming.rename(path)
    except OSError as error:
        raise DataError(f"Cannot write in {str(folder)!r}: {error.strerror or error}.") from error
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)


def dead_runs(folder: Path) -> list[str]:
    """Return the runs of this folder whose process ended without a word."""
    return sorted(path.name for path in folder.glob("[!.]*") if not is_alive(folder, path.name))


def is_alive(folder: Path, run_id: str) -> bool:
    """Does the process of this run live on this machine?"""
    try:
        handle = os.open(folder / run_id, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def bury(folder: Path, run_id: str) -> None:
    """Forget a dead run."""
    (folder / run_id).unlink(missing_ok=True)
