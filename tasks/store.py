"""The artifact store: files under names, each whole or absent. Here in a folder; `tasks.s3_store` keeps them in S3."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from tasks.clients import s3_client
from tasks.core.errors import DataError, StorageError
from tasks.core.storage import StorageConfig
from tasks.files import write_atomically


class Store(Protocol):
    """Keeps bytes under keys such as `blobs/SHA256`.

    All methods raise StorageError where the store refuses, and ServiceError where it does not answer.
    """

    url: str

    def put_file(self, key: str, path: Path, sha256: str) -> None:
        """Keep a file whose digest is known; one of its size that is there already stays."""

    def put(self, key: str, content: bytes, *, replace: bool = False) -> bool:
        """Keep a few bytes; return False where others are there, which only `replace` overwrites."""

    def get(self, key: str) -> bytes | None:
        """Return a few bytes, or None where there are none."""

    def get_file(self, key: str, path: Path) -> bool:
        """Write the bytes of a key to a file; return False where there are none. The file may be left half-written."""


def open_store(config: StorageConfig) -> Store | None:
    """Return the store of a profile; None where it has none.

    Raises:
        ConfigError: There is no key for it in the environment.
    """
    if config.url is None:
        return None
    parts = urlsplit(config.url)
    if parts.scheme == "s3":
        from tasks.s3_store import S3Store  # imports Amazon's library

        return S3Store(s3_client(config), config, parts.netloc, parts.path.strip("/"))
    return FolderStore(config.url, Path(unquote(parts.path)))


class FolderStore:
    """A store in a folder, such as one on a disk that machines share."""

    def __init__(self, url: str, folder: Path) -> None:
        """Keep all under a folder, which is made when something is put there."""
        self.url = url
        self._folder = folder

    def put_file(self, key: str, path: Path, sha256: str) -> None:
        """Keep a file whose digest is known; one of its size that is there already stays."""
        target = self._folder / key
        with self._told("keep", key):
            if target.is_file() and target.stat().st_size == path.stat().st_size:
                return
            with path.open("rb") as file, self._draft(target) as draft:
                shutil.copyfileobj(file, draft)
                draft.flush()
                os.fsync(draft.fileno())
                draft.seek(0)
                if hashlib.file_digest(draft, "sha256").hexdigest() != sha256:
                    raise StorageError(f"{path} changed while it was published; run again.")
                Path(draft.name).replace(target)

    def put(self, key: str, content: bytes, *, replace: bool = False) -> bool:
        """Keep a few bytes; return False where others are there, which only `replace` overwrites."""
        target = self._folder / key
        if replace:
            try:
                write_atomically(target, content)
            except DataError as error:
                raise StorageError(str(error)) from error
            return True
        with self._told("keep", key), self._draft(target) as draft:
            draft.write(content)
            draft.flush()
            os.fsync(draft.fileno())
            try:
                # A link, unlike a renaming, never takes the place of what is there.
                os.link(draft.name, target)
            except FileExistsError:
                return False
        return True

    def get(self, key: str) -> bytes | None:
        """Return a few bytes, or None where there are none."""
        with self._told("read", key):
            try:
                return (self._folder / key).read_bytes()
            except FileNotFoundError:
                return None

    def get_file(self, key: str, path: Path) -> bool:
        """Write the bytes of a key to a file; return False where there are none."""
        with self._told("read", key):
            try:
                shutil.copyfile(self._folder / key, path)
            except FileNotFoundError:
                return False
        return True

    @contextmanager
    def _draft(self, target: Path) -> "Iterator[tempfile._TemporaryFileWrapper[bytes]]":
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=target.parent, prefix=f".{target.name}.", delete=False) as draft:
            try:
                yield draft
            finally:
                Path(draft.name).unlink(missing_ok=True)

    @contextmanager
    def _told(self, verb: str, key: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StorageError(f"Cannot {verb} {self.url}/{key}: {error.strerror or error}.") from error
