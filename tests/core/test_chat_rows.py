from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.core.chat_rows import ROLES, _is_surely_fine, _shape_problems

CALL = {"id": "call_1", "type": "function", "function": {"name": "act", "arguments": "{}"}}
odd: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, 0, 2, "", " \n", "text", [], ["x"], {}, [{"type": "text", "text": "hi"}], [CALL]]
)
keys = ("content", "tool_calls", "tool_call_id", "weight", "name", "zzz")
messages = st.builds(
    lambda role, more: {**({} if role is None else {"role": role}), **more},
    st.sampled_from([*ROLES, "bot", None, 7, []]),
    st.dictionaries(st.sampled_from(keys), odd, max_size=3),
)


@given(messages)
def test_what_is_fine_at_a_glance_has_no_problem(message: dict[str, Any]) -> None:
    if _is_surely_fine(message):
        assert not list(_shape_problems(message, "$"))


@pytest.mark.parametrize(
    "message",
    [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "content": "", "tool_call_id": "call_1"},
    ],
)
def test_most_messages_are_fine_at_a_glance(message: dict[str, Any]) -> None:
    assert _is_surely_fine(message)
    assert not _is_surely_fine({**message, "content": 7})
