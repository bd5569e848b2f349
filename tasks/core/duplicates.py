"""Duplicates, found without losing a decision: what counts is everything before a decision and the decision itself.

The key of a decision is the digest of all messages up to it. Two conversations that share the customer's words but not
the tool results are different, and so are a conversation and its longer version: a conversation is an exact duplicate
only where every one of its decisions was there before. A near duplicate makes the same calls, gets the same results and
says nearly the same around them.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from zlib import crc32

from datasketch import MinHash, MinHashLSH  # type: ignore[import-untyped]  # it ships none

PERMUTATIONS = 64
_WORD = re.compile(r"\w+")
_SHINGLE = 3  # words
_FIND_FROM = 0.75

Message = Mapping[str, Any]


class Fingerprint(NamedTuple):
    """What duplicates are told by: a key for each decision, the digest of calls and results, and the words."""

    decisions: tuple[bytes, ...]
    deeds: bytes
    words: str


def fingerprint(messages: Sequence[Message]) -> Fingerprint:
    """Return the fingerprint of a well-formed conversation, in which the ids of calls do not count."""
    decisions, all_said, deeds = list[bytes](), _digest(), _digest()
    for message in messages:
        parts = list(_parts(message))
        all_said.update(_framed(parts))
        deeds.update(_framed(parts if message["role"] == "tool" or message.get("tool_calls") else parts[:1]))
        if message["role"] == "assistant":
            decisions.append(all_said.digest())
    words = " ".join(message["content"] or "" for message in messages if message["role"] in {"user", "assistant"})
    return Fingerprint(tuple(decisions), deeds.digest(), words)


class DuplicateFinder:
    """Remembers the conversations that were kept, and says of the next one whether it adds nothing to them."""

    def __init__(self, similarity: float) -> None:
        """`similarity` is the share of word triples (Jaccard) at which two conversations say nearly the same."""
        self._similarity = similarity
        # The library's choice of bands takes a while, so it is made once for all groups; at a lower threshold, since
        # it misses some at the threshold itself, and what it finds too much is counted again.
        model = MinHashLSH(threshold=_FIND_FROM * similarity, num_perm=PERMUTATIONS)
        self._bands = (model.b, model.r)
        self._decisions: set[bytes] = set()
        self._groups: dict[bytes, _Group] = {}

    def repeats(self, found: Fingerprint) -> bool:
        """Whether every decision of a conversation was there before."""
        # The last decision comes after all the others, so where it is known they are.
        return not found.decisions or found.decisions[-1] in self._decisions

    def nearest(self, found: Fingerprint) -> str | None:
        """Return a kept conversation with the same calls and results and nearly the same words, or None."""
        group = self._groups.get(found.deeds)
        return None if group is None else group.nearest(found.words, self._similarity, self._bands)

    def keep(self, name: str, found: Fingerprint) -> None:
        """Remember a conversation under a name of its own."""
        self._decisions.update(found.decisions)
        self._groups.setdefault(found.deeds, _Group()).waiting.append((name, found.words))


class _Group:
    """The kept conversations with the same calls and results. Most groups stay alone and are never sketched."""

    def __init__(self) -> None:
        self.waiting: list[tuple[str, str]] = []
        self._index: MinHashLSH | None = None
        self._triples: dict[str, set[bytes]] = {}

    def nearest(self, words: str, similarity: float, bands: tuple[int, int]) -> str | None:
        index = self._index = self._index or MinHashLSH(num_perm=PERMUTATIONS, params=bands)
        for name, kept_words in self.waiting:
            self._triples[name] = _word_triples(kept_words)
            index.insert(name, _sketch(self._triples[name]))
        self.waiting.clear()
        triples = _word_triples(words)
        # The sketches only find candidates; whether they are alike is counted.
        near = (str(name) for name in index.query(_sketch(triples)))
        return next((name for name in near if _jaccard(self._triples[name], triples) >= similarity), None)


def _digest() -> "hashlib.blake2b":
    return hashlib.blake2b(digest_size=16)


def _parts(message: Message) -> Iterator[str]:
    """Yield what a message consists of, the role first."""
    yield message["role"]
    yield message["content"] or ""
    for call in message.get("tool_calls") or ():
        yield call["function"]["name"]
        yield call["function"]["arguments"]


def _framed(parts: Sequence[str]) -> bytes:
    """Return texts as bytes that no other texts give."""
    return b"".join(b"%d:%b" % (len(text), text.encode(errors="surrogatepass")) for text in (str(len(parts)), *parts))


def _word_triples(text: str) -> set[bytes]:
    words = _WORD.findall(text.casefold())
    starts = range(max(1, len(words) - _SHINGLE + 1))
    return {" ".join(words[start : start + _SHINGLE]).encode(errors="surrogatepass") for start in starts}


def _sketch(triples: set[bytes]) -> MinHash:
    sketch = MinHash(num_perm=PERMUTATIONS, hashfunc=crc32)
    sketch.update_batch(list(triples))
    return sketch


def _jaccard(one: set[bytes], other: set[bytes]) -> float:
    return len(one & other) / len(one | other)
