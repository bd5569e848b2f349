"""Reads prompts: what is known of them is not read again, and those that go on from each other are read at once."""

from collections.abc import Sequence
from itertools import groupby

import torch
from transformers import DynamicCache

from infra.model_server.caches import Snapshot, can_be_cut, clone, cut, record_past
from infra.model_server.generation import Generation
from infra.model_server.loaded import LoadedModel
from infra.model_server.threads import use_threads


def read_prompts(generations: Sequence[Generation]) -> list[Snapshot]:
    """Read the prompts of sequences, each of which goes on from the one before; return what is known after each."""
    loaded = generations[0].loaded
    nothing = Snapshot(0, DynamicCache(config=loaded.model.config), torch.empty(0))
    known = [loaded.prefixes.longest(generation.text) or nothing for generation in generations]
    snapshots: list[Snapshot] = []
    for _, part in groupby(zip(known, generations, strict=True), key=lambda pair: pair[0].length):
        found, together = zip(*part, strict=True)
        snapshots += _read_together(loaded, together, found[0])
    return snapshots


def _read_together(loaded: LoadedModel, generations: Sequence[Generation], at: Snapshot) -> list[Snapshot]:
    """Read prompts that are known up to the same place."""
    lengths, longest = [len(generation.prompt) for generation in generations], generations[-1]
    for generation, cached in zip(generations, [at.length, *lengths], strict=False):
        generation.cached = cached
    shared = loaded.prefixes.shared(generations[0].text, at.length)
    reached = {at.length: at}
    ends = sorted({end for end in (shared or 0, *lengths) if end > at.length})
    while ends:
        count = len(ends) if can_be_cut(at.cache) else 1
        for snapshot in _read_on(loaded, longest.prompt, at, ends[:count]):
            loaded.prefixes.add(longest.text[: snapshot.length], snapshot)
            reached[snapshot.length] = snapshot
        at = reached[ends[count - 1]]
        ends = ends[count:]
    return [reached[length] for length in lengths]


def _read_on(loaded: LoadedModel, prompt: Sequence[int], at: Snapshot, ends: Sequence[int]) -> list[Snapshot]:
    """Read a prompt on from where it is known, in one pass; return what is known at each of some ends."""
    cache = clone(at.cache)
    tokens = torch.tensor([prompt[at.length : ends[-1]]], device=loaded.model.device)
    places = torch.tensor([end - at.length - 1 for end in ends], device=loaded.model.device)
    if len(ends) > 1:
        record_past(cache)
    use_threads(loaded.weights.parameters)
    picked = {"logits_to_keep": places} if loaded.picks_logits else {}
    logits = loaded.model(input_ids=tokens, past_key_values=cache, use_cache=True, **picked).logits[0]
    if not loaded.picks_logits:
        logits = logits[places]
    caches = [cut(cache, ends[-1] - end) for end in ends] if len(ends) > 1 else [cache]
    return [Snapshot(*known) for known in zip(ends, caches, logits, strict=True)]
