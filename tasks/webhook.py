"""Lets a provider say that a job has ended: a signed message rings a bell, and whoever waits for it looks at once.

The bell is a file in the workspace, so that receiver and waiting run may be different processes. A message only ever
makes a run look earlier; what it then sees is what counts, so that a lost message costs nothing but time.
"""

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tasks.core.record import sha256_of

JOB_EVENTS = "fine_tuning.job."
# How often a waiting run listens, in seconds.
LISTEN_EVERY_S = 0.5


class Bells:
    """The bells of a workspace, one for each job, and the messages that rang them."""

    def __init__(self, folder: Path) -> None:
        """Name the folder; it is made when a bell is first rung."""
        self._folder = folder

    def accept(self, event: Mapping[str, Any], message_id: str) -> str | None:
        """Ring the bell of the job that a provider's event is about and return its id; None for any other event.

        A message that came before rings nothing.
        """
        data = event.get("data")
        if not str(event.get("type")).startswith(JOB_EVENTS) or not isinstance(data, dict):
            return None
        if not self._is_new(message_id):
            return None
        job_id = str(data.get("id"))
        self._bell(job_id).touch()
        return job_id

    def sleeper(self, job_id: str, sleep: Callable[[float], None] = time.sleep) -> Callable[[float], None]:
        """Return a sleep that ends early when the bell of a job rings."""

        def listen(seconds: float) -> None:
            left = seconds
            while left > 0 and not self._is_rung(job_id):
                sleep(min(left, LISTEN_EVERY_S))
                left -= LISTEN_EVERY_S

        return listen

    def _is_rung(self, job_id: str) -> bool:
        """Has the bell rung since it was last asked?"""
        try:
            self._bell(job_id).unlink()
        except FileNotFoundError:
            return False
        return True

    def _is_new(self, message_id: str) -> bool:
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            os.close(os.open(self._folder / f"{sha256_of(message_id)}.seen", os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            return False
        return True

    def _bell(self, job_id: str) -> Path:
        # A digest, since an id from outside must not name a path.
        return self._folder / f"{sha256_of(job_id)}.bell"
