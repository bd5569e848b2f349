"""MLflow stores on SQLite: made once in this process, then copied, since MLflow takes seconds to lay out its tables."""

import sqlite3
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from tasks.clients import mlflow_client
from tasks.core.config import TrackingConfig


def a_store(folder: Path) -> str:
    """Return the address of the store in a folder, an empty one where there was none."""
    path = folder / "mlflow.db"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_empty_store())
    return f"sqlite:///{path}"


@cache
def _empty_store() -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "mlflow.db"
        mlflow_client(TrackingConfig(mlflow_uri=f"sqlite:///{path}")).search_experiments()
        held = sqlite3.connect(path)
        try:
            return held.serialize()
        finally:
            held.close()
