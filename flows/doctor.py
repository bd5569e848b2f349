"""Looks at the machine and the installation, and says for each fault what to do."""

import importlib.metadata
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from packaging.specifiers import SpecifierSet

from flows import services
from tasks.core.config import Profile, api_key
from tasks.core.errors import ConfigError

Level = Literal["ok", "warning", "fault"]

# Versions inside the bounds that the packages declare, and yet broken together.
TRAPS = {
    "fastapi": (SpecifierSet(">=0.139,<0.151"), "the Prefect server does not start with later ones"),
    "sqlalchemy": (SpecifierSet(">=2.0,<2.1"), "Prefect's scheduler silently does nothing with later ones"),
    "prefect": (SpecifierSet(">=3.8,<4"), "the flows are written for it"),
    "mlflow": (SpecifierSet(">=3.17,<4"), "the tracking calls are written for it"),
    "openai": (SpecifierSet(">=3,<4"), "the provider's client is written for it"),
    "mcp": (SpecifierSet(">=2.3,<3"), "its server class is renamed between majors"),
}
REINSTALL = "make clean-venv run, or pip install with the constraints file"
DISK_GIB = 3.0
MEMORY_GIB = 4.0


class Check(NamedTuple):
    """One thing looked at: what was found and, where it is not right, what to do."""

    name: str
    level: Level
    found: str
    advice: str = ""


def examine(profile: Profile) -> list[Check]:
    """Look at everything that a run of this profile needs on this machine."""
    return [*_python(), *_packages(), *_workspace(profile), *_machine(), *_provider(profile), *_services(profile)]


def _python() -> Iterator[Check]:
    version = ".".join(str(part) for part in sys.version_info[:3])
    good = sys.version_info >= (3, 11)
    yield Check("python", "ok" if good else "fault", version, "" if good else "install Python 3.11 or later")


def _packages() -> Iterator[Check]:
    for name, (wanted, why) in TRAPS.items():
        try:
            have = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            yield Check(name, "fault", "not installed", REINSTALL)
            continue
        if wanted.contains(have, prereleases=True):
            yield Check(name, "ok", have)
        else:
            yield Check(name, "fault", f"{have}, wanted {wanted}: {why}", REINSTALL)


def _workspace(profile: Profile) -> Iterator[Check]:
    folder = profile.workspace.absolute()
    nearest = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK):
        yield Check("workspace", "ok", str(profile.workspace))
    else:
        yield Check("workspace", "fault", f"{nearest} cannot be written", "choose another: --set workspace=FOLDER")
        return
    free = shutil.disk_usage(nearest).free / 2**30
    enough = free >= DISK_GIB
    advice = "" if enough else f"free some: a run wants {DISK_GIB:.0f} GiB"
    yield Check("disk", "ok" if enough else "warning", f"{free:.1f} GiB free", advice)


def _machine() -> Iterator[Check]:
    cores = os.cpu_count() or 1
    yield Check("cores", "ok" if cores >= 2 else "warning", str(cores), "" if cores >= 2 else "training will be slow")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    enough = memory >= MEMORY_GIB
    advice = "" if enough else f"services and training together want {MEMORY_GIB:.0f} GiB"
    yield Check("memory", "ok" if enough else "warning", f"{memory:.1f} GiB", advice)


def _provider(profile: Profile) -> Iterator[Check]:
    if profile.provider.kind == "local":
        yield _base_model(profile.services.models, profile.training.base_model)
        return
    try:
        api_key(profile.provider)
    except ConfigError as error:
        yield Check("key", "fault", str(error), f"export {profile.provider.api_key_env}=...")
    else:
        yield Check("key", "ok", f"{profile.provider.api_key_env} is set")


def _base_model(models: Path, name: str) -> Check:
    weights = sorted((models / name).glob("*.safetensors"))
    if weights:
        size = sum(file.stat().st_size for file in weights) / 2**20
        return Check("base model", "ok", f"{name}, {size:.1f} MiB")
    have = ", ".join(sorted({file.parent.name for file in models.glob("*/*.safetensors")})) or "none"
    return Check(
        "base model", "fault", f"no weights of {name!r} in {models}", f"set training.base_model; there: {have}"
    )


def _services(profile: Profile) -> Iterator[Check]:
    for row in services.status(profile):
        name = f"{row.name} :{row.port}"
        if row.state == "healthy":
            yield Check(name, "ok", row.address)
        elif row.state == "foreign":
            from infra.services.ports import holder

            advice = f"stop it, or choose another port: --set services.{row.name}_port=NUMBER"
            yield Check(name, "fault", f"port taken by {holder(row.port)}", advice)
        else:
            yield Check(name, "warning", row.state, "zava up")
