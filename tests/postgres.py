"""A real PostgreSQL server of its own, where the programs are installed; it does not run as root."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

import pytest

from tests.ports import free_port

PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))


@contextmanager
def running(port: int | None = None, user: str = "zava", password: str | None = None) -> Iterator[str]:
    """Run a server, on a free port by default, its tests skipped where there is none; yield `zava@HOST:PORT`."""
    if not PROGRAMS:
        pytest.skip("no PostgreSQL server under /usr/lib/postgresql: apt-get install postgresql")
    root = os.getuid() == 0
    if root and "postgres" not in {entry.pw_name for entry in pwd.getpwall()}:
        pytest.skip("PostgreSQL does not run as root and there is no user 'postgres'")
    as_user: dict[str, str] = {"user": "postgres"} if root else {}
    binaries, folder = PROGRAMS[-1].parent, Path(mkdtemp(prefix="zava-pg-"))
    secret = folder / "password"
    secret.write_text(password or "")
    if root:
        shutil.chown(folder, "postgres")
        shutil.chown(secret, "postgres")
    port = port or free_port()
    access = ["-A", "scram-sha-256", "--pwfile", str(secret)] if password else ["-A", "trust"]
    data, control = folder / "data", [str(binaries / "pg_ctl"), "-D", str(folder / "data"), "-w"]
    quiet = {"check": True, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder, **as_user}
    try:
        subprocess.run([str(binaries / "initdb"), "-D", str(data), *access, "-U", user], **quiet)  # type: ignore[call-overload]
        options = f"-h 127.0.0.1 -p {port} -k {folder} -c fsync=off"
        subprocess.run([*control, "-l", str(folder / "log"), "-o", options, "start"], **quiet)  # type: ignore[call-overload]
        yield f"{user}@127.0.0.1:{port}"
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], **(quiet | {"check": False}))  # type: ignore[call-overload]
        shutil.rmtree(folder)
