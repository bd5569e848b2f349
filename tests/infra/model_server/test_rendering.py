"""Chat templates and the calls that models write."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.model_server.chat_template import ChatTemplateRenderer
from infra.model_server.errors import RenderingError
from infra.model_server.rendering import IGNORED, ForcesCalls, renderer_for
from infra.model_server.tool_calls import HERMES, LLAMA, MISTRAL, CallFormat, format_of, message_of
from tests.infra.model_server import tiny

UNMARKED = tiny.TEMPLATE.replace("{% generation %}", "").replace("{% endgeneration %}", "")


TWO = [("f", "{}"), ("g", "{}")]


def calls_of(message: dict[str, Any]) -> list[tuple[str, str]]:
    return [(call["function"]["name"], call["function"]["arguments"]) for call in message["tool_calls"]]


def test_marked_and_unmarked_templates_train_the_same_tokens(tmp_path: Path) -> None:
    marked = renderer_for(tiny.build(tmp_path / "marked"))
    unmarked = renderer_for(tiny.build(tmp_path / "unmarked", template=UNMARKED))
    for number in range(5):
        row = tiny.conversation(number)
        assert marked.render(row["messages"], row["tools"]) == unmarked.render(row["messages"], row["tools"])


def test_a_turn_is_trained_up_to_its_end(models_dir: Path) -> None:
    renderer = renderer_for(models_dir / "tiny")
    row = tiny.conversation(2)
    rendered = renderer.render(row["messages"], row["tools"])
    trained = [token for token in rendered.labels if token != IGNORED]
    assert [token in renderer.stop_ids for token in trained].count(True) == 2
    assert trained[-1] in renderer.stop_ids
    first_turn = trained[: next(i for i, token in enumerate(trained) if token in renderer.stop_ids) + 1]
    assert calls_of(renderer.parse(first_turn, rendered.state)) == [("look_up", '{"key": "k2"}')]


def test_a_template_that_rewrites_earlier_turns_is_refused(tmp_path: Path) -> None:
    template = "{{ messages | length }}" + UNMARKED
    renderer = renderer_for(tiny.build(tmp_path / "model", template=template))
    with pytest.raises(RenderingError, match="rewrites what precedes message 1"):
        renderer.render(tiny.conversation(1)["messages"], [])


def test_a_template_that_refuses_a_conversation_is_quoted(tmp_path: Path) -> None:
    template = "{{ raise_exception('no system messages') }}" + tiny.TEMPLATE
    renderer = renderer_for(tiny.build(tmp_path / "model", template=template))
    for generation in (True, False):
        with pytest.raises(RenderingError, match="no system messages"):
            renderer.render(tiny.conversation(1)["messages"], [], generation=generation)


def test_folders_without_what_a_renderer_needs_are_named(tmp_path: Path) -> None:
    model = tiny.build(tmp_path / "model")
    (model / "renderer.json").write_text('{"kind": "poetry"}')
    with pytest.raises(RenderingError, match="'poetry'; known are"):
        renderer_for(model)
    (model / "renderer.json").unlink()
    (model / "chat_template.jinja").unlink()
    with pytest.raises(RenderingError, match="no single chat template"):
        renderer_for(model)
    with pytest.raises(RenderingError, match="no tokenizer"):
        renderer_for(tmp_path)


def test_templates_that_expect_objects_get_objects(tmp_path: Path) -> None:
    template = tiny.TEMPLATE.replace("call.function.arguments is string", "false")
    row = tiny.conversation(1)
    texts = []
    for name, chosen in (("objects", template), ("strings", tiny.TEMPLATE)):
        renderer = ChatTemplateRenderer(tiny.build(tmp_path / name, template=chosen))
        texts.append(renderer.render(row["messages"], row["tools"]))
    assert texts[0] == texts[1]


@pytest.mark.parametrize(
    ("text", "form", "calls"),
    [
        ('<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>', HERMES, [("f", '{"a": 1}')]),
        ('<tool_call>{"name": "f", "arguments": "{}"}</tool_call><tool_call>{"name": "g"}', HERMES, TWO),
        ('[TOOL_CALLS] [{"name": "f", "arguments": {}}, {"name": "g", "arguments": {}}]', MISTRAL, TWO),
        ('{"name": "f", "parameters": {"a": "b"}}', LLAMA, [("f", '{"a": "b"}')]),
        ('<|python_tag|>{"name": "f", "parameters": {}}', LLAMA, [("f", "{}")]),
        ('<tool_call>{"name": "f", "arguments": {"a": </tool_call>', HERMES, [("f", '{"a":')]),
        ("<tool_call>who knows", HERMES, [("", "who knows")]),
    ],
)
def test_calls_are_found_and_broken_ones_stay_calls(text: str, form: CallFormat, calls: list[tuple[str, str]]) -> None:
    message = message_of(text, form)
    assert message["content"] is None
    assert calls_of(message) == calls


@given(st.text(max_size=60), st.sampled_from([HERMES, MISTRAL, LLAMA]))
def test_whatever_a_model_writes_is_a_message(text: str, form: CallFormat) -> None:
    for written in (text, form.begin + text, text + form.begin, form.begin + '{"name": "f", "arguments": ' + text):
        message = message_of(written, form)
        assert message["role"] == "assistant"
        assert isinstance(message["content"], str) or message["tool_calls"]
        assert all(
            isinstance(part, str) for call in message.get("tool_calls", []) for part in call["function"].values()
        )


@given(st.text(min_size=1, max_size=20), st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=9)))
def test_a_well_formed_call_comes_back_as_it_was(name: str, arguments: dict[str, object]) -> None:
    written = HERMES.begin + json.dumps({"name": name, "arguments": arguments}) + HERMES.end
    [(found, text)] = calls_of(message_of(written, HERMES))
    assert (found, json.loads(text)) == (name, arguments)


def test_text_beside_a_call_is_kept() -> None:
    message = message_of('Let me see. <tool_call>{"name": "f", "arguments": {}}</tool_call>', HERMES)
    assert message["content"] == "Let me see."


def test_the_form_is_read_from_the_template() -> None:
    assert format_of("... <tool_call> ...") is HERMES
    assert format_of("... [TOOL_CALLS] ...") is MISTRAL
    assert format_of('{"name": x, "parameters": y}') is LLAMA
    assert format_of("plain") is HERMES


def test_a_forced_call_begins_as_a_taught_one(models_dir: Path) -> None:
    renderer = renderer_for(models_dir / "tiny")
    assert isinstance(renderer, ForcesCalls)
    rest = ChatTemplateRenderer(models_dir / "tiny")._encode('{"key": "k1"}}\n</tool_call>')["input_ids"]
    assert calls_of(renderer.parse([*renderer.call_prefix("look_up"), *rest], None)) == [("look_up", '{"key": "k1"}')]
    assert renderer.call_prefix("look_up")[: len(renderer.call_prefix(None)) - 1] == renderer.call_prefix(None)[:-1]


def test_the_rng_changes_nothing_here(models_dir: Path) -> None:
    renderer = renderer_for(models_dir / "tiny")
    row = tiny.conversation(1)
    assert renderer.render(row["messages"], [], rng=random.Random(1)) == renderer.render(row["messages"], [])
