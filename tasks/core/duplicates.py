"""What duplicates are told by, so that no decision is lost: everything before a decision and the decision itself.

The key of a decision is the digest of all messages up to it. Two conversations that share the customer's words but not
the tool results are different, and so are a conversation and its longer version: a conversation is an exact duplicate
only where every one of its decisions was there before. A near duplicate makes the same calls, gets the same results and
says nearly the same around them.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
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
    decisions, all_said, deeds, words = list[bytes](), _digest(), _digest(), list[str]()
    for message in messages:
        role, content, calls = message["role"], message["content"] or "", message.get("tool_calls") or ()
        whole = f"{role} {len(content)} {content}{_framed(calls) if calls else ''}".encode(errors="surrogatepass")
        all_said.update(whole)
        deeds.update(whole if calls or role == "tool" else role.encode())
        if role == "assistant":
            decisions.append(all_said.digest())
        if role in {"user", "assistant"}:
            words.append(content)
    return Fingerprint(tuple(decisions), deeds.digest(), " ".join(words))


class Likeness:
    """Finds texts that are likely to be alike by short keys of theirs, and says whether two are.

    Two texts are alike where they share so many of their word triples (Jaccard).
    """

    def __init__(self, similarity: float) -> None:
        """`similarity` is the share from which on two texts are alike."""
        self._similarity = similarity
        # At a lower threshold, since it misses some at the threshold itself; what it finds too much is counted again.
        model = MinHashLSH(threshold=_FIND_FROM * similarity, num_perm=PERMUTATIONS)
        self._bands, self._rows = model.b, model.r

    def keys(self, words: str) -> list[bytes]:
        """Return keys of a text, one of which at least it very likely shares with a text that is alike."""
        sketch = MinHash(num_perm=PERMUTATIONS, hashfunc=crc32)
        sketch.update_batch(list(_word_triples(words)))
        values = sketch.hashvalues
        return [
            b"%d:%b" % (band, values[band * self._rows : (band + 1) * self._rows].tobytes())
            for band in range(self._bands)
        ]

    def alike(self, words: str, other: str) -> bool:
        """Whether two texts say nearly the same."""
        one, two = _word_triples(words), _word_triples(other)
        return len(one & two) / len(one | two) >= self._similarity


def _digest() -> "hashlib.blake2b":
    return hashlib.blake2b(digest_size=16)


def _framed(calls: Sequence[Message]) -> str:
    """Return calls as a text that no other calls give: each part with its length before it."""
    functions = (call["function"] for call in calls)
    return "".join([f"{len(f['name'])} {f['name']}{len(f['arguments'])} {f['arguments']}" for f in functions])


def _word_triples(text: str) -> set[bytes]:
    words = _WORD.findall(text.casefold())
    starts = range(max(1, len(words) - _SHINGLE + 1))
    return {" ".join(words[start : start + _SHINGLE]).encode(errors="surrogatepass") for start in starts}
