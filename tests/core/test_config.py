"""Profiles: what is read, what is filled in and how a mistake is told."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.core.config import Profile, api_key, load_profile
from tasks.core.errors import ConfigError


def test_the_local_profile_is_valid_and_names_each_port_once() -> None:
    profile = load_profile("local", ("services.model_port=9001", "services.mlflow_port=5009"))
    assert profile.provider.base_url == "http://127.0.0.1:9001/v1"
    assert profile.tracking.mlflow_uri == "http://127.0.0.1:5009"


@pytest.mark.parametrize("name", ["local", "smoke", "gpu"])
def test_each_profile_that_is_shipped_is_valid(name: str) -> None:
    assert load_profile(name).name == name


def test_an_address_that_is_given_is_kept() -> None:
    profile = load_profile(
        "local", ("tracking.mlflow_uri=http://10.0.0.1:5000", "provider.base_url=http://10.0.0.2/v1")
    )
    assert profile.tracking.mlflow_uri == "http://10.0.0.1:5000"
    assert profile.provider.base_url == "http://10.0.0.2/v1"


def test_a_hosted_provider_gets_no_local_address() -> None:
    assert load_profile("local", ("provider.kind=openai",)).provider.base_url is None


def test_the_profile_in_the_docs_is_one(tmp_path: Path) -> None:
    page = Path("docs/howto/mcp-server.md").read_text()
    [written] = re.findall(r"^```yaml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    file = tmp_path / "clinic.yaml"
    file.write_text(written)
    world = load_profile(str(file)).world
    assert all(path and Path(path).is_file() for path in (world.command[1], world.policy, world.hints))


@pytest.mark.parametrize("name", ["local", "smoke", "openai", "azure", "compatible"])
def test_each_profile_is_valid_and_survives_the_way_through_json(name: str) -> None:
    profile = load_profile(name)
    assert profile.name == name
    assert Profile.model_validate(profile.model_dump(mode="json")) == profile


@pytest.mark.parametrize(
    ("override", "hint"),
    [
        ("training.n_epoch=3", "unknown key 'training.n_epoch'; did you mean 'n_epochs'?"),
        ("trainning.n_epochs=3", "unknown key 'trainning'; did you mean 'training'?"),
        ("training.n_epochs=0", "training.n_epochs"),
        ("synthesis.intents.cancle=1", "cancle"),
        ("services=4200", "services"),
        ("teacher.budgets.calls=9", "unknown key 'teacher.budgets'; did you mean 'budget'?"),
        ("synthesis.intents={}", "names nothing that a customer of the shop could want"),
        ("world.url=http://x/mcp", "a server needs a policy"),
        ("world={url: 'http://x/mcp', policy: p.md}", "a world with a server needs a teacher"),
        ("training.n_epochs", "not of the form section.key=value"),
        ("training.n_epochs=[1", "not a YAML value"),
    ],
)
def test_a_wrong_override_is_named(override: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_profile("local", (override,))
    assert hint in str(caught.value)


def test_a_missing_profile_is_told_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"No profile 'lokal'\. Profiles in configs/: .*local"):
        load_profile("lokal")


@pytest.mark.parametrize("text", ["a: [", "- 1", "\udcff"])
def test_a_broken_profile_file_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "broken.yaml"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ConfigError, match=r"broken\.yaml"):
        load_profile(str(path))


def test_a_hosted_provider_without_its_key_is_told_which_variable_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ZAVA_API_KEY", raising=False)
    assert api_key(load_profile("local").provider) == "local"
    with pytest.raises(ConfigError, match="ZAVA_API_KEY"):
        api_key(load_profile("local", ("provider.kind=openai",)).provider)


def test_a_profile_is_written_the_same_by_every_process() -> None:
    code = "from tasks.core.config import load_profile; print(load_profile('local').model_dump_json())"
    written = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, check=True, env={**os.environ, "PYTHONHASHSEED": seed}
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(written) == 1
