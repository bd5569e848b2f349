"""`zava doctor`: what it finds of keys and of what a provider can do, and what it says to do."""

import json
from pathlib import Path

import pytest

from tests.fake_finetuning import FakeFinetuning
from tests.shell import settings, zava


def checks(folder: Path, *more: str, **keys: object) -> dict[str, dict[str, str]]:
    _, out, _ = zava("doctor", "--json", *more, *settings(folder, **keys))
    return {check["name"]: check for check in json.loads(out)}


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "k")


@pytest.mark.usefixtures("key")
def test_a_provider_is_asked_for_what_costs_nothing_and_what_it_lacks_is_told(tmp_path: Path) -> None:
    with FakeFinetuning(models={"gpt-small"}) as provider:
        there = {"provider__base_url": provider.base_url, "training__base_model": "gpt-small"}
        found = checks(tmp_path, "--profile", "openai", **there)
        assert {name: found[f"provider: {name}"]["level"] for name in ("base model", "files", "fine-tuning")} == {
            "base model": "ok",
            "files": "ok",
            "fine-tuning": "ok",
        }
        assert all(request.startswith("GET ") for request in provider.requests)
        provider.fail("GET", "/fine_tuning/jobs", status=404)
        found = checks(tmp_path, "--profile", "openai", **{**there, "training__base_model": "gpt-none"})
        assert found["provider: fine-tuning"]["level"] == "fault"
        assert found["provider: base model"]["advice"] == "set training.base_model to one that it trains"
        provider.fail("GET", "/models/gpt-small", status=401)
        found = checks(tmp_path, "--profile", "openai", **there)
    assert found["provider: provider"]["advice"] == "put a key that may do this into OPENAI_API_KEY"
    found = checks(tmp_path, "--profile", "openai", **there)
    assert "nothing answers at" in found["provider: provider"]["found"]


def test_the_keys_of_a_teacher_and_the_secrets_of_hooks_are_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BIG_KEY", raising=False)
    monkeypatch.delenv("ZAVA_HOOK_RETRAIN_SECRET", raising=False)
    teacher = "{agent: {model: big, provider: {kind: openai, api_key_env: BIG_KEY}}}"
    found = checks(tmp_path, teacher=teacher, deployment__hooks="{retrain: {}}")
    assert found["key"]["advice"] == "export BIG_KEY=..."
    assert found["hook retrain"]["advice"] == "export ZAVA_HOOK_RETRAIN_SECRET=whsec_..."
    assert not any(name.startswith("provider:") for name in found)


def test_a_table_of_faults_fits_eighty_columns(tmp_path: Path) -> None:
    code, out, _ = zava(
        "doctor", *settings(tmp_path, services__models=tmp_path / ("deep/" * 12), services__engine="vllm")
    )
    assert code == 1
    assert max(len(line.rstrip()) for line in out.splitlines()) <= 80
