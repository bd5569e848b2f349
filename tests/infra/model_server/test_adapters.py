"""Adapters: trained by themselves, and answered by the weights that they share."""

import gc
import json
import random
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from infra.model_server.database import Database
from infra.model_server.engines import Engines
from infra.model_server.errors import InvalidRequestError, ModelFailedError, ModelNotFoundError
from infra.model_server.generation import Generation
from infra.model_server.loaded import LoadedModel, ModelPool
from infra.model_server.progress import Hyperparameters, JobSpec
from infra.model_server.registry import Registry, insert_model
from infra.model_server.sampling import sampler
from infra.model_server.settings import Settings
from infra.model_server.trainer import adapters, run
from tests.infra.model_server import tiny

pytestmark = [
    # PEFT 0.21 asks transformers 5.23 by a name that is to go.
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
    # It doubts that several adapters on one model are meant; here they are.
    pytest.mark.filterwarnings("ignore:Already found a `peft_config` attribute:UserWarning"),
]

PROMPT = [30, 31, 32, 40, 50, 60]


def train(job_dir: Path, model_dir: Path, *, seed: int, adapter: Path | None = None, lora: str = "always") -> Path:
    """Train an adapter and return its folder."""
    job_dir.mkdir(parents=True)
    (job_dir / "training.jsonl").write_bytes(tiny.jsonl(8, seed))
    choices = Hyperparameters(n_epochs=1, batch_size=4, learning_rate_multiplier=5)
    spec = JobSpec(
        job_id=job_dir.name, base="tiny", model_dir=model_dir, adapter_dir=adapter, seed=seed, hyperparameters=choices,
        lora=lora,  # type: ignore[arg-type]
    )  # fmt: skip
    (job_dir / "job.json").write_text(spec.model_dump_json())
    run.run_job(job_dir)
    return job_dir / "model"


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory, models_dir: Path) -> Path:
    """A folder of two adapters, made so different from each other that their answers differ."""
    folder = tmp_path_factory.mktemp("tuned")
    for name, seed in (("one", 1), ("two", 2)):
        train(folder / f"job-{name}", models_dir / "tiny", seed=seed).rename(folder / name)
        weights = folder / name / "adapter_model.safetensors"
        draw = torch.Generator().manual_seed(seed)
        save_file({k: v + torch.randn(v.shape, generator=draw) / 4 for k, v in load_file(weights).items()}, weights)
    return folder


@pytest.fixture
def registry(tmp_path: Path, models_dir: Path, tuned: Path) -> Registry:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "models").symlink_to(tuned)
    database = Database(tmp_path / "data" / "state.sqlite3")
    with database.transaction() as connection:
        for name in ("one", "two"):
            insert_model(connection, model_id=f"ft:tiny:{name}", folder=name, base="tiny", job_id="ftjob-a")
    return Registry(database, settings(tmp_path, models_dir))


def settings(tmp_path: Path, models_dir: Path, **limits: int) -> Settings:
    return Settings(data=tmp_path / "data", models=models_dir, **limits)  # type: ignore[arg-type]


@pytest.fixture
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engines]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("torch.get_num_threads", lambda: 2)
        engines = Engines(Settings(data=tmp_path_factory.mktemp("engines")))
    engines.start()
    yield engines
    engines.stop()


def merged_answer(models_dir: Path, adapter: Path | None, prompt: list[int]) -> list[int]:
    """Return what a model says whose adapter was merged into its weights, read anew for each token."""
    model: Any = AutoModelForCausalLM.from_pretrained(models_dir / "tiny", dtype=torch.float32)
    if adapter is not None:
        model = PeftModel.from_pretrained(model, str(adapter)).merge_and_unload()
    said: list[int] = []
    with torch.inference_mode():
        for _ in range(8):
            said.append(int(model(input_ids=torch.tensor([prompt + said])).logits[0, -1].argmax()))
    return said


def answers(engines: Engines, asked: list[tuple[LoadedModel, list[int]]]) -> list[list[int]]:
    generations = [Generation(loaded, prompt, sampler(0, 1, None), 8) for loaded, prompt in asked]
    for generation in generations:
        engines.submit([generation])
    return [generation.future.result(60).tokens for generation in generations]


def test_an_adapter_is_small_and_names_its_model_by_id(tuned: Path, models_dir: Path) -> None:
    assert sorted(path.name for path in (tuned / "one").iterdir()) == [
        "adapter_config.json", "adapter_model.safetensors",
    ]  # fmt: skip
    config = json.loads((tuned / "one" / "adapter_config.json").read_text())
    assert (config["base_model_name_or_path"], config["r"]) == ("tiny", adapters.RANK)
    assert str(models_dir) not in (tuned / "one" / "adapter_config.json").read_text()


def test_adapters_answer_side_by_side_on_one_set_of_weights(
    registry: Registry, engines: Engines, tmp_path: Path, models_dir: Path, tuned: Path
) -> None:
    pool = ModelPool(settings(tmp_path, models_dir), registry)
    names = ["tiny", "ft:tiny:one", "ft:tiny:two"]
    loaded = [pool.get(registry.get(name)) for name in names]
    assert len({id(model.weights) for model in loaded}) == 1
    draw = random.Random(4)
    prompts = [[*PROMPT, draw.randrange(10, 200)] for _ in range(4)]
    asked = [(model, prompt) for prompt in prompts for model in loaded]
    found = answers(engines, asked)
    folders = [None, tuned / "one", tuned / "two"]
    expected = [merged_answer(models_dir, folder, prompt) for prompt in prompts for folder in folders]
    # An answer ends where the model says so; the merged reference goes on.
    assert found == [want[: len(got)] for got, want in zip(found, expected, strict=True)]
    assert len({tuple(answer) for answer in found[:3]}) == 3


def test_an_unloaded_adapter_leaves_the_weights_and_comes_back(
    registry: Registry, engines: Engines, tmp_path: Path, models_dir: Path, tuned: Path
) -> None:
    pool = ModelPool(settings(tmp_path, models_dir, loaded_models_bytes=1), registry)
    one = pool.get(registry.get("ft:tiny:one"))
    weights = one.weights
    assert len(weights.model.peft_config) == 1
    # The answer under way keeps its adapter although there is room for one model only.
    generation = Generation(one, PROMPT, sampler(0, 1, None), 8)
    two = pool.get(registry.get("ft:tiny:two"))
    assert two.weights is weights
    assert pool.ready(registry.get("ft:tiny:one")) is None
    engines.submit([generation])
    first = generation.future.result(60).tokens
    assert first == merged_answer(models_dir, tuned / "one", PROMPT)[: len(first)]
    del one, generation
    gc.collect()
    [said] = answers(engines, [(two, PROMPT)])
    assert [name.partition("-")[0] for name in weights.model.peft_config] == ["two"]
    assert said == merged_answer(models_dir, tuned / "two", PROMPT)[: len(said)]
    again = pool.get(registry.get("ft:tiny:one"))
    del two
    gc.collect()
    assert answers(engines, [(again, PROMPT)])[0] == first
    plain = pool.get(registry.get("tiny"))
    assert answers(engines, [(plain, PROMPT)])[0] == merged_answer(models_dir, None, PROMPT)[:8]


def test_a_broken_adapter_is_named_and_its_weights_go_on(
    registry: Registry, engines: Engines, tmp_path: Path, models_dir: Path, tuned: Path
) -> None:
    pool = ModelPool(settings(tmp_path, models_dir), registry)
    whole = pool.get(registry.get("ft:tiny:one"))
    broken = tuned / "broken"
    broken.mkdir(exist_ok=True)
    (broken / "adapter_config.json").write_text((tuned / "one" / "adapter_config.json").read_text())
    (broken / "adapter_model.safetensors").write_bytes(b"not weights")
    with Database(tmp_path / "data" / "state.sqlite3").transaction() as connection:
        insert_model(connection, model_id="ft:tiny:broken", folder="broken", base="tiny", job_id="ftjob-a")
    with pytest.raises(ModelFailedError, match="'ft:tiny:broken' cannot be loaded"):
        pool.get(registry.get("ft:tiny:broken"))
    [said] = answers(engines, [(whole, PROMPT)])
    assert said == merged_answer(models_dir, tuned / "one", PROMPT)[: len(said)]


def test_an_adapter_is_trained_further_on_the_same_model(tmp_path: Path, models_dir: Path, tuned: Path) -> None:
    folder = train(tmp_path / "job", models_dir / "tiny", seed=5, adapter=tuned / "one", lora="never")
    assert json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"] == "tiny"
    before, after = (load_file(path / "adapter_model.safetensors") for path in (tuned / "one", folder))
    assert before.keys() == after.keys()
    assert 0 < max((before[key] - after[key]).abs().max().item() for key in before) < 0.5


def test_a_model_that_others_adapt_stays_and_a_missing_one_is_named(
    registry: Registry, tmp_path: Path, tuned: Path
) -> None:
    config = json.loads((tuned / "two" / "adapter_config.json").read_text())
    for name, adapts in (("three", "ft:tiny:one"), ("four", "ft:tiny:gone")):
        (tuned / name).mkdir(exist_ok=True)
        text = json.dumps({**config, "base_model_name_or_path": adapts})
        (tuned / name / "adapter_config.json").write_text(text)
        connection = sqlite3.connect(tmp_path / "data" / "state.sqlite3")
        insert_model(connection, model_id=f"ft:tiny:{name}", folder=name, base="tiny", job_id="ftjob-a")
        connection.commit()
        connection.close()
    with pytest.raises(InvalidRequestError, match="adapted by 1 other models; delete those first: 'ft:tiny:three'"):
        registry.delete("ft:tiny:one")
    with pytest.raises(ModelNotFoundError, match="'ft:tiny:gone' does not exist"):
        registry.weights(registry.get("ft:tiny:four"))


def test_auto_adapts_large_models_only(models_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = JobSpec(job_id="a", model_dir=models_dir / "tiny", seed=1, hyperparameters=Hyperparameters())
    assert not isinstance(adapters.load_model(spec), PeftModel)
    monkeypatch.setattr(adapters, "LARGE_ENOUGH", 50_000)
    adapted = adapters.load_model(spec)
    assert isinstance(adapted, PeftModel)
    trained = {name for name, parameter in adapted.named_parameters() if parameter.requires_grad}
    assert trained
    assert all("lora_" in name for name in trained)
