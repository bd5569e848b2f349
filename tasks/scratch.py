"""A store on disk for what a run must remember of any number of rows; it is gone with the run."""

import sqlite3
import weakref

CACHE_KIB = 32 * 1024  # of a store; the rest is on disk


def open_scratch(owner: object, tables: str) -> sqlite3.Connection:
    """Return a new store with these tables, which closes when its owner is no more; all is one transaction."""
    # The empty name is a file of SQLite's own that is gone with the connection, so nothing needs to be safe.
    store = sqlite3.connect("", isolation_level=None, check_same_thread=False)
    weakref.finalize(owner, store.close)
    store.executescript(f"PRAGMA journal_mode = OFF; PRAGMA cache_size = -{CACHE_KIB}; {tables} BEGIN;")
    return store
