"""Uploaded and produced files: rows in the database, contents stored once under their SHA-256."""

import hashlib
import io
import os
import sqlite3
import time
from pathlib import Path
from typing import Any, BinaryIO

from infra.model_server.database import Database, new_id
from infra.model_server.dataset_validation import count_rows
from infra.model_server.errors import DatasetError, InvalidRequestError, NotFoundError, TooLargeError
from infra.model_server.settings import Settings

UPLOAD_PURPOSES = ("assistants", "batch", "fine-tune", "vision", "user_data", "evals")
CHUNK = 1 << 20


class FileStore:
    """The files of `settings.data`."""

    def __init__(self, database: Database, settings: Settings) -> None:
        """Use (and make, where it is missing) the folder of contents."""
        self._database = database
        self._settings = settings
        self._folder = settings.data / "files"
        self._folder.mkdir(parents=True, exist_ok=True)
        for left in self._folder.glob("*.partial"):
            left.unlink()

    def add(self, source: BinaryIO, filename: str, purpose: str) -> dict[str, Any]:
        """Store an upload and return its file object; a fine-tuning file is checked, and says so in its status.

        Raises:
            InvalidRequestError: for an unknown purpose or an empty file.
            TooLargeError: above the size that the settings allow.
        """
        if purpose not in UPLOAD_PURPOSES:
            raise InvalidRequestError(f"{purpose!r} is not one of {', '.join(UPLOAD_PURPOSES)}.", "purpose")
        partial = self._folder / f"{new_id('')}.partial"
        try:
            digest, size = self._receive(source, partial)
            if not size:
                raise InvalidRequestError(f"The file {filename!r} is empty.", "file")
            problem = self._problem(partial) if purpose == "fine-tune" else None
            status = "error" if problem else "processed"
            return self._keep(partial, digest, filename, purpose, status, problem)
        finally:
            partial.unlink(missing_ok=True)

    def add_result(self, content: bytes, filename: str) -> str:
        """Store a file that a job produced and return its id."""
        partial = self._folder / f"{new_id('')}.partial"
        try:
            digest, _ = self._receive(io.BytesIO(content), partial)
            return str(self._keep(partial, digest, filename, "fine-tune-results", "processed", None)["id"])
        finally:
            partial.unlink(missing_ok=True)

    def get(self, file_id: str) -> dict[str, Any]:
        """Return a file object, or raise NotFoundError."""
        return _file_object(self._row(file_id))

    def content(self, file_id: str) -> Path:
        """Return where a file's content lies, or raise NotFoundError."""
        return self._path(self._row(file_id)["digest"])

    def page(self, *, after: str | None, limit: int, purpose: str | None, ascending: bool) -> dict[str, Any]:
        """Return one page of file objects in the OpenAI shape."""
        anchor = self._row(after)["seq"] if after else None
        where, values = ("1", []) if purpose is None else ("purpose = ?", [purpose])
        if anchor is not None:
            where, values = f"{where} AND seq {'>' if ascending else '<'} ?", [*values, anchor]
        sql = f"SELECT * FROM files WHERE {where} ORDER BY seq {'ASC' if ascending else 'DESC'} LIMIT ?"
        rows = self._database.rows(sql, [*values, limit + 1])
        data = [_file_object(row) for row in rows[:limit]]
        ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"]} if data else {"first_id": None, "last_id": None}
        return {"object": "list", "data": data, "has_more": len(rows) > limit, **ends}

    def delete(self, file_id: str) -> dict[str, Any]:
        """Delete a file; its content goes when no other file shares it. Jobs keep a link of their own."""
        row = self._row(file_id)
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM files WHERE id = ?", (file_id,))
            shared = connection.execute("SELECT 1 FROM files WHERE digest = ?", (row["digest"],)).fetchone()
            if not shared:
                self._path(row["digest"]).unlink(missing_ok=True)
        return {"id": file_id, "object": "file", "deleted": True}

    def _receive(self, source: BinaryIO, partial: Path) -> tuple[str, int]:
        sha, size = hashlib.sha256(), 0
        with partial.open("wb") as out:
            while chunk := source.read(CHUNK):
                size += len(chunk)
                if size > self._settings.max_upload_bytes:
                    raise TooLargeError(f"The file has more than {self._settings.max_upload_bytes} bytes.", "file")
                sha.update(chunk)
                out.write(chunk)
            out.flush()
            os.fsync(out.fileno())
        return sha.hexdigest(), size

    def _problem(self, path: Path) -> str | None:
        try:
            count_rows(path, max_line_bytes=self._settings.max_line_bytes, max_rows=self._settings.max_rows)
        except DatasetError as error:
            return str(error)
        return None

    def _keep(
        self, partial: Path, digest: str, filename: str, purpose: str, status: str, details: str | None
    ) -> dict[str, Any]:
        file_id = new_id("file-")
        values = (file_id, digest, partial.stat().st_size, int(time.time()), filename, purpose, status, details)
        columns = "id, digest, bytes, created_at, filename, purpose, status, status_details"
        # In one transaction with the move, so that a delete of the last other file with this content cannot
        # take the content away in between.
        with self._database.transaction() as connection:
            partial.replace(self._path(digest))
            connection.execute(f"INSERT INTO files ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)
        return self.get(file_id)

    def _path(self, digest: str) -> Path:
        return self._folder / digest

    def _row(self, file_id: str) -> sqlite3.Row:
        row = self._database.row("SELECT * FROM files WHERE id = ?", (file_id,))
        if row is None:
            raise NotFoundError(f"No such File object: {file_id}", "id")
        return row


def _file_object(row: sqlite3.Row) -> dict[str, Any]:
    fields = ("id", "bytes", "created_at", "filename", "purpose", "status", "status_details")
    return {"object": "file", "expires_at": None} | {name: row[name] for name in fields}
