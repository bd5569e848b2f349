"""How many tokens a text is, estimated: no tokenizer of a hosted model can be had without the network.

Measured against OpenAI's o200k_base, the estimate is within 12 % on European prose, JSON, code and ids, a quarter too
high on Chinese, and far too low on random letters such as base64.
"""

import re
from functools import lru_cache

_PIECE = re.compile(r"[A-Za-z]{1,10}|\d{1,3}|[\u2e80-\U0010ffff]|[^\W\d_]{1,4}|[^\w\s]{1,3}|_|\n+")


def estimate_tokens(text: str) -> int:
    """Return about how many tokens a text is."""
    return len(_PIECE.findall(text))


@lru_cache(maxsize=64)
def estimate_tokens_again(text: str) -> int:
    """Return the same for a text that row after row repeats, such as a system prompt or the tools."""
    return estimate_tokens(text)
