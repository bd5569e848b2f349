"""Leakage between the splits: the same customers, ids or phrasing on both sides make a score that means nothing."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from typing import Any
from zlib import crc32

from tasks.core.dataset import RowMeta, Split

_WORD = re.compile(r"\w+")
_GRAM = 8  # words
_BITS = 1 << 27


class LeakCheck:
    """Watches, row by row, that the splits share no customer, no id of a customer's and no phrasing of only one.

    A row in seen phrasing speaks the words of training, and those alone; all else of it is held out as of any other.
    """

    def __init__(
        self,
        is_held_out: Callable[[str], bool],
        private: Set[str],
        settle: Callable[[tuple[str, str], Split], Split],
    ) -> None:
        """`is_held_out` says of a template id whether it belongs to the held-out split.

        `private` names the arguments whose values belong to one customer, such as `order_id`. `settle` remembers the
        split of a kind and value that is new, as `dict.setdefault` does, and returns the one that it was first seen in.
        """
        self._is_held_out = is_held_out
        self._private = private
        self._settle = settle

    def leak(self, meta: RowMeta, messages: Sequence[Mapping[str, Any]]) -> str | None:
        """Return how this row leaks into a split that came before it, or None."""
        for what, value in dict.fromkeys((("customer", meta.customer_id), *self._ids(messages))):
            split = self._settle((what, value), meta.split)
            if split != meta.split:
                return f"{what} {value!r} is in {split} and in {meta.split}"
        for template_id in meta.template_ids:
            if self._is_held_out(template_id) != (meta.split == "heldout" and meta.phrasing == "own"):
                words = "" if meta.phrasing == "own" else ", in the words of training,"
                return f"conversation {meta.conversation_id!r} of {meta.split}{words} speaks template {template_id!r}"
        return None

    def _ids(self, messages: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
        for message in messages:
            for call in message.get("tool_calls") or ():
                for name, value in json.loads(call["function"]["arguments"]).items():
                    if name in self._private and isinstance(value, str):
                        yield name, value


class OverlapMeter:
    """Measures how much of the held-out customers' wording was seen in training: the share of their runs of 8 words.

    Runs are kept as bits of one table of 16 MiB, so memory does not grow; a million of them raise the share by less
    than one in a hundred.
    """

    def __init__(self) -> None:
        """Start with nothing seen."""
        self._seen = bytearray(_BITS // 8)
        self._known = self._asked = 0

    def add(self, split: Split, messages: Sequence[Mapping[str, Any]]) -> None:
        """Take in a conversation; training ones must come first."""
        for message in messages:
            for place in _places(message["content"]) if message["role"] == "user" else ():
                byte, bit = place >> 3, 1 << (place & 7)
                if split == "train":
                    self._seen[byte] |= bit
                elif split == "heldout":
                    self._asked += 1
                    self._known += bool(self._seen[byte] & bit)

    @property
    def share(self) -> float:
        """The share of held-out runs of words that training holds too."""
        return self._known / self._asked if self._asked else 0.0


def _places(text: str) -> Iterator[int]:
    words = _WORD.findall(text.casefold())
    for start in range(len(words) - _GRAM + 1):
        yield crc32(" ".join(words[start : start + _GRAM]).encode(errors="surrogatepass")) & (_BITS - 1)
