"""The server's state: one SQLite file in WAL mode, and the helpers that every store shares."""

import secrets
import sqlite3
import string
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

_MIGRATIONS = (
    """
CREATE TABLE IF NOT EXISTS files (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, digest TEXT NOT NULL, bytes INTEGER NOT NULL,
    created_at INTEGER NOT NULL, filename TEXT NOT NULL, purpose TEXT NOT NULL, status TEXT NOT NULL,
    status_details TEXT);
CREATE TABLE IF NOT EXISTS jobs (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, created_at INTEGER NOT NULL, started_at REAL,
    finished_at INTEGER, estimated_finish INTEGER, status TEXT NOT NULL, model TEXT NOT NULL, fine_tuned_model TEXT,
    training_file TEXT NOT NULL, validation_file TEXT, suffix TEXT, seed INTEGER NOT NULL,
    hyperparameters TEXT NOT NULL, metadata TEXT, result_files TEXT NOT NULL DEFAULT '[]', trained_tokens INTEGER,
    error TEXT, starts INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, job_id TEXT NOT NULL, key TEXT NOT NULL,
    created_at INTEGER NOT NULL, level TEXT NOT NULL, message TEXT NOT NULL, type TEXT NOT NULL, data TEXT,
    UNIQUE (job_id, key));
CREATE TABLE IF NOT EXISTS metrics (
    job_id TEXT NOT NULL, step INTEGER NOT NULL, data TEXT NOT NULL, PRIMARY KEY (job_id, step)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS checkpoints (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, job_id TEXT NOT NULL, created_at INTEGER NOT NULL,
    step INTEGER NOT NULL, model_id TEXT NOT NULL, UNIQUE (job_id, step));
CREATE TABLE IF NOT EXISTS models (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, folder TEXT NOT NULL, base TEXT NOT NULL,
    job_id TEXT NOT NULL, created_at INTEGER NOT NULL);
""",
    """
ALTER TABLE jobs ADD COLUMN method TEXT NOT NULL DEFAULT 'supervised';
CREATE TABLE deliveries (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, body TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0, due_at REAL NOT NULL);
""",
)
"""What brings a file from each version (its `user_version`) to the next."""

_ALPHABET = string.ascii_letters + string.digits


class Page(NamedTuple):
    """One page of a listing, newest first."""

    rows: list[sqlite3.Row]
    has_more: bool


class Database:
    """One connection, used by one thread at a time."""

    def __init__(self, path: Path) -> None:
        """Open the file, and bring its tables to this version."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.RLock()
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._connection.row_factory = sqlite3.Row
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = NORMAL")
        version = self._connection.execute("PRAGMA user_version").fetchone()[0]
        for number, script in enumerate(_MIGRATIONS[version:], version + 1):
            self._connection.executescript(f"BEGIN; {script} PRAGMA user_version = {number}; COMMIT;")

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Hold the connection; commit at the end, or roll back if the block raises."""
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def rows(self, sql: str, values: Sequence[object] = ()) -> list[sqlite3.Row]:
        """Return all rows of a query."""
        with self._lock:
            return self._connection.execute(sql, values).fetchall()

    def row(self, sql: str, values: Sequence[object] = ()) -> sqlite3.Row | None:
        """Return the first row of a query, or None."""
        with self._lock:
            found: sqlite3.Row | None = self._connection.execute(sql, values).fetchone()
            return found

    def page(self, table: str, where: str, values: Sequence[object], *, before: int | None, limit: int) -> Page:
        """Return up to `limit` rows of a table, newest first, that are older than the row `before` (a seq)."""
        older, extra = ("", ()) if before is None else (" AND seq < ?", (before,))
        sql = f"SELECT * FROM {table} WHERE {where}{older} ORDER BY seq DESC LIMIT ?"
        rows = self.rows(sql, (*values, *extra, limit + 1))
        return Page(rows[:limit], len(rows) > limit)

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._connection.close()


def new_id(prefix: str) -> str:
    """Return a fresh id, such as `file-3fZ...`, of 24 letters and digits after the prefix."""
    return prefix + "".join(secrets.choice(_ALPHABET) for _ in range(24))
