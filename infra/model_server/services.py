"""The parts of a running server, made together and ended together."""

from typing import NamedTuple

from infra.model_server.database import Database
from infra.model_server.engine import Engine
from infra.model_server.files import FileStore
from infra.model_server.jobs import JobStore
from infra.model_server.loaded import ModelPool
from infra.model_server.registry import Registry
from infra.model_server.runner import Runner
from infra.model_server.settings import Settings


class Services(NamedTuple):
    """What the routes work with."""

    settings: Settings
    database: Database
    files: FileStore
    jobs: JobStore
    registry: Registry
    pool: ModelPool
    engine: Engine
    runner: Runner

    def start(self) -> None:
        """Start training and answering."""
        self.engine.start()
        self.runner.start()

    def stop(self) -> None:
        """End training and answering; an unfinished job goes on when the server starts again."""
        self.runner.stop()
        self.engine.stop()
        self.database.close()


def build_services(settings: Settings) -> Services:
    """Open the state of `settings.data`, making it where it is missing."""
    database = Database(settings.database)
    files, jobs, registry = FileStore(database, settings), JobStore(database), Registry(database, settings)
    return Services(
        settings=settings,
        database=database,
        files=files,
        jobs=jobs,
        registry=registry,
        pool=ModelPool(settings),
        engine=Engine(max_waiting=settings.max_waiting, max_batch=settings.max_batch),
        runner=Runner(database, settings, files=files, jobs=jobs, registry=registry),
    )
