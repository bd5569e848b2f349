"""Which models there are: base models below one folder, tuned ones in the database."""

import json
import shutil
import sqlite3
import time
from pathlib import Path
from typing import Any, NamedTuple

from infra.model_server.database import Database
from infra.model_server.errors import InvalidRequestError, ModelNotFoundError
from infra.model_server.settings import Settings

BASE_OWNER = "system"
TUNED_OWNER = "local"
ADAPTER_CONFIG = "adapter_config.json"


class ModelEntry(NamedTuple):
    """A model that can be asked and trained on."""

    model_id: str
    folder: Path
    created_at: int
    owner: str
    base: str
    """The base model that it comes from; its own id for a base model."""
    adapts: str | None = None
    """The model whose weights it needs, where it is an adapter."""


class Registry:
    """The models of one server."""

    def __init__(self, database: Database, settings: Settings) -> None:
        """List base models below `settings.models`."""
        self._database = database
        self._settings = settings

    def entries(self) -> list[ModelEntry]:
        """Return all models, base models first."""
        rows = self._database.rows("SELECT * FROM models ORDER BY seq")
        return [*self._bases(), *(self._entry(row) for row in rows)]

    def get(self, model_id: str) -> ModelEntry:
        """Return a model.

        Raises:
            ModelNotFoundError: naming the base models that there are.
        """
        row = self._database.row("SELECT * FROM models WHERE id = ?", (model_id,))
        if row is not None:
            return self._entry(row)
        bases = self._bases()
        for entry in bases:
            if entry.model_id == model_id:
                return entry
        known = ", ".join(entry.model_id for entry in bases) or f"none in {self._settings.models}"
        raise ModelNotFoundError(f"The model {model_id!r} does not exist. Base models: {known}.", "model")

    def weights(self, entry: ModelEntry) -> ModelEntry:
        """Return the model that holds a model's weights: itself, or what it adapts.

        Raises:
            ModelNotFoundError: if an adapter's model is there no more.
        """
        return entry if entry.adapts is None else self.get(entry.adapts)

    def delete(self, model_id: str) -> dict[str, Any]:
        """Delete a tuned model and its folder."""
        entry = self.get(model_id)
        if entry.owner != TUNED_OWNER:
            raise InvalidRequestError(f"{model_id!r} is a base model; only fine-tuned ones can be deleted.", "model")
        if standing := [other.model_id for other in self.entries() if other.adapts == model_id]:
            raise InvalidRequestError(
                f"{model_id!r} is adapted by {len(standing)} other models; delete those first: {standing[0]!r}.",
                "model",
            )
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM models WHERE id = ?", (model_id,))
        shutil.rmtree(entry.folder, ignore_errors=True)
        return {"id": model_id, "object": "model", "deleted": True}

    def _bases(self) -> list[ModelEntry]:
        models = self._settings.models
        # A link, to a folder of the hub's cache say, is no folder to `**`.
        links = [folder for folder in models.iterdir() if folder.is_symlink()]
        configs = sorted(config for folder in (models, *links) for config in folder.glob("**/config.json"))
        return [
            ModelEntry(config.parent.name, config.parent, int(config.stat().st_mtime), BASE_OWNER, config.parent.name)
            for config in configs
        ]

    def _entry(self, row: sqlite3.Row) -> ModelEntry:
        folder = self._settings.tuned_models / row["folder"]
        return ModelEntry(row["id"], folder, row["created_at"], TUNED_OWNER, row["base"], _adapted_by(folder))


def _adapted_by(folder: Path) -> str | None:
    config = folder / ADAPTER_CONFIG
    if not config.is_file():
        return None
    adapted: str = json.loads(config.read_text(encoding="utf-8"))["base_model_name_or_path"]
    return adapted


def model_object(entry: ModelEntry) -> dict[str, Any]:
    """Return a model in the OpenAI shape."""
    return {"id": entry.model_id, "object": "model", "created": entry.created_at, "owned_by": entry.owner}


def insert_model(connection: sqlite3.Connection, *, model_id: str, folder: str, base: str, job_id: str) -> None:
    """Add a tuned model within a transaction; a second time has no effect."""
    connection.execute(
        "INSERT OR IGNORE INTO models (id, folder, base, job_id, created_at) VALUES (?, ?, ?, ?, ?)",
        (model_id, folder, base, job_id, int(time.time())),
    )
