"""Files in the artifact store that belong together: named for their bytes, under a manifest that is put there last.

    blobs/SHA256            a file
    manifests/SHA256.json   which files belong together
    recipes/SHA256          the digest of the manifest of the dataset that was made so; the first one stays
    runs/ID                 the digest of the manifest of a run's report; the last one stays

Each names what was written before it, so that whatever is killed leaves nothing that could be read half.
"""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from tasks.artifacts import sha256_of_file
from tasks.core.errors import DataError, StorageError
from tasks.core.storage import SHA256, Manifest, StoredFile
from tasks.store import Store


def publish(store: Store, manifest: Manifest, files: Mapping[str, Path | bytes]) -> Manifest:
    """Put files into the store, then the manifest that names them; return it with them. Safe to repeat.

    Raises:
        StorageError: The store refuses, or a file is not there.
        ServiceError: The store does not answer.
    """
    entries = []
    for name, content in files.items():
        if isinstance(content, bytes):
            entry = StoredFile(name=name, sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))
            store.put(_blob(entry), content)
        else:
            sha256 = sha256_of_file(content)
            if sha256 is None:
                raise StorageError(f"Cannot publish {content}: there is no such file.")
            entry = StoredFile(name=name, sha256=sha256, bytes=content.stat().st_size)
            store.put_file(_blob(entry), content, sha256)
        entries.append(entry)
    whole = manifest.model_copy(update={"files": tuple(entries)})
    store.put(_key(whole.digest()), whole.content)
    return whole


def read_manifest(store: Store, digest: str) -> Manifest:
    """Return a manifest.

    Raises:
        StorageError: It is missing, or not what its name says.
        ServiceError: The store does not answer.
    """
    key = _key(digest)
    content = _checked(store, key, digest)
    try:
        return Manifest.model_validate_json(content)
    except ValidationError as error:
        raise StorageError(f"{store.url}/{key} is no manifest that this version reads.") from error


def fetch_bytes(store: Store, entry: StoredFile) -> bytes:
    """Return the content of one small file of a manifest, checked.

    Raises:
        StorageError: It is missing, or not what its name says.
        ServiceError: The store does not answer.
    """
    return _checked(store, _blob(entry), entry.sha256)


def _checked(store: Store, key: str, sha256: str) -> bytes:
    content = store.get(key)
    if content is None:
        raise StorageError(_missing(store, key))
    if hashlib.sha256(content).hexdigest() != sha256:
        raise StorageError(_changed(store, key))
    return content


def fetch_file(store: Store, entry: StoredFile, folder: Path) -> Path:
    """Fetch one file of a manifest and check it; one that is there already is not fetched again.

    Raises:
        StorageError: It is missing, or not what its name says; then nothing lies in the folder.
        ServiceError: The store does not answer.
    """
    path, key = folder / entry.name, _blob(entry)
    if sha256_of_file(path) == entry.sha256:
        return path
    partial = folder / f".{entry.name}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not store.get_file(key, partial):
            raise StorageError(_missing(store, key))
        if sha256_of_file(partial) != entry.sha256:
            raise StorageError(_changed(store, key))
        partial.replace(path)
    except OSError as error:
        raise DataError(f"Cannot write {str(path)!r}: {error.strerror or error}.") from error
    finally:
        partial.unlink(missing_ok=True)
    return path


def pointed_at(store: Store, key: str) -> str | None:
    """Return the digest of the manifest that a key names, or None where there is no such key.

    Raises:
        StorageError: The key holds something else.
        ServiceError: The store does not answer.
    """
    content = store.get(key)
    if content is None:
        return None
    digest = content.decode(errors="replace")
    if not re.fullmatch(SHA256, digest):
        raise StorageError(
            f"{store.url}/{key} does not hold the digest of a manifest. Delete it, and publish it again."
        )
    return digest


def _blob(entry: StoredFile) -> str:
    return f"blobs/{entry.sha256}"


def _key(digest: str) -> str:
    return f"manifests/{digest}.json"


def manifest_address(store: Store, digest: str) -> str:
    """Return where the store keeps a manifest."""
    return f"{store.url}/{_key(digest)}"


def _missing(store: Store, key: str) -> str:
    return f"{store.url}/{key} is missing. Publish it again from the machine that made it."


def _changed(store: Store, key: str) -> str:
    return f"{store.url}/{key} is not what its name says: it was changed, or cut. Delete it, and publish it again."
