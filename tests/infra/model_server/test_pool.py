"""Models in memory: how many, which go first, and that they really go."""

import gc
import shutil
import weakref
from pathlib import Path

import pytest
import torch

from infra.model_server.caches import Snapshot, as_text
from infra.model_server.database import Database
from infra.model_server.loaded import LoadedModel, ModelPool
from infra.model_server.memory import MODELS, PREFIXES, for_models, for_prefixes
from infra.model_server.registry import Registry
from infra.model_server.settings import GIBIBYTE, Settings
from tests.infra.model_server import tiny


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three models of one size."""
    folder = tmp_path_factory.mktemp("three")
    tiny.build(folder / "a")
    for name in "bc":
        shutil.copytree(folder / "a", folder / name)
    return folder


class Pool:
    """A pool that is asked by name."""

    def __init__(self, folder: Path, data: Path, **limits: int) -> None:
        settings = Settings(data=data, models=folder, **limits)  # type: ignore[arg-type]
        self._registry = Registry(Database(settings.database), settings)
        self._pool = ModelPool(settings, self._registry)

    def get(self, name: str) -> LoadedModel:
        return self._pool.get(self._registry.get(name))

    def ready(self, name: str) -> bool:
        return self._pool.ready(self._registry.get(name)) is not None


def size_of(folder: Path, data: Path) -> int:
    return Pool(folder, data).get("a").weights.size


def test_the_longest_unused_model_is_unloaded_and_its_memory_is_free(folder: Path, tmp_path: Path) -> None:
    pool = Pool(folder, tmp_path, loaded_models_bytes=size_of(folder, tmp_path) * 5 // 2)
    pool.get("a")
    of_b = weakref.ref(pool.get("b").weights)
    assert pool.ready("a")
    pool.get("c")
    gc.collect()
    assert of_b() is None
    assert (pool.ready("a"), pool.ready("b"), pool.ready("c")) == (True, False, True)


def test_what_models_remember_of_prompts_counts(folder: Path, tmp_path: Path) -> None:
    size = size_of(folder, tmp_path)
    pool = Pool(folder, tmp_path, loaded_models_bytes=size * 5 // 2, prefix_cache_bytes=size * 100)
    loaded = pool.get("a")
    with torch.inference_mode():
        for number in range(10, 30):
            tokens = [number] * 200
            output = loaded.model(input_ids=torch.tensor([tokens]), use_cache=True)
            loaded.prefixes.add(as_text(tokens), Snapshot(200, output.past_key_values, output.logits[0, -1]))
    assert loaded.prefixes.size > size
    pool.get("b")
    assert (pool.ready("a"), pool.ready("b")) == (False, True)


def test_the_last_model_stays_however_large(folder: Path, tmp_path: Path) -> None:
    pool = Pool(folder, tmp_path, loaded_models_bytes=1)
    pool.get("a")
    assert pool.ready("a")
    pool.get("b")
    assert not pool.ready("a")


def test_a_gpu_gives_answers_two_fifths_of_its_memory_and_a_machine_without_one_has_a_fixed_share() -> None:
    assert (for_models(0), for_prefixes(0, MODELS)) == (MODELS, PREFIXES)
    gpu = 80 * GIBIBYTE
    assert for_models(gpu) == 32 * GIBIBYTE
    assert for_prefixes(gpu, for_models(gpu)) == 4 * GIBIBYTE
    assert for_prefixes(gpu, GIBIBYTE // 2) == PREFIXES


def test_a_link_to_a_model_elsewhere_is_a_base_model(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "linked").symlink_to(folder / "a")
    assert Pool(tmp_path / "models", tmp_path / "data").get("linked").weights.size > 0
