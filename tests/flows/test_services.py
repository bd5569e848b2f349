"""Which services a profile has started on this machine."""

from pathlib import Path

import pytest

from flows import services
from tasks.artifacts import workspace
from tasks.core.config import Profile, load_profile
from tasks.core.errors import ConfigError
from tasks.files import write_atomically


def names(profile: Profile) -> list[str]:
    return [service.name for service in services.standing(profile)]


@pytest.mark.parametrize(
    ("elsewhere", "here"),
    [
        ((), ["page", "shop", "model", "mlflow", "prefect"]),
        (("services.prefect_url=http://127.0.0.1:4200",), ["page", "shop", "model", "mlflow", "prefect"]),
        (("services.prefect_url=https://prefect.example",), ["page", "shop", "model", "mlflow"]),
        (("services.shop_url=http://shop:8765/mcp", "tracking.mlflow_uri=http://mlflow:5000"), ["model", "prefect"]),
    ],
)
def test_what_a_profile_names_elsewhere_is_not_started_here(elsewhere: tuple[str, ...], here: list[str]) -> None:
    assert names(load_profile("local", elsewhere)) == here


def test_where_prefect_is_elsewhere_so_is_what_runs_deployments(tmp_path: Path) -> None:
    for address, here in (("", ["webhook", "worker"]), ("https://prefect.example", [])):
        profile = load_profile("team", (f"workspace={tmp_path}", f"services.prefect_url='{address}'"))
        write_atomically(workspace(profile).deployed_path, profile.model_dump_json().encode())
        assert [name for name in names(profile) if name != "prefect"] == here


@pytest.mark.parametrize("key", ["services.prefect_url=http://prefect:4200/", "services.shop_url=shop:8765"])
def test_an_address_of_another_form_is_told(key: str) -> None:
    with pytest.raises(ConfigError, match=r"services\.(prefect|shop)_url"):
        load_profile("local", (key,))
