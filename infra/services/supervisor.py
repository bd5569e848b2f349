"""Starts, watches and stops a set of local services; every call is safe to repeat, also after a kill -9."""

import fcntl
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

import psutil

from infra.services import ports, process
from infra.services.errors import ServicesError

State = Literal["healthy", "starting", "stopped", "orphaned", "foreign"]
Watch = Callable[[str, str], None]


@dataclass(frozen=True)
class Service:
    """A server that can be run on this machine.

    `port_key` is what to change in the profile when the port is taken; `home` a folder made at its start.
    """

    name: str
    command: tuple[str, ...]
    port: int
    port_key: str
    address: str
    health_url: str
    env: dict[str, str] = field(default_factory=dict)
    home: Path | None = None
    grace_s: float = 10.0


class ServiceStatus(NamedTuple):
    """A service as it is now; memory in MiB, over all its processes.

    `orphaned`: its main process was killed and a child of it lives on; `up` clears that. `foreign`: somebody else's
    process holds its port.
    """

    name: str
    state: State
    port: int
    address: str
    pid: int | None
    uptime_s: float | None
    memory_mib: float | None
    log: str


class Supervisor:
    """The services of one workspace folder, which holds their pid files and logs."""

    def __init__(self, folder: Path, services: Sequence[Service]) -> None:
        """Name the folder (made when missing) and the services, in the order in which they are stopped."""
        self._folder = folder.absolute()
        self._services = tuple(services)

    def up(self, *, budget_s: float = 180.0, watch: Watch | None = None) -> list[str]:
        """Start what is not healthy, all at once, wait until all answer, and return the names of those started.

        Raises:
            ServicesError: A port is taken, a service died, or one did not answer within `budget_s` seconds.
        """
        with self._locked():
            missing = [s for s in self._services if self._state(s) != "healthy"]
            waiting = [s for s in missing if self._alive(s)]
            dead = [s for s in missing if s not in waiting]
            for service in dead:
                self._clear(service)
            self._require_free_ports(dead)
            for service in dead:
                self._start(service)
            self._wait(missing, budget_s, watch or _silent)
        return [s.name for s in dead]

    def down(self, *, watch: Watch | None = None) -> list[str]:
        """Stop what runs, one after another, and return the names of those stopped."""
        stopped = []
        with self._locked():
            for service in self._services:
                record = process.read_record(self._pid_file(service))
                if record and process.stop(record, grace_s=service.grace_s):
                    stopped.append(service.name)
                    (watch or _silent)(service.name, "stopped")
                self._pid_file(service).unlink(missing_ok=True)
        return stopped

    def status(self) -> list[ServiceStatus]:
        """Return how each service is, changing nothing."""
        return [self._describe(service) for service in self._services]

    def cpu_seconds(self) -> float:
        """Return the CPU time that the running services have used so far, ended children included."""
        records = (process.read_record(self._pid_file(service)) for service in self._services)
        return sum(_cpu(member) for record in records if record for member in process.members(record))

    def log_tail(self, name: str, lines: int = 8) -> str:
        """Return the last lines of a service's log."""
        log = self._folder / f"{name}.log"
        if not log.is_file():
            return ""
        return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])

    def _pid_file(self, service: Service) -> Path:
        return self._folder / f"{service.name}.json"

    def _marker(self, service: Service) -> str:
        return f"{self._folder}:{service.name}"

    def _alive(self, service: Service) -> bool:
        record = process.read_record(self._pid_file(service))
        # A profile that names another port means another process.
        return record is not None and record.port == service.port and process.leader(record) is not None

    def _state(self, service: Service) -> State:
        if self._alive(service):
            return "healthy" if ports.answers(service.health_url) else "starting"
        record = process.read_record(self._pid_file(service))
        if record and process.members(record):
            return "orphaned"
        return "stopped" if ports.is_free(service.port) else "foreign"

    def _describe(self, service: Service) -> ServiceStatus:
        state = self._state(service)
        record = process.read_record(self._pid_file(service))
        pid = uptime = memory = None
        if record and state in {"healthy", "starting"}:
            pid, uptime = record.pid, time.time() - record.started
            memory = sum(_resident(member) for member in process.members(record)) / 2**20
        log = str(self._folder / f"{service.name}.log")
        return ServiceStatus(service.name, state, service.port, service.address, pid, uptime, memory, log)

    def _clear(self, service: Service) -> None:
        record = process.read_record(self._pid_file(service))
        if record:
            process.stop(record, grace_s=service.grace_s)
        self._pid_file(service).unlink(missing_ok=True)

    def _require_free_ports(self, services: Sequence[Service]) -> None:
        taken = [
            f"Port {s.port} of {s.name} is taken by {ports.holder(s.port)}; stop it or choose another: {s.port_key}."
            for s in services
            if not ports.is_free(s.port)
        ]
        if taken:
            raise ServicesError(" ".join(taken))

    def _start(self, service: Service) -> None:
        log = self._folder / f"{service.name}.log"
        if service.home:
            service.home.mkdir(parents=True, exist_ok=True)
        record = process.spawn(service.command, service.env, log=log, marker=self._marker(service), port=service.port)
        process.write_record(self._pid_file(service), record)

    def _wait(self, services: Sequence[Service], budget_s: float, watch: Watch) -> None:
        deadline = time.monotonic() + budget_s
        left = list(services)
        for service in left:
            watch(service.name, "starting")
        while left:
            for service in [s for s in left if ports.answers(s.health_url)]:
                left.remove(service)
                watch(service.name, "healthy")
            for service in left:
                if not self._alive(service):
                    raise ServicesError(f"Service {service.name} ended while starting. {self._blame(service)}")
            if left and time.monotonic() > deadline:
                names = ", ".join(s.name for s in left)
                raise ServicesError(f"Not ready within {budget_s:.0f} s: {names}. {self._blame(left[0])}")
            if left:
                time.sleep(0.1)

    def _blame(self, service: Service) -> str:
        tail = self.log_tail(service.name)
        return f"Its log, {self._folder / (service.name + '.log')}, ends:\n{tail}"

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise ServicesError(f"Cannot write in {str(self._folder)!r}: {error}.") from error
        try:
            # Two `up` at once must not start one service twice; the second waits and finds all healthy.
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


def _cpu(member: psutil.Process) -> float:
    try:
        times = member.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system + times.children_user + times.children_system)


def _resident(member: psutil.Process) -> int:
    try:
        return int(member.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0


def _silent(name: str, state: str) -> None:
    """Watch nothing."""
