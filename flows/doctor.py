"""Looks at the machine and the installation, and says for each fault what to do."""

import importlib.metadata
import os
import shutil
import sys
from collections.abc import Iterator
from typing import Literal, NamedTuple

from packaging.specifiers import SpecifierSet

from flows import services
from infra.services.supervisor import ServiceStatus
from tasks import signature
from tasks.capabilities import capabilities
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
    services_now = services.status(profile)
    return [
        *_python(),
        *_packages(),
        *_workspace(profile),
        *_machine(profile),
        *_keys(profile),
        *_provider(profile, services_now),
        *_services(services_now),
    ]


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


def _machine(profile: Profile) -> Iterator[Check]:
    cores = os.cpu_count() or 1
    yield Check("cores", "ok" if cores >= 2 else "warning", str(cores), "" if cores >= 2 else "training will be slow")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    enough = memory >= MEMORY_GIB
    advice = "" if enough else f"services and training together want {MEMORY_GIB:.0f} GiB"
    yield Check("memory", "ok" if enough else "warning", f"{memory:.1f} GiB", advice)
    if profile.services.engine == "vllm" and shutil.which("vllm") is None:
        yield Check("vllm", "fault", "no program 'vllm' on PATH", "pip install vllm, or services.engine=transformers")


def _keys(profile: Profile) -> Iterator[Check]:
    """Look for the key of every provider that the profile names, and for the secrets of its hooks."""
    providers = [profile.provider, *(arm.provider for arm in profile.evaluation.arms)]
    if profile.teacher is not None:
        providers += [profile.teacher.agent.provider, profile.teacher.speaks_for_customer.provider]
    hosted = {one.api_key_env: one for one in providers if one is not None and one.kind != "local"}
    for variable, provider in hosted.items():
        try:
            api_key(provider)
        except ConfigError as error:
            yield Check("key", "fault", str(error), f"export {variable}=...")
        else:
            yield Check("key", "ok", f"{variable} is set")
    for hook in profile.deployment.hooks:
        try:
            signature.verifiers(hook)
        except ConfigError as error:
            yield Check(f"hook {hook}", "fault", str(error), f"export {signature.secret_variable(hook)}=whsec_...")
        else:
            yield Check(f"hook {hook}", "ok", f"{signature.secret_variable(hook)} is set")


def _provider(profile: Profile, services_now: list[ServiceStatus]) -> Iterator[Check]:
    """Ask the provider what it can do, where it can be asked: it is up, and there is a key."""
    ours = {row.name: row.state for row in services_now}
    if profile.provider.kind == "local" and "model" in ours:
        yield _base_model(profile)
        if ours["model"] != "healthy":
            return
    try:
        api_key(profile.provider)
    except ConfigError:
        return
    for one in capabilities(profile):
        # What a provider does not tell of it may train all the same.
        level: Level = "ok" if one.works else "warning" if one.name == "base model" else "fault"
        yield Check(f"provider: {one.name}", level, one.found, one.advice)


def _base_model(profile: Profile) -> Check:
    models, name, hub_model = profile.services.models, profile.training.base_model, profile.services.hub_model
    weights = sorted((models / name).glob("*.safetensors"))
    if weights:
        size = sum(file.stat().st_size for file in weights) / 2**20
        return Check("base model", "ok", f"{name}, {size:.1f} MiB")
    missing = f"no weights of {name!r} in {models}"
    if hub_model is not None and hub_model.partition("@")[0].endswith(f"/{name}"):
        return Check("base model", "warning", missing, f"zava up, which fetches {hub_model} from the hub")
    have = ", ".join(sorted({file.parent.name for file in models.glob("*/*.safetensors")})) or "none"
    return Check("base model", "fault", missing, f"set training.base_model; there: {have}")


def _services(services_now: list[ServiceStatus]) -> Iterator[Check]:
    for row in services_now:
        name = f"{row.name} :{row.port}"
        if row.state == "healthy":
            yield Check(name, "ok", row.address)
        elif row.state == "foreign":
            from infra.services.ports import holder

            advice = f"stop it, or choose another port: --set services.{row.name}_port=NUMBER"
            yield Check(name, "fault", f"port taken by {holder(row.port)}", advice)
        else:
            yield Check(name, "warning", row.state, "zava up")
