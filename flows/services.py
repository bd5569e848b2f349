"""Which local services a profile needs, and the calls that bring them up and down."""

from collections.abc import Callable
from urllib.parse import urlsplit

from infra.services import catalog
from infra.services.errors import ServicesError
from infra.services.supervisor import Service, ServiceStatus, Supervisor
from tasks.artifacts import workspace
from tasks.core.config import Profile
from tasks.core.errors import DataError, ServiceError
from tasks.files import write_atomically

LOOPBACK = frozenset({"127.0.0.1", "localhost"})


def needed(profile: Profile) -> tuple[Service, ...]:
    """Return what the loop needs here for this profile, and the page, in the order in which they are stopped."""
    ports, folder = profile.services, profile.workspace
    services = []
    if _is_here(ports.shop, ports.shop_port):
        # A shop elsewhere has its page there.
        command = ("-m", "flows.cli", "page", "--profile", str(workspace(profile).page_path))
        services.append(catalog.page(ports.page_port, command))
        services.append(catalog.shop(ports.shop_port, folder, _world(profile)))
    if profile.provider.kind == "local" and _is_here(profile.provider.base_url or "", ports.model_port):
        services.append(catalog.model_server(ports.model_port, folder, ports.models, ports.engine))
    if _is_here(profile.tracking.mlflow_uri, ports.mlflow_port):
        services.append(catalog.mlflow(ports.mlflow_port, folder))
    if _is_here(ports.prefect, ports.prefect_port):
        services.append(catalog.prefect(ports.prefect_port, folder))
    return tuple(services)


def standing(profile: Profile) -> tuple[Service, ...]:
    """Return the needed services and, after `zava deploy`, first those that run what it registered."""
    return (*_of_deployment(profile), *needed(profile))


def _of_deployment(profile: Profile) -> tuple[Service, ...]:
    deployed, folder = workspace(profile).deployed, profile.workspace
    if deployed is None:
        return ()
    ports, config = deployed.services, deployed.deployment
    if not _is_here(ports.prefect, ports.prefect_port):
        # Where Prefect is somebody else's to start, so are they.
        return ()
    services = []
    if config.hooks:
        command = ("-m", "flows.cli", "webhook", "--profile", str(workspace(profile).deployed_path))
        services.append(catalog.webhook(ports.webhook_port, folder, ports.prefect, command))
    if config.pool_type == "process":
        services.append(catalog.worker(ports.worker_port, folder, ports.prefect, config.pool))
    return tuple(services)


def retire(profile: Profile) -> None:
    """Stop those services of the last deployment that this profile would run in another way."""
    before = workspace(profile).deployed
    if before is None or before == profile:
        return
    # The receiver reads its hooks at the start. A worker goes on: what it is at would be lost.
    pools = [(one.deployment.pool, one.deployment.pool_type, one.services) for one in (before, profile)]
    names = {"webhook"} if pools[0] == pools[1] else {"webhook", "worker"}
    others = tuple(service for service in _of_deployment(profile) if service.name in names)
    catalog.supervisor(profile.workspace, others).down()


def _world(profile: Profile) -> tuple[str, ...]:
    if profile.world.snapshot:
        return ("--snapshot", str(profile.world.snapshot))
    return ("--seed", str(profile.world.shop_seed))


def _is_here(address: str, port: int) -> bool:
    parts = urlsplit(address)
    return parts.hostname in LOOPBACK and parts.port == port


def supervisor(profile: Profile) -> Supervisor:
    """Return the supervisor of the profile's local services."""
    return catalog.supervisor(profile.workspace, standing(profile))


def up(profile: Profile, watch: Callable[[str, str], None] | None = None, *, loop_only: bool = False) -> list[str]:
    """Start what is not healthy and wait for all of it; return the names of those started.

    What runs deployments comes after what it needs, and is left out with `loop_only`.

    Raises:
        ServiceError: A port is taken, or a service does not start.
    """
    try:
        # JSON is YAML too. The page reads it for each conversation, so that it goes by the profile of the last `up`.
        write_atomically(workspace(profile).page_path, profile.model_dump_json(indent=2).encode())
        started = catalog.supervisor(profile.workspace, needed(profile)).up(watch=watch)
        return started if loop_only else [*started, *supervisor(profile).up(watch=watch)]
    except (ServicesError, DataError) as error:
        raise ServiceError(str(error)) from error


def fetch_base(profile: Profile, tell: Callable[[str], None]) -> None:
    """Fetch the base model, where it is that of `services.hub_model`, for a model server that is started here.

    Nothing is fetched where its folder is there, or `training.base_model` names another one.

    Raises:
        ServiceError: The hub does not give it.
    """
    name, models = profile.services.hub_model, profile.services.models
    if name is None or not any(service.name == "model" for service in needed(profile)):
        return
    from infra.model_server import hub

    folder = hub.folder_of(name, models)
    if folder.exists() or folder.name != profile.training.base_model:
        return
    tell(f"Fetching {name} from the Hugging Face hub for {folder}")
    try:
        hub.fetch(name, models)
    except (hub.FetchError, OSError) as error:
        raise ServiceError(str(error)) from error


def down(profile: Profile, watch: Callable[[str, str], None] | None = None) -> list[str]:
    """Stop the profile's services and return the names of those stopped.

    Raises:
        ServiceError: The workspace cannot be written.
    """
    try:
        return supervisor(profile).down(watch=watch)
    except ServicesError as error:
        raise ServiceError(str(error)) from error


def status(profile: Profile) -> list[ServiceStatus]:
    """Return how each of the profile's services is."""
    return supervisor(profile).status()


def cpu_seconds(profile: Profile) -> float:
    """Return the CPU time that the running services have used so far, over all their processes and cores."""
    return supervisor(profile).cpu_seconds()
