"""Models in memory."""

import hashlib
import inspect
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, PreTrainedModel

from infra.model_server.caches import PrefixCache
from infra.model_server.errors import ModelFailedError, RenderingError
from infra.model_server.registry import ModelEntry
from infra.model_server.rendering import Renderer, renderer_for
from infra.model_server.settings import Settings

DEFAULT_WINDOW = 4096


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A model, ready to answer."""

    model: PreTrainedModel
    renderer: Renderer
    window: int
    """The tokens that prompt and answer may have together."""
    fingerprint: str
    size: int
    takes_positions: bool
    """Whether rows of different lengths can be told apart in one batch."""
    last_only: Mapping[str, int]
    """What makes a forward pass compute the last position's logits only, where the model can."""
    prefixes: PrefixCache
    rendering: threading.Lock = field(default_factory=threading.Lock)
    """Held while rendering: tokenizers are not made for several threads."""


class ModelPool:
    """The models in memory: loaded when first asked, the longest unused unloaded when there are too many."""

    def __init__(self, settings: Settings) -> None:
        """Load up to `settings.loaded_models_bytes`."""
        self._settings = settings
        self._lock = threading.Lock()
        self._loaded: OrderedDict[Path, LoadedModel] = OrderedDict()

    def get(self, entry: ModelEntry) -> LoadedModel:
        """Return a model, loading it where needed.

        Raises:
            ModelFailedError: if its folder does not hold a model that can be loaded.
        """
        with self._lock:
            if entry.folder not in self._loaded:
                self._loaded[entry.folder] = _load(entry, self._settings)
            self._loaded.move_to_end(entry.folder)
            while self._too_many():
                self._loaded.popitem(last=False)
            return self._loaded[entry.folder]

    def ready(self, entry: ModelEntry) -> LoadedModel | None:
        """Return a model if it is in memory; never waits for one that is being loaded."""
        return self._loaded.get(entry.folder)

    def forget(self, entry: ModelEntry) -> None:
        """Unload a model that was deleted."""
        with self._lock:
            self._loaded.pop(entry.folder, None)

    def _too_many(self) -> bool:
        size = sum(model.size for model in self._loaded.values())
        return len(self._loaded) > 1 and size > self._settings.loaded_models_bytes


def _load(entry: ModelEntry, settings: Settings) -> LoadedModel:
    cuda = torch.cuda.is_available()
    try:
        renderer = renderer_for(entry.folder)
        model: Any = AutoModelForCausalLM.from_pretrained(
            entry.folder, dtype=torch.bfloat16 if cuda else torch.float32, local_files_only=True
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError, RenderingError) as error:
        raise ModelFailedError(f"The model {entry.model_id!r} cannot be loaded: {error}", "model") from error
    if cuda:
        model.cuda()
    model.eval()
    window = getattr(model.config.get_text_config(), "max_position_embeddings", None) or DEFAULT_WINDOW
    parameters = inspect.signature(type(model).forward).parameters
    return LoadedModel(
        model=model,
        renderer=renderer,
        window=window,
        fingerprint="fp_" + hashlib.sha256(str(entry.folder).encode()).hexdigest()[:10],
        size=model.get_memory_footprint(),
        takes_positions="position_ids" in parameters,
        last_only={"logits_to_keep": 1} if "logits_to_keep" in parameters else {},
        prefixes=PrefixCache(settings.prefix_cache_bytes),
    )
