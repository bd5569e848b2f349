"""Two object stores that share no code: moto, an emulator, and OpenStack Swift, a real one, by its S3 interface."""

import getpass
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import boto3
import httpx2
import pytest

from tasks.store import Store
from tests.ports import free_port

BUCKET = "zava-test"
# Keys of the stores' own test users; moto takes any.
KEYS = {"AWS_ACCESS_KEY_ID": "test:tester", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": "us-east-1"}
PROGRAMS = Path(sys.executable).parent
START_S = 60.0

_SWIFT = """\
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
user = {user}
swift_dir = {folder}
devices = {folder}/devices
workers = 0
mount_check = false
fallocate_reserve = 0

"""
_BACKEND = "[pipeline:main]\npipeline = {name}-server\n\n[app:{name}-server]\nuse = egg:swift#{name}\n"
# The root secret makes the encryption real: what lies on the disk is not what was sent.
_PROXY = """\
[pipeline:main]
pipeline = catch_errors gatekeeper listing_formats s3api tempauth copy slo dlo keymaster encryption proxy-server

[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true

[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = testing .admin

[filter:keymaster]
use = egg:swift#keymaster
encryption_root_secret = QSBzZWNyZXQgb2YgWmF2YSdzIHRlc3RzIGFuZCBvZiBub3RoaW5nIGVsc2Uu

"""
_FILTERS = ("catch_errors", "gatekeeper", "listing_formats", "s3api", "copy", "slo", "dlo", "encryption")


class ObjectStore(NamedTuple):
    """A running store. `folder` holds its disk; moto has none."""

    name: str
    endpoint_url: str
    folder: Path | None = None

    def client(self) -> Any:
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint_url,
            aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
            region_name=KEYS["AWS_DEFAULT_REGION"],
        )


@contextmanager
def moto(folder: Path) -> Iterator[ObjectStore]:
    """Run moto, which keeps all in memory and checks no signature."""
    port = free_port()
    program = [str(PROGRAMS / "moto_server"), "-H", "127.0.0.1", "-p", str(port)]
    with _running({"moto": program}, {"moto": port}, folder):
        yield ObjectStore("moto", f"http://127.0.0.1:{port}")


@contextmanager
def swift(folder: Path) -> Iterator[ObjectStore]:
    """Run Swift: a proxy that speaks S3, and the servers of accounts, containers and objects, on one disk."""
    ports = {name: free_port() for name in ("account", "container", "object", "proxy")}
    _lay_out(folder, ports)
    programs = {name: [str(PROGRAMS / f"swift-{name}-server"), str(folder / f"{name}.conf")] for name in ports}
    with _running(programs, ports, folder):
        yield ObjectStore("swift", f"http://127.0.0.1:{ports['proxy']}", folder)


def _lay_out(folder: Path, ports: dict[str, int]) -> None:
    rings = pytest.importorskip("swift.common.ring", reason="OpenStack Swift is of Linux: pip install swift")
    (folder / "devices" / "disk").mkdir(parents=True)
    try:
        os.setxattr(folder / "devices", "user.zava", b"")
    except OSError as error:
        pytest.skip(f"Swift needs extended attributes, and {folder} has none: {error}. Choose another --basetemp.")
    (folder / "swift.conf").write_text("[swift-hash]\nswift_hash_path_prefix = zava\nswift_hash_path_suffix = test\n")
    for name, port in ports.items():
        common = _SWIFT.format(port=port, user=getpass.getuser(), folder=folder)
        if name == "proxy":
            filters = "".join(f"[filter:{one}]\nuse = egg:swift#{one}\n\n" for one in _FILTERS)
            (folder / "proxy.conf").write_text(common + _PROXY + filters)
            continue
        (folder / f"{name}.conf").write_text(common + _BACKEND.format(name=name))
        ring = rings.RingBuilder(2, 1, 0)
        here = {"ip": "127.0.0.1", "port": port, "replication_ip": "127.0.0.1", "replication_port": port}
        ring.add_dev({"id": 0, "region": 1, "zone": 1, "device": "disk", "weight": 1.0, "meta": "", **here})
        ring.rebalance()
        ring.get_ring().save(str(folder / f"{name}.ring.gz"))


class _Program:
    """A server as a child process."""

    def __init__(self, command: Sequence[str], port: int, log: Path) -> None:
        self._address, self._log = f"http://127.0.0.1:{port}/", log
        with log.open("wb") as output:
            self._process = subprocess.Popen(command, stdout=output, stderr=output)

    def wait(self) -> None:
        """Wait until somebody answers, whatever it is."""
        deadline = time.monotonic() + START_S
        while not _answers(self._address):
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < deadline, self._log.read_text()
            time.sleep(0.1)

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)


@contextmanager
def _running(programs: Mapping[str, Sequence[str]], ports: Mapping[str, int], folder: Path) -> Iterator[None]:
    started: list[_Program] = []
    try:
        started += [_Program(command, ports[name], folder / f"{name}.log") for name, command in programs.items()]
        for program in started:
            program.wait()
        yield
    finally:
        for program in started:
            program.stop()


def _answers(address: str) -> bool:
    try:
        httpx2.get(address, trust_env=False, timeout=10)
    except httpx2.TransportError:
        return False
    return True


class Killed(BaseException):
    """The end of the process, which no handler of errors sees."""


class Mortal:
    """A store whose user is killed before a certain write."""

    def __init__(self, store: Store, lives: int) -> None:
        self.url, self._store, self._lives = store.url, store, lives

    def _live(self) -> None:
        self._lives -= 1
        if self._lives < 0:
            raise Killed

    def put_file(self, key: str, path: Path, sha256: str) -> None:
        self._live()
        self._store.put_file(key, path, sha256)

    def put(self, key: str, content: bytes, *, replace: bool = False) -> bool:
        self._live()
        return self._store.put(key, content, replace=replace)

    def get(self, key: str) -> bytes | None:
        return self._store.get(key)

    def get_file(self, key: str, path: Path) -> bool:
        return self._store.get_file(key, path)
