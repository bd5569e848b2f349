"""Models in memory."""

import hashlib
import inspect
import itertools
import threading
import weakref
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from transformers import PreTrainedModel

from infra.model_server.caches import PrefixCache
from infra.model_server.errors import ModelFailedError, RenderingError
from infra.model_server.registry import ModelEntry, Registry
from infra.model_server.rendering import Renderer, renderer_for
from infra.model_server.settings import Settings
from infra.model_server.weights import LOADING_ERRORS, Adapter, Weights

DEFAULT_WINDOW = 4096


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A model, ready to answer."""

    weights: Weights
    adapter: str | None
    """The adapter that makes it of its weights, where it is one."""
    renderer: Renderer
    window: int
    """The tokens that prompt and answer may have together."""
    fingerprint: str
    size: int
    """Bytes beside those of the weights that it shares."""
    takes_positions: bool
    """Whether rows of different lengths can be told apart in one batch."""
    picks_logits: bool
    """Whether a forward pass can compute the logits of some positions only."""
    prefixes: PrefixCache
    rendering: threading.Lock = field(default_factory=threading.Lock)
    """Held while rendering: tokenizers are not made for several threads."""

    @property
    def model(self) -> PreTrainedModel:
        """The model itself; it answers as this one only while `answering`."""
        return self.weights.model

    def answering(self) -> AbstractContextManager[None]:
        """Let the model answer with the right adapter, or none, for as long as the block runs."""
        return self.weights.using(self.adapter)


class ModelPool:
    """The models in memory: loaded when first asked, the longest unused unloaded when there are too many.

    Adapters share the weights that they stand on, so to ask another adapter loads only that.
    """

    def __init__(self, settings: Settings, registry: Registry) -> None:
        """Load up to `settings.loaded_models_bytes`, and find in `registry` what an adapter stands on."""
        self._settings = settings
        self._registry = registry
        self._lock = threading.Lock()
        self._loaded: dict[Path, LoadedModel] = {}
        self._uses = itertools.count()
        self._last_use: dict[Path, int] = {}
        # Weak, so that weights go with the last model that needs them, answers under way included.
        self._weights: weakref.WeakValueDictionary[Path, Weights] = weakref.WeakValueDictionary()

    def get(self, entry: ModelEntry) -> LoadedModel:
        """Return a model, loading it where needed.

        Raises:
            ModelFailedError: if its folder does not hold a model that can be loaded.
        """
        with self._lock:
            if entry.folder not in self._loaded:
                self._loaded[entry.folder] = self._load(entry)
            self._last_use[entry.folder] = next(self._uses)
            while self._too_many():
                del self._loaded[min(self._loaded, key=self._last_use.__getitem__)]
            return self._loaded[entry.folder]

    def ready(self, entry: ModelEntry) -> LoadedModel | None:
        """Return a model if it is in memory; never waits for one that is being loaded."""
        loaded = self._loaded.get(entry.folder)
        if loaded is not None:
            self._last_use[entry.folder] = next(self._uses)
        return loaded

    def forget(self, entry: ModelEntry) -> None:
        """Unload a model that was deleted."""
        with self._lock:
            self._loaded.pop(entry.folder, None)
            self._last_use.pop(entry.folder, None)

    def _too_many(self) -> bool:
        size = sum(weights.size for weights in {model.weights for model in self._loaded.values()})
        size += sum(model.size + model.prefixes.size for model in self._loaded.values())
        return len(self._loaded) > 1 and size > self._settings.loaded_models_bytes

    def _load(self, entry: ModelEntry) -> LoadedModel:
        base = self._registry.weights(entry)
        try:
            renderer = renderer_for(base.folder)
            weights = self._weights.get(base.folder)
            if weights is None:
                weights = self._weights[base.folder] = Weights(base.folder)
            adapter = None if entry.adapts is None else weights.add(entry.folder)
        except (*LOADING_ERRORS, RenderingError) as error:
            raise ModelFailedError(f"The model {entry.model_id!r} cannot be loaded: {error}", "model") from error
        loaded = _ready(entry, weights, adapter, renderer, self._settings)
        if adapter is not None:
            weakref.finalize(loaded, weights.discard, adapter.name)
        return loaded


def _ready(
    entry: ModelEntry, weights: Weights, adapter: Adapter | None, renderer: Renderer, settings: Settings
) -> LoadedModel:
    model = weights.model
    parameters = inspect.signature(type(model).forward).parameters
    return LoadedModel(
        weights=weights,
        adapter=None if adapter is None else adapter.name,
        renderer=renderer,
        window=getattr(model.config.get_text_config(), "max_position_embeddings", None) or DEFAULT_WINDOW,
        fingerprint="fp_" + hashlib.sha256(str(entry.folder).encode()).hexdigest()[:10],
        size=0 if adapter is None else adapter.size,
        takes_positions="position_ids" in parameters,
        picks_logits="logits_to_keep" in parameters,
        prefixes=PrefixCache(settings.prefix_cache_bytes),
    )
