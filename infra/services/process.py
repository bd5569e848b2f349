"""Detached child processes that are recognised again later, so that a recycled pid is never signalled."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import psutil
from pydantic import BaseModel, ConfigDict, ValidationError

from infra.services.errors import ServicesError

# Every process that a service starts inherits this variable; it is how orphans of a killed service are recognised.
MARKER = "ZAVA_SERVICE"
# Start times are derived from the boot time, which may be re-read after the clock was set.
CLOCK_TOLERANCE_S = 2.0


class ProcessRecord(BaseModel):
    """What a pid file holds: enough to tell our process from a later one with the same pid."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pid: int
    started: float
    command: tuple[str, ...]
    marker: str
    port: int


def spawn(command: Sequence[str], env: Mapping[str, str], *, log: Path, marker: str, port: int) -> ProcessRecord:
    """Start a process in a session of its own, its output appended to `log`, and return its record.

    Raises:
        ServicesError: The program or the log file cannot be opened.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    environment = {**os.environ, **env, MARKER: marker}
    try:
        pid = os.posix_spawn(command[0], list(command), environment, file_actions=actions, setsid=True)
    except OSError as error:
        raise ServicesError(f"Cannot start {command[0]!r} with its log in {str(log)!r}: {error}.") from error
    return ProcessRecord(pid=pid, started=_start_time(pid), command=tuple(command), marker=marker, port=port)


def _start_time(pid: int) -> float:
    try:
        return float(psutil.Process(pid).create_time())
    except psutil.NoSuchProcess:
        return time.time()


def read_record(path: Path) -> ProcessRecord | None:
    """Return the record in a pid file, or None where there is none or it was cut short by a crash."""
    try:
        return ProcessRecord.model_validate_json(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValidationError, UnicodeDecodeError):
        return None


def write_record(path: Path, record: ProcessRecord) -> None:
    """Write a pid file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".tmp")
    draft.write_text(record.model_dump_json(), encoding="utf-8")
    draft.replace(path)


def leader(record: ProcessRecord) -> psutil.Process | None:
    """Return the recorded process while it lives and is still the same one, else None."""
    with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
        process = psutil.Process(record.pid)
        same_start = abs(process.create_time() - record.started) <= CLOCK_TOLERANCE_S
        # A dead child of this very process is a zombie until it is waited for.
        if same_start and process.status() != psutil.STATUS_ZOMBIE and _is_of(process, record):
            return process
    return None


def _is_of(process: psutil.Process, record: ProcessRecord) -> bool:
    # In the first moments of a program its command line and its environment read empty, also where a script goes on as
    # another program, and the command line of a script names its interpreter.
    same_command = tuple(process.cmdline()) in {record.command, ()}
    environment = process.environ()
    return same_command or not environment or environment.get(MARKER) == record.marker


def members(record: ProcessRecord) -> list[psutil.Process]:
    """Return the living processes of the record's session that carry its marker, its leader first."""
    return sorted(_session(record), key=lambda process: process.pid != record.pid)


def _session(record: ProcessRecord) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied, ProcessLookupError):
            if os.getsid(process.pid) != record.pid or process.status() == psutil.STATUS_ZOMBIE:
                continue
            if process.environ().get(MARKER) == record.marker:
                yield process


def stop(record: ProcessRecord, *, grace_s: float) -> bool:
    """End a recorded process and what it started: SIGTERM, wait up to `grace_s` seconds, then SIGKILL.

    Returns False where nothing of it ran.
    """
    if not members(record):
        return False
    first = leader(record)
    if first:
        # The leader ends its own children; those that it leaves behind are asked after it is gone.
        _signal(first, signal.SIGTERM)
        _await_end([first], grace_s)
    left_behind = [process for process in members(record) if process.pid != record.pid]
    for process in left_behind:
        _signal(process, signal.SIGTERM)
    _await_end(left_behind, grace_s)
    for process in (killed := members(record)):
        _signal(process, signal.SIGKILL)
    _await_end(killed, 5.0)
    return True


def _await_end(processes: list[psutil.Process], timeout_s: float) -> list[psutil.Process]:
    """Wait until the processes ended, and return those that have not within `timeout_s` seconds."""
    deadline = time.monotonic() + timeout_s
    while (left := [process for process in processes if _lives(process)]) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


def _lives(process: psutil.Process) -> bool:
    try:
        # Collects the exit status of a child of this process; without it, it would stay a zombie.
        process.wait(timeout=0)
    except psutil.TimeoutExpired:
        with contextlib.suppress(psutil.NoSuchProcess):
            return bool(process.status() != psutil.STATUS_ZOMBIE)
    return False


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    # psutil compares the start time once more before it signals.
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(number)
