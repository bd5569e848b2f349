"""The weights of one model in memory, and the adapters that stand on them."""

import itertools
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, PreTrainedModel

LOADING_ERRORS = (OSError, ValueError, KeyError, RuntimeError, SafetensorError)
"""What a folder raises that does not hold what it should."""


class Adapter(NamedTuple):
    """An adapter in memory."""

    name: str
    """By which its weights know it."""
    size: int
    """In bytes."""


class Weights:
    """A model that answers with its own weights or with one of its adapters, as whoever uses it says."""

    def __init__(self, folder: Path) -> None:
        """Load a model's folder, onto the GPU where there is one.

        Raises:
            LOADING_ERRORS: if it cannot be loaded.
        """
        cuda = torch.cuda.is_available()
        model: Any = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.bfloat16 if cuda else torch.float32, local_files_only=True
        )
        if cuda:
            model.cuda()
        self.model: PreTrainedModel = model.eval()
        self.size: int = model.get_memory_footprint()
        self.parameters: int = model.num_parameters()
        self._turn = threading.Lock()
        """Held by who waits to use or change the model, so that nobody who comes later overtakes."""
        self._free = threading.Condition()
        self._users = 0
        self._active: str | None = None
        self._numbers = itertools.count(1)
        self._unused: deque[str] = deque()

    @contextmanager
    def using(self, adapter: str | None) -> Iterator[None]:
        """Let the model answer with an adapter, or as it is, for as long as the block runs.

        Several threads may at once, where they want the same one.
        """
        with self._turn, self._free:
            while self._users and (adapter != self._active or self._unused):
                self._free.wait()
            if not self._users:
                self._drop_unused()
            if adapter != self._active:
                self._switch(adapter)
            self._users += 1
        try:
            yield
        finally:
            with self._free:
                self._users -= 1
                self._free.notify_all()

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Let nobody use the model for as long as the block runs."""
        with self._turn, self._free:
            while self._users:
                self._free.wait()
            yield

    def add(self, folder: Path) -> Adapter:
        """Load an adapter beside those that are loaded.

        Raises:
            LOADING_ERRORS: if it cannot be loaded, or does not fit the model.
        """
        # A name of its own for each time, since an adapter may be loaded again while an answer still needs the last.
        name = f"{folder.name}-{next(self._numbers)}"
        model: Any = self.model
        with self._changing():
            self._drop_unused()
            try:
                model.load_adapter(str(folder), adapter_name=name, adapter_kwargs={"local_files_only": True})
            except LOADING_ERRORS:
                self._remove(name)
                raise
            self._switch(name)
            tensors = [tensor for key, tensor in model.named_parameters() if f".{name}." in key]
        return Adapter(name, sum(tensor.numel() * tensor.element_size() for tensor in tensors))

    def discard(self, name: str) -> None:
        """Drop an adapter before the model is used next; may be called from anywhere, a finaliser included."""
        self._unused.append(name)

    def _switch(self, adapter: str | None) -> None:
        model: Any = self.model
        if adapter is None:
            model.disable_adapters()
        else:
            model.enable_adapters()
            model.set_adapter(adapter)
        self._active = adapter

    def _drop_unused(self) -> None:
        while self._unused:
            self._remove(self._unused.popleft())

    def _remove(self, name: str) -> None:
        model: Any = self.model
        if name not in getattr(model, "peft_config", {}):
            return
        others = [other for other in model.peft_config if other != name]
        if others:
            # PEFT would choose another one itself, with a warning.
            model.set_adapter(others[0])
        self._switch(None)
        model.delete_adapter(name)
