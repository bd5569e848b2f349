"""The parts of a running server, made together and ended together."""

import fcntl
from pathlib import Path
from typing import IO, NamedTuple

from infra.model_server.database import Database
from infra.model_server.engines import Engines
from infra.model_server.errors import DataInUseError
from infra.model_server.files import FileStore
from infra.model_server.jobs import JobStore
from infra.model_server.loaded import ModelPool
from infra.model_server.registry import Registry
from infra.model_server.runner import Runner
from infra.model_server.settings import Settings
from infra.model_server.vllm import Vllm
from infra.model_server.webhooks import Notifier


class Services(NamedTuple):
    """What the routes work with."""

    settings: Settings
    database: Database
    files: FileStore
    jobs: JobStore
    registry: Registry
    pool: ModelPool
    engines: Engines
    runner: Runner
    notifier: Notifier | None
    vllm: Vllm | None
    lock: IO[str]

    def start(self) -> None:
        """Start training and answering."""
        self.engines.start()
        self.runner.start()
        if self.notifier is not None:
            self.notifier.start()

    def stop(self) -> None:
        """End training and answering; an unfinished job goes on when the server starts again."""
        self.runner.stop()
        if self.notifier is not None:
            self.notifier.stop()
        self.engines.stop()
        self.database.close()
        self.lock.close()


def build_services(settings: Settings) -> Services:
    """Open the state of `settings.data`, making it where it is missing.

    Raises:
        DataInUseError: if another server works on that folder.
        VllmMissingError: if vLLM is to answer and is not installed.
    """
    lock = _locked(settings.data)
    database = Database(settings.database)
    url, secret = settings.webhook_url, settings.webhook_secret
    notifier = Notifier(database, url, secret) if url and secret else None
    files, registry = FileStore(database, settings), Registry(database, settings)
    jobs = JobStore(database, notifies=notifier is not None)
    return Services(
        settings=settings,
        database=database,
        files=files,
        jobs=jobs,
        registry=registry,
        pool=ModelPool(settings, registry),
        engines=Engines(settings),
        runner=Runner(database, settings, files=files, jobs=jobs, registry=registry),
        notifier=notifier,
        vllm=Vllm(settings, registry) if settings.engine == "vllm" else None,
        lock=lock,
    )


def _locked(data: Path) -> IO[str]:
    """Return an open file whose lock keeps other servers out, for as long as it is open."""
    data.mkdir(parents=True, exist_ok=True)
    lock = (data / "server.lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise DataInUseError(f"Another model server works on {data}. End it, or use another folder.") from None
    return lock
