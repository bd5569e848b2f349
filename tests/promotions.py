"""Finished runs in a real MLflow store, ready to be promoted, and what the registry holds of them."""

from itertools import count
from pathlib import Path
from typing import Any

from tasks import report, track
from tasks.artifacts import workspace
from tasks.clients import mlflow_client
from tasks.core.config import Profile, load_profile
from tasks.core.run import PrefectRun, RunSummary
from tests import stores
from tests.cases import good_summary

_NUMBERS = count(1)


def a_store(folder: Path) -> Path:
    """Return the folder of a fresh MLflow store with an experiment whose artifacts lie there too."""
    stores.a_store(folder)
    profile = load_profile("local", settings(folder, folder, "http://127.0.0.1:9/v1"))
    # Without a server the artifacts would lie in the working folder.
    mlflow_client(profile.tracking).create_experiment(profile.tracking.experiment, str(folder / "artifacts"))
    return folder


def settings(store: Path, folder: Path, base_url: str) -> tuple[str, ...]:
    """Return the overrides of a profile with a workspace and a registered model of its own."""
    return (
        f"workspace={folder}/workspace",
        f"provider.base_url={base_url}",
        f"tracking.mlflow_uri=sqlite:///{store}/mlflow.db",
        f"promotion.registered_model=retail-{next(_NUMBERS)}",
        "promotion.max_cost=10",
    )


def a_finished_run(profile: Profile, model_id: str, **changes: Any) -> str:
    """Record a run whose model passes the gate, with changes to its summary, and return its MLflow id."""
    name = f"run-{next(_NUMBERS)}"
    tracked = track.open_run(profile, PrefectRun(run_id=name, name=name, address="http://127.0.0.1/p"), {})
    summary = good_summary(profile.workspace / name, tracked=tracked, model_id=model_id)
    compared = summary.comparison
    tuned = compared.tuned.model_copy(update={"model_id": model_id})
    summary = summary.model_copy(update={"comparison": compared.model_copy(update={"tuned": tuned}), **changes})
    report.write_report(RunSummary.model_validate(dict(summary)), workspace(profile).run_folder(tracked.run_id))
    return tracked.run_id


def aliases(profile: Profile) -> dict[str, str]:
    """Return the model id behind each alias."""
    client, name = mlflow_client(profile.tracking), profile.promotion.registered_model
    held = client.search_registered_models(f"name='{name}'")
    return {
        alias: client.get_model_version(name, str(number)).tags["zava.model_id"]
        for alias, number in (held[0].aliases.items() if held else ())
    }


def holdings(profile: Profile) -> dict[str, Any]:
    """Return all that the registry and the workspace hold of a registered model, to be compared."""
    client, name = mlflow_client(profile.tracking), profile.promotion.registered_model
    held = client.get_registered_model(name)
    versions = client.search_model_versions(f"name='{name}'")
    return {
        "aliases": dict(held.aliases),
        "tags": dict(held.tags),
        "versions": {str(one.version): dict(one.tags) for one in versions},
        "bundles": {one.run_id: bundles(profile, one.run_id) for one in versions},
        "champion": (profile.workspace / "champion.json").read_text(),
    }


def bundles(profile: Profile, run_id: str) -> list[str]:
    """Return the names of the evidence bundles of a run in MLflow."""
    return [Path(one.path).name for one in mlflow_client(profile.tracking).list_artifacts(run_id, "promotion")]
