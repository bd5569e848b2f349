"""Decodes several sequences of one model together, each at its own length.

Keys and values lie in one tensor with a row for each sequence, so that a step writes one position of each row in
place, and a sequence comes and goes without the others being copied.
"""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, LinearAttentionLayer

from infra.model_server.caches import clone, size_in_bytes
from infra.model_server.generation import Generation
from infra.model_server.loaded import LoadedModel
from infra.model_server.sampling import pick
from infra.model_server.threads import use_threads

SPARE_POSITIONS = 128
_INITIALISED = ("is_conv_states_initialized", "is_recurrent_states_initialized")


def fits_slots(cache: DynamicCache) -> bool:
    """Tell whether rows of different lengths can share a cache of these layers."""
    return all(type(layer) in (DynamicLayer, LinearAttentionLayer) for layer in cache.layers)


class LoneBatch:
    """One sequence of a model whose layers cannot be shared."""

    def __init__(self, loaded: LoadedModel, generation: Generation, cache: DynamicCache) -> None:
        """Go on after a prompt that was read into `cache`."""
        self.loaded = loaded
        self.generations = [generation]
        self._cache = clone(cache)

    @property
    def size(self) -> int:
        """The bytes of what the model remembers of the sequence."""
        return size_in_bytes(self._cache)

    def admits(self, loaded: LoadedModel) -> bool:
        """Tell whether another sequence can be added: never."""
        return False

    def step(self) -> None:
        """Decode one token."""
        [generation] = self.generations
        model = self.loaded.model
        tokens = torch.tensor([[generation.tokens[-1]]], device=model.device)
        use_threads(self.loaded.weights.parameters)
        logits = model(input_ids=tokens, past_key_values=self._cache, use_cache=True).logits[:, -1]
        if generation.take(pick(logits, [generation.sampler])[0]):
            self.generations = []


class SlotBatch:
    """The sequences of a model whose layers can be shared."""

    def __init__(self, loaded: LoadedModel) -> None:
        """Begin without sequences."""
        self.loaded = loaded
        self.generations: list[Generation] = []
        self._lengths: list[int] = []
        self._layers: list[_KeyValueSlots | _StateSlots] = []

    @property
    def size(self) -> int:
        """The bytes of what the model remembers of its sequences, with the room to spare."""
        return sum(layer.size for layer in self._layers)

    def admits(self, loaded: LoadedModel) -> bool:
        """Tell whether a sequence of a model can be added."""
        return loaded is self.loaded

    def admit(self, generation: Generation, cache: DynamicCache) -> None:
        """Add a sequence whose prompt was read into `cache`."""
        if not self._layers:
            self._layers = [
                _KeyValueSlots() if isinstance(layer, DynamicLayer) else _StateSlots() for layer in cache.layers
            ]
        for slots, layer in zip(self._layers, cache.layers, strict=True):
            slots.put(len(self.generations), layer)
        self.generations.append(generation)
        self._lengths.append(len(generation.prompt))

    def step(self) -> None:
        """Decode one token of each sequence; those that are complete leave."""
        model = self.loaded.model
        tokens = torch.tensor([[generation.tokens[-1]] for generation in self.generations], device=model.device)
        lengths = torch.tensor(self._lengths, device=model.device)
        width = max(self._lengths) + 1
        seen = torch.arange(width, device=model.device) <= lengths[:, None]
        # Numbers, since flags would be made numbers again in each layer.
        mask = torch.zeros(seen.shape, dtype=model.dtype, device=model.device).masked_fill_(~seen, -torch.inf)
        for layer in self._layers:
            layer.begin(lengths, width)
        cache = DynamicCache(config=model.config)
        cache.layers = [*self._layers]
        use_threads(self.loaded.weights.parameters)
        logits = model(
            input_ids=tokens,
            attention_mask=mask[:, None, None, :],
            position_ids=lengths[:, None],
            past_key_values=cache,
            use_cache=True,
        ).logits[:, -1]
        self._lengths = [length + 1 for length in self._lengths]
        self._take(pick(logits, [generation.sampler for generation in self.generations]))

    def _take(self, tokens: Sequence[int]) -> None:
        ended = [row for row, token in enumerate(tokens) if self.generations[row].take(token)]
        for row in reversed(ended):
            last = len(self.generations) - 1
            for layer in self._layers:
                layer.move(last, row, self._lengths[last])
            self.generations[row] = self.generations[last]
            self._lengths[row] = self._lengths[last]
            self.generations.pop()
            self._lengths.pop()


class _KeyValueSlots(DynamicLayer):  # type: ignore[no-untyped-call]
    """The keys and values of an attention layer: [rows, heads, positions, width], with room to spare."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._keys = self._values = torch.empty(0, 0, 0, 0)
        self._at = torch.empty(0)
        self._width = 0

    @property
    def size(self) -> int:
        return self._keys.nbytes + self._values.nbytes

    def put(self, row: int, layer: Any) -> None:
        """Copy the one row of another layer into a row of this one."""
        if layer.keys is None or layer.values is None:
            return
        self._keys = _with_row(self._keys, row, layer.keys)
        self._values = _with_row(self._values, row, layer.values)
        self.is_initialized = True

    def move(self, source: int, target: int, length: int) -> None:
        if source != target:
            for states in (self._keys, self._values):
                states[target, :, :length] = states[source, :, :length]

    def begin(self, lengths: torch.Tensor, width: int) -> None:
        self._at, self._width = lengths, width
        if width > self._keys.shape[2]:
            room = torch.nn.functional.pad
            self._keys = room(self._keys, (0, 0, 0, SPARE_POSITIONS))
            self._values = room(self._values, (0, 0, 0, SPARE_POSITIONS))

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: object, **kwargs: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write one position of each row, each at its own length."""
        count = len(self._at)
        rows = torch.arange(count, device=self._at.device)
        self._keys[rows, :, self._at] = key_states[:, :, 0]
        self._values[rows, :, self._at] = value_states[:, :, 0]
        return self._keys[:count, :, : self._width], self._values[:count, :, : self._width]

    def get_seq_length(self) -> int:
        return self._width - 1


class _StateSlots(LinearAttentionLayer):
    """The states of a convolution or recurrence: [rows, ...]."""

    def __init__(self) -> None:
        super().__init__()
        self._states: dict[tuple[str, int], torch.Tensor] = {}

    @property
    def size(self) -> int:
        return sum(state.nbytes for state in self._states.values())

    def put(self, row: int, layer: Any) -> None:
        """Copy the one row of another layer to the end of this one's rows."""
        for name in ("conv_states", "recurrent_states"):
            for index, state in getattr(layer, name).items():
                if state is not None:
                    kept = self._states.get((name, index), state[:0])
                    self._states[name, index] = torch.cat([kept[:row], state])
        for name in ("has_previous_state", "conv_kernel_size", *_INITIALISED):
            setattr(self, name, dict(getattr(layer, name)))
        self.dtype, self.device = layer.dtype, layer.device

    def move(self, source: int, target: int, length: int) -> None:
        for state in self._states.values():
            if source != target:
                state[target] = state[source]

    def begin(self, lengths: torch.Tensor, width: int) -> None:
        for (name, index), state in self._states.items():
            getattr(self, name)[index] = state[: len(lengths)]


def _with_row(states: torch.Tensor, row: int, new: torch.Tensor) -> torch.Tensor:
    """Return the rows with `new` [1, heads, positions, width] as one of them, made roomier where it does not fit."""
    _, heads, length, width = new.shape
    rows, room = max(states.shape[0], row + 1), max(states.shape[2], length + 1)
    if (rows, room) != (states.shape[0], states.shape[2]):
        # Half as many again, so that a batch that fills up, with ever longer ones, is copied a few times only.
        if rows > states.shape[0] and row:
            rows += rows // 2
        if room > states.shape[2]:
            room = max(room + SPARE_POSITIONS, states.shape[2] * 3 // 2)
        # Zeros, since what is masked is still multiplied.
        roomier = new.new_zeros(rows, heads, room, width)
        if row:
            roomier[: states.shape[0], :, : states.shape[2]] = states
        states = roomier
    states[row, :, :length] = new[0]
    return states
