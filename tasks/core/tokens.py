"""How many tokens a text is, estimated: no tokenizer of a hosted model can be had without the network.

Measured against OpenAI's o200k_base, the estimate is within 12 % on European prose, JSON, code and ids, a quarter too
high on Chinese, and far too low on random letters such as base64.
"""

import re
from collections.abc import Iterable
from functools import lru_cache

import numpy as np

_PIECE = re.compile(r"[A-Za-z]{1,10}|\d{1,3}|[\u2e80-\U0010ffff]|[^\W\d_]{1,4}|[^\w\s]{1,3}|_|\n+")


def _kind(character: str) -> int:
    kinds = (character.isspace(), character.isalpha(), character.isdigit(), character == "_")
    return _NEWLINE if character == "\n" else kinds.index(True) if any(kinds) else _OTHER


# The pieces of ASCII text by kind of character: each run of a kind is cut into pieces of at most so many characters.
_BLANK, _OTHER, _NEWLINE = 0, 4, 5
_LONGEST = np.array([2**62, 10, 3, 1, 3, 2**62])
_KINDS = bytes(_kind(chr(code)) for code in range(128)).ljust(256, b"\0")


def estimate_tokens(text: str) -> int:
    """Return about how many tokens a text is."""
    return _count_ascii(text) if text.isascii() else len(_PIECE.findall(text))


def estimate_all(texts: Iterable[str]) -> int:
    """Return about how many tokens texts are together, counted at one go: a blank ends every token."""
    return estimate_tokens(" ".join(texts))


def _count_ascii(text: str) -> int:
    """Count what `_PIECE` finds, several times as fast."""
    # The blank before it is a run that counts nothing, so that the text's own runs all begin with a change.
    kinds = np.frombuffer(f" {text}".encode().translate(_KINDS), np.uint8)
    starts = np.flatnonzero(kinds[1:] != kinds[:-1]) + 1
    lengths, kinds = np.append(starts[1:], kinds.size) - starts, kinds[starts]
    longest = _LONGEST[kinds]
    is_long = lengths > longest
    more = (lengths[is_long] - 1) // longest[is_long]
    return int(np.count_nonzero(kinds != _BLANK) + more.sum())


@lru_cache(maxsize=64)
def estimate_tokens_again(text: str) -> int:
    """Return the same for a text that row after row repeats, such as a system prompt or the tools."""
    return estimate_tokens(text)
