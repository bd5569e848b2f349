import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.core.tokens import _PIECE, estimate_all, estimate_tokens

# Counted with OpenAI's o200k_base.
COUNTED = {
    "I will cancel order #W1234567, reason: no longer needed. Do you confirm (yes/no)?": 23,
    '{"order_id":"#W1234567","user_id":"noah_brown_6181","status":"pending"}': 26,
    "Todos los seres humanos nacen libres e iguales en dignidad y derechos.": 15,
}


@pytest.mark.parametrize(("text", "tokens"), COUNTED.items())
def test_the_estimate_is_near_the_count(text: str, tokens: int) -> None:
    assert estimate_tokens(text) == pytest.approx(tokens, rel=0.15)


def test_nothing_is_no_token_and_more_text_is_never_less() -> None:
    assert estimate_tokens("") == 0
    assert estimate_tokens("word " * 1000) == 1000


@given(st.one_of(st.text(), st.text("ab1_.\n \t\x1c\x00")))
def test_the_fast_count_finds_the_same_pieces(text: str) -> None:
    assert estimate_tokens(text) == len(_PIECE.findall(text))
    assert estimate_all([text, "", text]) == 2 * estimate_tokens(text)
