"""Key-value caches as values: copied, and kept by the tokens that they stand for."""

import copy
import threading
from collections import OrderedDict
from collections.abc import Iterator
from typing import NamedTuple

import torch
from transformers import DynamicCache

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

    tokens: list[int]
    cache: DynamicCache
    logits: torch.Tensor
    """What it expects next [vocabulary]."""
    size: int


class PrefixCache:
    """Snapshots of prompts, so that the next turn of a conversation and the tools that all share are not read again."""

    def __init__(self, limit: int) -> None:
        """Hold up to `limit` bytes, the longest unused snapshot going first."""
        self._limit = limit
        self._size = 0
        self._snapshots: OrderedDict[tuple[int, ...], Snapshot] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def size(self) -> int:
        """The bytes that its snapshots take."""
        return self._size

    def longest(self, prompt: list[int]) -> Snapshot | None:
        """Return the snapshot of the longest beginning of a prompt."""
        with self._lock:
            fitting = [s for s in self._snapshots.values() if prompt[: len(s.tokens)] == s.tokens]
            if not fitting:
                return None
            best = max(fitting, key=lambda snapshot: len(snapshot.tokens))
            self._snapshots.move_to_end(tuple(best.tokens))
            return best

    def shared(self, prompt: list[int], known: int) -> int | None:
        """Return where a beginning ends that other prompts share and that has no snapshot, past `known` tokens."""
        least = known + MIN_SHARED_TOKENS
        beginning = prompt[:least]
        with self._lock:
            # Most snapshots differ early on, so that alone is asked of each.
            sharing = [one.tokens for one in self._snapshots.values() if one.tokens[:least] == beginning]
        most = max((_common(prompt, tokens) for tokens in sharing), default=0)
        return most if least <= most < len(prompt) else None

    def add(self, tokens: list[int], cache: DynamicCache, logits: torch.Tensor) -> None:
        """Keep a snapshot, unless it alone would fill a quarter of the room."""
        size = size_in_bytes(cache)
        key = tuple(tokens)
        with self._lock:
            if size > self._limit // 4 or key in self._snapshots:
                return
            self._snapshots[key] = Snapshot(tokens, clone(cache), logits, size)
            self._size += size
            while self._size > self._limit:
                self._size -= self._snapshots.popitem(last=False)[1].size


def _common(a: list[int], b: list[int]) -> int:
    """Return the length of the common beginning of two lists."""
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if a[low:middle] == b[low:middle] else (low, middle - 1)
    return low
