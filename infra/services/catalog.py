"""The services of this project, as commands: shop, model server, MLflow, Prefect, its worker, webhooks, the page."""

import os
import sys
from pathlib import Path

from infra.services.ports import HOST
from infra.services.supervisor import Service, Supervisor

# Nothing that runs here reports home, or asks elsewhere what a traced answer costs. Each library has its own variable.
QUIET = {
    "DO_NOT_TRACK": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_MODEL_CATALOG_URI": "",
}

# A run that waits its turn behind a retraining is not late. And on SQLite, Prefect marks late runs many at a time, each
# reading before it writes: they refuse each other and whoever begins runs, and may make the server stand still for a
# minute (flows/bundler.py says why).
LATE_AFTER_S = 1800


def prefect_home(workspace: Path) -> Path:
    """Return the folder that stands in for the user's own ~/.prefect."""
    return workspace.absolute() / "prefect"


def shop(port: int, workspace: Path, arguments: tuple[str, ...] = ()) -> Service:
    """Return the Retail MCP server over streamable HTTP."""
    command = (sys.executable, "-m", "zava_mcp", "--transport", "http", "--port", str(port), *arguments)
    return Service(
        name="shop",
        command=command,
        port=port,
        port_key="services.shop_port",
        address=f"http://{HOST}:{port}/mcp",
        health_url=f"http://{HOST}:{port}/healthz",
    )


def model_server(port: int, workspace: Path, models: Path, engine: str = "transformers") -> Service:
    """Return the OpenAI-shaped model server; `models` is the folder of base checkpoints, `engine` what answers."""
    data = workspace.absolute() / "model-server"
    command = (
        sys.executable,
        "-m",
        "infra.model_server",
        "--port",
        str(port),
        "--data",
        str(data),
        "--models",
        str(models),
        "--engine",
        engine,
    )
    return Service(
        name="model",
        command=command,
        port=port,
        port_key="services.model_port",
        address=f"http://{HOST}:{port}/v1",
        health_url=f"http://{HOST}:{port}/healthz",
        env={"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"},
    )


def mlflow(port: int, workspace: Path) -> Service:
    """Return the MLflow tracking server on SQLite, its artifacts beside it."""
    home = workspace.absolute() / "mlflow"
    store = (
        "--backend-store-uri",
        f"sqlite:///{home / 'mlflow.db'}",
        "--artifacts-destination",
        str(home / "artifacts"),
    )
    listen = ("--host", HOST, "--port", str(port), "--workers", "1")
    return Service(
        name="mlflow",
        command=(sys.executable, "-m", "mlflow", "server", *store, *listen),
        port=port,
        port_key="services.mlflow_port",
        address=f"http://{HOST}:{port}",
        health_url=f"http://{HOST}:{port}/health",
        home=home,
        # Its job workers cost 20 s of start and 1.5 GB, and nothing here uses them.
        env={**QUIET, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
    )


def prefect(port: int, workspace: Path) -> Service:
    """Return the Prefect server with its UI, its state under the workspace."""
    home = prefect_home(workspace)
    return Service(
        name="prefect",
        command=(sys.executable, "-m", "prefect", "server", "start", "--host", HOST, "--port", str(port)),
        port=port,
        port_key="services.prefect_port",
        address=f"http://{HOST}:{port}",
        health_url=f"http://{HOST}:{port}/api/health",
        home=home,
        env={
            **QUIET,
            "PREFECT_HOME": str(home),
            # The server writes its UI with the API's address filled in; not into the installed package.
            "PREFECT_SERVER_UI_STATIC_DIRECTORY": str(home / "ui"),
            "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
            "PREFECT_SERVER_SERVICES_LATE_RUNS_AFTER_SECONDS": str(LATE_AFTER_S),
            "PREFECT_API_URL": f"http://{HOST}:{port}/api",
            "PREFECT_PROFILES_PATH": str(home / "profiles.toml"),
        },
    )


def worker(port: int, workspace: Path, prefect_url: str, pool: str) -> Service:
    """Return a Prefect worker that runs what a process pool is asked for; `port` is that of its health."""
    command = (sys.executable, "-m", "prefect", "worker", "start", "--pool", pool, "--type", "process")
    return Service(
        name="worker",
        command=(*command, "--with-healthcheck"),
        port=port,
        port_key="services.worker_port",
        address=f"pool {pool}",
        health_url=f"http://{HOST}:{port}/health",
        env={
            **client_environment(workspace, prefect_url),
            "PREFECT_WORKER_WEBSERVER_HOST": HOST,
            "PREFECT_WORKER_WEBSERVER_PORT": str(port),
        },
    )


def webhook(port: int, workspace: Path, prefect_url: str, command: tuple[str, ...]) -> Service:
    """Return the receiver of messages from outside, which the command starts."""
    return Service(
        name="webhook",
        command=(sys.executable, *command),
        port=port,
        port_key="services.webhook_port",
        address=f"http://{HOST}:{port}/hooks",
        health_url=f"http://{HOST}:{port}/healthz",
        env=client_environment(workspace, prefect_url),
    )


def page(port: int, command: tuple[str, ...]) -> Service:
    """Return the web page for the agent, which the command serves."""
    return Service(
        name="page",
        command=(sys.executable, *command),
        port=port,
        port_key="services.page_port",
        address=f"http://{HOST}:{port}",
        health_url=f"http://{HOST}:{port}/healthz",
    )


def client_environment(workspace: Path, prefect_url: str) -> dict[str, str]:
    """Return the variables that a process needs before it imports Prefect or MLflow to use these services alone."""
    local = f"{HOST},localhost"
    beside = [value for name in ("NO_PROXY", "no_proxy") if (value := os.environ.get(name))]
    no_proxy = ",".join([*beside[:1], local])
    return {
        **QUIET,
        "PREFECT_HOME": str(prefect_home(workspace)),
        "PREFECT_PROFILES_PATH": str(prefect_home(workspace) / "profiles.toml"),
        "PREFECT_API_URL": f"{prefect_url}/api",
        # MLflow would print addresses between the lines of the command.
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        "NO_PROXY": no_proxy,
        "no_proxy": no_proxy,
    }


def supervisor(workspace: Path, services: tuple[Service, ...]) -> Supervisor:
    """Return the supervisor of a workspace's services."""
    return Supervisor(workspace / "services", services)
