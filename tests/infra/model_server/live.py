"""Servers to test against: one in this process, and one in a process of its own that can be killed."""

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import uvicorn
from openai import OpenAI
from openai.types.fine_tuning import FineTuningJob

from infra.model_server.app import build_app
from infra.model_server.settings import GRACE_S, Settings
from tests.ports import free_port

DEADLINE = 240.0


def client_of(port: int, key: str = "unused") -> OpenAI:
    """Return a client; use it in a `with`, so that its connections are closed."""
    return OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key=key, max_retries=0, timeout=120)


def wait_until(claim: Callable[[], bool], what: str) -> None:
    """Poll until a claim about another process holds."""
    end = time.monotonic() + DEADLINE
    while not claim():
        assert time.monotonic() < end, f"waited {DEADLINE:.0f} s for: {what}"
        time.sleep(0.05)


@contextmanager
def serving(settings: Settings) -> Iterator[int]:
    """Serve in a thread of this process on a free port."""
    port = free_port()
    config = uvicorn.Config(
        build_app(settings), host="127.0.0.1", port=port, log_level="warning", ws="none",
        timeout_graceful_shutdown=GRACE_S,
    )  # fmt: skip
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.started, "the server to start")
        yield port
    finally:
        server.should_exit = True
        thread.join()


class ServerProcess:
    """A server as users run it, on one port and one folder, started as often as needed."""

    def __init__(self, data: Path, models: Path) -> None:
        self.data = data
        self._models = models
        self.port = free_port()
        self.client = client_of(self.port)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "infra.model_server", "--port", str(self.port), "--data", str(self.data)]
        self._process = subprocess.Popen([*command, "--models", str(self._models)])
        wait_until(self._answers, "the server process to answer")

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        return self._end(signal.SIGTERM)

    def limit_files(self, most_bytes: int) -> None:
        """Let the server, and what it starts from now on, write no file larger than this."""
        assert self._process is not None
        _, hard = resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE, (most_bytes, hard))

    def _end(self, how: signal.Signals) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        process.send_signal(how)
        return process.wait(60)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, "the server process ended"
        try:
            return httpx2.get(f"http://127.0.0.1:{self.port}/healthz").status_code == 200
        except httpx2.TransportError:
            return False


def trainer_pids(job_id: str) -> list[int]:
    """Return the processes that train a job."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().decode().split("\0")
        except OSError:
            continue
        if "infra.model_server.trainer" in command and any(part.endswith(job_id) for part in command):
            found.append(int(folder.name))
    return found


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def finished(client: OpenAI, job_id: str) -> FineTuningJob:
    """Wait for a job to end and return it."""
    wait_until(lambda: client.fine_tuning.jobs.retrieve(job_id).finished_at is not None, f"job {job_id} to end")
    return client.fine_tuning.jobs.retrieve(job_id)


def steps_of(client: OpenAI, job_id: str) -> list[int]:
    """Return the steps that a job's events report, oldest first."""
    events = [event for event in client.fine_tuning.jobs.list_events(job_id, limit=100) if event.type == "metrics"]
    return [event.data["step"] for event in reversed(events)]  # type: ignore[index]
