"""Key-value caches as values: copied, and kept by the tokens that they stand for."""

import copy
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, LinearAttentionLayer

MIN_SHARED_TOKENS = 32
"""A shared beginning shorter than this is not worth a snapshot of its own."""


def clone(cache: DynamicCache) -> DynamicCache:
    """Return a cache that can grow without changing this one.

    Keys and values grow by concatenation, so they can be shared; convolution states are written in place.
    """
    new = copy.copy(cache)
    new.layers = [copy.copy(layer) for layer in cache.layers]
    for layer in new.layers:
        for name, value in vars(layer).items():
            if isinstance(value, dict):
                setattr(layer, name, {k: v.clone() if isinstance(v, torch.Tensor) else v for k, v in value.items()})
    return new


def can_be_cut(cache: DynamicCache) -> bool:
    """Tell whether what was read can be taken back token by token: not where it has merged into a recurrent state."""
    return all(
        type(layer) is DynamicLayer or (type(layer) is LinearAttentionLayer and layer.is_croppable)
        for layer in cache.layers
    )


def record_past(cache: DynamicCache) -> None:
    """Let a cache that can be cut keep what it needs for it."""
    cache.activate_past_recording()  # type: ignore[no-untyped-call]


def cut(cache: DynamicCache, tokens: int) -> DynamicCache:
    """Return a cache that has recorded its past without its last tokens; they share what memory they can."""
    new = copy.copy(cache)
    new.layers = [copy.copy(layer) for layer in cache.layers]
    for layer in new.layers:
        if isinstance(layer, LinearAttentionLayer):
            _cut_states(layer, tokens)
        elif isinstance(layer, DynamicLayer) and layer.keys is not None and layer.values is not None:
            layer.crop(-tokens)
            if layer.keys.shape[-2] < tokens:
                # For less than half of it, all of it would stay in memory.
                layer.keys, layer.values = layer.keys.clone(), layer.values.clone()
    return new


def _cut_states(layer: LinearAttentionLayer, tokens: int) -> None:
    layer.conv_states = dict(layer.conv_states)
    layer.crop(-tokens)
    layer.record_past = False
    for index, states in layer.conv_states.items():
        width = layer.conv_kernel_size[index]
        if states is not None and width is not None:
            # Fewer were read than the convolution spans.
            layer.conv_states[index] = torch.nn.functional.pad(states, (width - states.shape[-1], 0))


def size_in_bytes(cache: DynamicCache) -> int:
    """Return the memory of a cache's tensors."""
    return sum(tensor.numel() * tensor.element_size() for tensor in _tensors(cache))


def _tensors(cache: DynamicCache) -> Iterator[torch.Tensor]:
    for layer in cache.layers:
        for value in vars(layer).values():
            held = value.values() if isinstance(value, dict) else (value,)
            yield from (tensor for tensor in held if isinstance(tensor, torch.Tensor))


class Snapshot(NamedTuple):
    """What a model knows after a beginning of a prompt."""

    length: int
    """In tokens."""
    cache: DynamicCache
    logits: torch.Tensor
    """What it expects next [vocabulary]."""

    @property
    def size(self) -> int:
        """The bytes that it takes, also where it shares them."""
        return size_in_bytes(self.cache)


class PrefixCache:
    """Snapshots of prompts, so that the next turn of a conversation and the tools that all share are not read again.

    A prompt is given as `as_text` writes it.
    """

    def __init__(self, limit: int) -> None:
        """Hold up to `limit` bytes, the longest unused snapshot going first."""
        self._limit = limit
        self._size = 0
        self._snapshots: OrderedDict[str, Snapshot] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def size(self) -> int:
        """The bytes that its snapshots take."""
        return self._size

    def longest(self, prompt: str) -> Snapshot | None:
        """Return the snapshot of the longest beginning of a prompt."""
        with self._lock:
            best = max(filter(prompt.startswith, self._snapshots), key=len, default=None)
            if best is None:
                return None
            self._snapshots.move_to_end(best)
            return self._snapshots[best]

    def shared(self, prompt: str, known: int) -> int | None:
        """Return where a beginning ends that other prompts share and that has no snapshot, past `known` tokens."""
        least = known + MIN_SHARED_TOKENS
        most = least - 1
        with self._lock:
            for other in self._snapshots:
                # Most differ early on, and need not be compared to the end.
                if other.startswith(prompt[: most + 1]):
                    most = _common(prompt, other)
        return most if least <= most < len(prompt) else None

    def add(self, prompt: str, snapshot: Snapshot) -> None:
        """Keep a snapshot, unless it alone would fill a quarter of the room."""
        with self._lock:
            if snapshot.size > self._limit // 4 or prompt in self._snapshots:
                return
            self._snapshots[prompt] = snapshot
            self._size += snapshot.size
            while self._size > self._limit:
                self._size -= self._snapshots.popitem(last=False)[1].size


def as_text(tokens: Sequence[int]) -> str:
    """Return tokens as a text of one character each, since texts are compared far faster than lists."""
    return "".join(map(chr, tokens))


def _common(a: str, b: str) -> int:
    """Return the length of the common beginning of two texts."""
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if a[low:middle] == b[low:middle] else (low, middle - 1)
    return low
