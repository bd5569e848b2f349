"""The engine `vllm`, against a program that says over HTTP what `vllm serve` says. It was not run on a GPU."""

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import psutil
import pytest
from openai import OpenAI

from infra.model_server.database import Database
from infra.model_server.errors import VllmMissingError
from infra.model_server.registry import Registry, insert_model
from infra.model_server.settings import BASE_MODELS, Settings
from infra.model_server.vllm import Vllm
from tests.infra.model_server import live, tiny

FAKE = Path(__file__).parent / "fake_vllm.py"
ADAPTER = "ft:tiny:local::one"
ALIVE = ("running", "sleeping")


def an_adapter(data: Path, base: str = "tiny") -> None:
    """Add an adapter to a server's models, as a job leaves it."""
    folder = data / "models" / "one"
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": base}))
    with Database(data / "state.sqlite3").transaction() as connection:
        insert_model(connection, model_id=ADAPTER, folder="one", base="tiny", job_id="ftjob-1")


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bin" / "vllm"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {FAKE} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")


@pytest.fixture
def models(tmp_path: Path, models_dir: Path) -> Path:
    for name in ("tiny", "other"):
        shutil.copytree(models_dir / "tiny", tmp_path / "models" / name)
    return tmp_path / "models"


@pytest.fixture
def client(installed: None, tmp_path: Path, models: Path) -> Iterator[OpenAI]:
    data = tmp_path / "data"
    data.mkdir()
    an_adapter(data)
    with live.serving(Settings(data=data, models=models, engine="vllm")) as port, live.client_of(port) as client:
        yield client
    assert not (data / "vllm.json").exists()
    assert not [process for process in psutil.process_iter(["cmdline"]) if str(models) in str(process.info["cmdline"])]


def ask(client: OpenAI, said: str, model: str = "tiny", **options: Any) -> Any:
    return client.chat.completions.create(model=model, messages=[{"role": "user", "content": said}], **options)


def test_chat_passes_through_to_one_process_with_the_adapter_loaded(client: OpenAI) -> None:
    plain = ask(client, "hello", temperature=0, max_completion_tokens=7, user="u1")
    passed = json.loads(plain.choices[0].message.content)
    assert passed == {
        "model": "tiny", "messages": [{"role": "user", "content": "hello"}], "temperature": 0,
        "max_completion_tokens": 7,
    }  # fmt: skip
    call = ask(client, "k1", model=ADAPTER, tools=tiny.TOOLS)
    assert call.model == ADAPTER
    assert call.choices[0].finish_reason == "tool_calls"
    [made] = call.choices[0].message.tool_calls
    assert (made.function.name, json.loads(made.function.arguments)) == ("look_up", {"key": "k1"})
    # The fake refuses an adapter that it has already, and tells its process.
    assert ask(client, "again", model=ADAPTER).created == call.created == plain.created

    with ask(client, "hi", stream=True) as stream:
        assert "".join(chunk.choices[0].delta.content for chunk in stream) == "you said: hi"


def test_what_vllm_refuses_is_refused_and_what_it_cannot_load_says_why(client: OpenAI, models: Path) -> None:
    with pytest.raises(openai.BadRequestError, match="maximum context length is 512"):
        ask(client, "refuse")
    with pytest.raises(openai.BadRequestError, match="maximum context length is 512"):
        ask(client, "refuse", stream=True)
    (models / "other" / "too-large").touch()
    with pytest.raises(openai.InternalServerError, match=r"vLLM did not start: .*CUDA out of memory") as failure:
        ask(client, "hello", model="other")
    assert failure.value.code == "model_failed"
    with pytest.raises(openai.NotFoundError):
        ask(client, "hello", model="unknown")


def test_it_starts_again_after_a_fall_and_for_other_weights(client: OpenAI) -> None:
    first = ask(client, "hello", model=ADAPTER).created
    with pytest.raises(openai.InternalServerError, match="vLLM broke off"):
        ask(client, "fall", model=ADAPTER)
    second = ask(client, "hello", model=ADAPTER).created
    third = ask(client, "hello", model="other").created
    assert len({first, second, third}) == 3
    assert not psutil.pid_exists(second)


def test_one_that_a_killed_server_left_ends_at_the_next_start(installed: None, tmp_path: Path, models: Path) -> None:
    settings = Settings(data=tmp_path, models=models, engine="vllm")
    registry = Registry(Database(settings.database), settings)
    Vllm(settings, registry).ready(registry.get("tiny"))
    left = json.loads((tmp_path / "vllm.json").read_text())["pid"]
    assert psutil.Process(left).status() in ALIVE
    Vllm(settings, registry)
    assert not psutil.pid_exists(left)


def test_a_model_with_a_renderer_of_its_own_stays_with_this_server(installed: None, tmp_path: Path) -> None:
    settings = Settings(data=tmp_path, models=BASE_MODELS, engine="vllm")
    registry = Registry(Database(settings.database), settings)
    assert not Vllm(settings, registry).serves(registry.get("zava-base"))


def test_without_the_program_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    settings = Settings(data=tmp_path, engine="vllm")
    with pytest.raises(VllmMissingError, match="pip install vllm"):
        Vllm(settings, Registry(Database(settings.database), settings))
