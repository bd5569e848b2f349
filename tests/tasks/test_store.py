"""What a store promises, in a folder and in two S3 servers that share no code."""

import base64
import hashlib
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from tasks import clients
from tasks.core.errors import ConfigError, ServiceError, StorageError
from tasks.core.storage import Manifest, StorageConfig, StoredFile
from tasks.manifests import fetch_file, pointed_at, publish, read_manifest
from tasks.s3_store import PART
from tasks.store import Store, open_store
from tests import object_stores
from tests.object_stores import BUCKET, KEYS, Killed, Mortal, ObjectStore

LARGE = 2 * PART + 1000


@pytest.fixture(scope="module")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    with object_stores.moto(tmp_path_factory.mktemp("moto")) as server:
        server.client().create_bucket(Bucket=BUCKET)
        yield server


@pytest.fixture(scope="module")
def swift(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    with object_stores.swift(tmp_path_factory.mktemp("swift")) as server:
        server.client().create_bucket(Bucket=BUCKET)
        yield server


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(params=["moto", "swift"])
def server(request: pytest.FixtureRequest) -> ObjectStore:
    found: ObjectStore = request.getfixturevalue(request.param)
    return found


@pytest.fixture(params=["folder", "moto", "swift"])
def config(request: pytest.FixtureRequest, tmp_path: Path) -> StorageConfig:
    if request.param == "folder":
        return StorageConfig(url=f"file://{tmp_path}/store")
    server: ObjectStore = request.getfixturevalue(request.param)
    return at(server, tmp_path)


def at(server: ObjectStore, folder: Path, **more: str) -> StorageConfig:
    """Return the settings of a place of its own in the server."""
    return StorageConfig.model_validate(
        {"url": f"s3://{BUCKET}/{folder.name}", "endpoint_url": server.endpoint_url, **more}
    )


@pytest.fixture
def store(config: StorageConfig) -> Store:
    return opened(config)


def opened(config: StorageConfig) -> Store:
    store = open_store(config)
    assert store is not None
    return store


def a_file(folder: Path, content: bytes, name: str = "rows.jsonl") -> tuple[Path, StoredFile]:
    path = folder / name
    path.write_bytes(content)
    return path, StoredFile(name=name, sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))


def blob(entry: StoredFile) -> str:
    return f"blobs/{entry.sha256}"


def nothing(kind: str = "dataset") -> Manifest:
    return Manifest.model_validate({"kind": kind, "of": "a recipe", "files": ()})


@pytest.mark.parametrize("size", [0, 1000, LARGE])
def test_a_file_comes_back_as_it_went_in(store: Store, tmp_path: Path, size: int) -> None:
    path, entry = a_file(tmp_path, os.urandom(size))
    for _ in range(2):  # the second time it is there
        store.put_file(blob(entry), path, entry.sha256)
    assert fetch_file(store, entry, tmp_path / "other").read_bytes() == path.read_bytes()


def test_of_many_writers_of_one_name_one_wins_and_all_others_are_told(
    store: Store, request: pytest.FixtureRequest
) -> None:
    contents = [str(number).encode() for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda content: store.put("recipes/one", content), contents))
    # Swift looks first and writes then: of writers at the same moment it may tell several that they were the first.
    assert sum(won) == 1 or ("swift" in request.node.name and won.count(True) > 1)
    assert store.get("recipes/one") in [content for content, first in zip(contents, won, strict=True) if first]
    assert not store.put("recipes/one", b"late")
    assert store.put("recipes/one", b"later", replace=True)
    assert store.get("recipes/one") == b"later"
    assert store.get("recipes/two") is None


def test_whatever_is_killed_what_can_be_found_is_whole(store: Store, tmp_path: Path) -> None:
    files: dict[str, Path | bytes] = {"a.jsonl": a_file(tmp_path, b"a" * 1000, "a.jsonl")[0], "b.json": b"{}"}
    for lives in range(5):
        try:
            whole = publish(Mortal(store, lives), nothing(), files)
            Mortal(store, lives - 3).put("recipes/killed", whole.digest().encode())
        except Killed:
            assert lives < 4
            assert pointed_at(store, "recipes/killed") is None
    digest = pointed_at(store, "recipes/killed")
    assert digest is not None
    manifest = read_manifest(store, digest)
    fetched = [fetch_file(store, entry, tmp_path / "other").read_bytes() for entry in manifest.files]
    assert fetched == [b"a" * 1000, b"{}"]


@pytest.mark.parametrize("damage", ["change", "manifest", "pointer"])
def test_what_was_changed_in_the_store_is_not_taken(store: Store, tmp_path: Path, damage: str) -> None:
    path, entry = a_file(tmp_path, b"right")
    manifest = publish(store, nothing(), {path.name: path})
    keys = {"change": blob(entry), "manifest": f"manifests/{manifest.digest()}.json", "pointer": "recipes/r"}
    store.put(keys[damage], b"wrong", replace=True)

    def fetch() -> None:
        digest = pointed_at(store, "recipes/r") or manifest.digest()
        for one in read_manifest(store, digest).files:
            fetch_file(store, one, tmp_path / "other")

    with pytest.raises(StorageError, match=rf"{store.url}/{keys[damage]} .*Delete it, and publish it again\."):
        fetch()
    assert not list((tmp_path / "other").glob("*"))


def test_what_is_missing_is_named(store: Store, tmp_path: Path) -> None:
    _, entry = a_file(tmp_path, b"never published")
    with pytest.raises(StorageError, match=f"{store.url}/{blob(entry)} is missing. Publish it again"):
        fetch_file(store, entry, tmp_path / "other")


@pytest.mark.parametrize("size", [6, LARGE])
def test_a_file_that_changes_while_it_is_published_is_refused(store: Store, tmp_path: Path, size: int) -> None:
    path, entry = a_file(tmp_path, b"b" * size)
    path.write_bytes(b"a" * size)
    with pytest.raises(StorageError, match="changed while it was published; run again"):
        store.put_file(blob(entry), path, entry.sha256)
    assert store.get(blob(entry)) is None


def test_large_files_go_in_parts_and_all_is_encrypted(server: ObjectStore, tmp_path: Path) -> None:
    config = at(server, tmp_path)
    secret = b"in plain text " * (LARGE // 14)
    path, entry = a_file(tmp_path, secret)
    opened(config).put_file(blob(entry), path, entry.sha256)
    opened(config).put("recipes/r", secret[:1000])
    for key in (blob(entry), "recipes/r"):
        found = server.client().head_object(Bucket=BUCKET, Key=f"{tmp_path.name}/{key}")
        assert found["ServerSideEncryption"] == "AES256"
        assert ("-" in found["ETag"]) == (key == blob(entry))  # so S3 marks what came in parts
    if server.folder:
        kept = [path.read_bytes() for path in (server.folder / "devices").rglob("*.data")]
        assert sum(map(len, kept)) > LARGE
        assert not any(b"in plain text" in content for content in kept)


def test_a_missing_bucket_is_named(server: ObjectStore, tmp_path: Path) -> None:
    path, entry = a_file(tmp_path, b"x")
    store = opened(StorageConfig(url="s3://nowhere/x", endpoint_url=server.endpoint_url))
    for asked in (lambda: store.get("recipes/r"), lambda: store.put_file(blob(entry), path, entry.sha256)):
        with pytest.raises(StorageError, match=r"no bucket 'nowhere'\. Make it, or name another in storage.url"):
            asked()


def test_wrong_keys_are_told_without_the_secret(
    swift: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-the-secret")
    with pytest.raises(StorageError, match=r"S3 refuses to read s3://.*SignatureDoesNotMatch") as told:
        opened(at(swift, tmp_path)).get("recipes/r")
    assert "AWS_ACCESS_KEY_ID" in str(told.value)
    assert "not-the-secret" not in str(told.value)


def test_no_keys_are_told(moto: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEYS:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    with pytest.raises(ConfigError, match="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"):
        opened(at(moto, tmp_path)).get("recipes/r")


def test_what_a_store_cannot_do_is_told_with_the_way_out(swift: ObjectStore, tmp_path: Path) -> None:
    store = opened(at(swift, tmp_path, encryption="aws:kms"))
    with pytest.raises(StorageError, match=r"encryption is not supported.*set storage.encryption=none"):
        store.put("recipes/r", b"x")
    assert opened(at(swift, tmp_path, encryption="none")).put("recipes/r", b"x")


def test_the_digest_that_is_sent_along_is_one_that_a_real_server_checks(swift: ObjectStore) -> None:
    # Moto takes any bytes, so that there only the fetch would tell.
    digest = base64.b64encode(hashlib.sha256(b"right").digest()).decode()
    with pytest.raises(ClientError, match="BadDigest"):
        swift.client().put_object(Bucket=BUCKET, Key="wrong", Body=b"wrong", ChecksumSHA256=digest)


def test_a_store_that_is_away_may_be_back_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    class Busy(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            asked.append(self.path)
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(503 if len(asked) < 3 else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Busy)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    away = StorageConfig(url="s3://b/p", endpoint_url=f"http://127.0.0.1:{server.server_port}")
    try:
        assert opened(away).put("recipes/r", b"x")
        assert len(asked) == 3
        asked.clear()
        monkeypatch.setattr(clients, "S3_ATTEMPTS", 1)
        with pytest.raises(ServiceError, match="S3 does not keep s3://b/p/recipes/r: 503"):
            opened(away).put("recipes/r", b"x")
    finally:
        server.shutdown()
        server.server_close()
    with pytest.raises(ServiceError, match="Cannot keep s3://b/p/recipes/r"):
        opened(away).put("recipes/r", b"x")


@pytest.mark.parametrize("name", ["../x", ".hidden", "a/b", ""])
def test_a_manifest_cannot_name_a_place_outside_its_folder(name: str) -> None:
    with pytest.raises(ValueError, match="String should match pattern"):
        StoredFile(name=name, sha256="0" * 64, bytes=0)
