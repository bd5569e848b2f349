"""The slot renderer is reversible, hides nothing it should copy, and never fails on what a model emits."""

import json
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.model_server.base.pretrain import write_words
from infra.model_server.errors import RenderingError
from infra.model_server.slot_decoder import Decoder
from infra.model_server.slot_renderer import SlotRenderer
from infra.model_server.slot_text import KINDS, SLOTS, Encoder, Slots, kind_of

TEXTS = st.text() | st.text(alphabet="aA bB1#.$_-@,\n\té\u2003ß") | st.from_regex(r"(#W\d{3,7}|[A-Za-z]+| |\.){1,12}")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS | st.just("order_id"), inner, max_size=4),
    max_leaves=12,
)
TOOL = {"type": "function", "function": {"name": "get_user_details", "parameters": {"properties": {"user_id": {}}}}}


@pytest.fixture(scope="module")
def renderer(tmp_path_factory: pytest.TempPathFactory) -> SlotRenderer:
    folder = tmp_path_factory.mktemp("words")
    write_words(Path(folder))
    return SlotRenderer(Path(folder))


def call(name: str, arguments: str) -> dict[str, object]:
    function = {"name": name, "arguments": arguments}
    return {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "type": "function", "function": function}]}


@given(text=TEXTS, copying=st.booleans())
@settings(max_examples=300, deadline=None)
def test_text_comes_back_byte_for_byte(renderer: SlotRenderer, text: str, copying: bool) -> None:
    slots = Slots()
    encoder = Encoder(renderer.v, slots)
    encoder.copying = copying
    assert Decoder(renderer.v, slots).text(encoder.text(text)) == text


@given(name=TEXTS | st.just("get_user_details"), arguments=st.dictionaries(TEXTS, JSON, max_size=4))
@settings(max_examples=200, deadline=None)
def test_a_call_comes_back_with_its_name_and_arguments(
    renderer: SlotRenderer, name: str, arguments: dict[str, object]
) -> None:
    message = call(name, json.dumps(arguments))
    rendered = renderer.render([message], [], rng=random.Random(0))
    trained = [i for i, label in zip(rendered.input_ids, rendered.labels, strict=True) if label != -100]
    function = renderer.parse(trained, rendered.state)["tool_calls"][0]["function"]
    assert (function["name"], json.loads(function["arguments"])) == (name, arguments)


@given(tokens=st.lists(st.integers(0, 4000), max_size=40))
@settings(max_examples=300, deadline=None)
def test_any_tokens_are_read_as_some_message(renderer: SlotRenderer, tokens: list[int]) -> None:
    message = renderer.parse(tokens, Slots())
    assert message["role"] == "assistant"
    assert isinstance(message.get("content") or message.get("tool_calls") or "", (str, list))


def test_an_identifier_is_one_token_wherever_it_stands(renderer: SlotRenderer) -> None:
    messages = [
        {"role": "user", "content": "Where is order #W7678072?"},
        call("get_order_details", '{"order_id":"#W7678072"}'),
        {"role": "tool", "content": '{"order_id":"#W7678072","status":"pending"}'},
    ]
    rendered = renderer.render(messages, [TOOL])
    assert isinstance(rendered.state, Slots)
    number = rendered.state.find("W7678072")
    assert number is not None
    assert rendered.input_ids.count(renderer.v.first_slot + number) == 3


def test_only_the_assistants_turns_and_their_ends_are_trained(renderer: SlotRenderer) -> None:
    messages = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hello, how are you?"}]
    rendered = renderer.render(messages, [TOOL])
    trained = [i for i, label in zip(rendered.input_ids, rendered.labels, strict=True) if label != -100]
    assert renderer.parse(trained, rendered.state)["content"] == "Hello, how are you?"
    assert trained[-1] in renderer.stop_ids
    assert all(label in (-100, token) for token, label in zip(rendered.input_ids, rendered.labels, strict=True))


def test_a_longer_conversation_starts_with_the_tokens_of_the_shorter(renderer: SlotRenderer) -> None:
    messages = [
        {"role": "user", "content": "I am Noah Brown, 80279"},
        call("find_user_id_by_name_zip", '{"first_name":"Noah","last_name":"Brown","zip":"80279"}'),
        {"role": "tool", "content": "noah_brown_6181"},
        call("get_user_details", '{"user_id":"noah_brown_6181"}'),
    ]
    whole = renderer.render(messages, [TOOL]).input_ids
    prompt = renderer.render(messages[:3], [TOOL], generation=True).input_ids
    assert whole[: len(prompt)] == prompt


def test_permuted_slots_change_the_tokens_and_not_the_message(renderer: SlotRenderer) -> None:
    messages = [{"role": "user", "content": "zip 80279"}, {"role": "assistant", "content": "80279"}]
    one, two = (renderer.render(messages, [], rng=random.Random(seed)) for seed in (1, 2))
    assert one.input_ids != two.input_ids
    for rendered in (one, two):
        trained = [i for i, label in zip(rendered.input_ids, rendered.labels, strict=True) if label != -100]
        assert renderer.parse(trained, rendered.state)["content"] == "80279"


def test_training_changes_words_of_the_customer_that_nobody_else_says(renderer: SlotRenderer) -> None:
    said = "please cancel my whole order now because the color is not what we wanted at all, thank you and goodbye"
    messages = [
        {"role": "user", "content": said},
        {"role": "assistant", "content": "The order?"},
        {"role": "user", "content": said},
    ]
    plain = renderer.render(messages, []).input_ids
    changed: set[int] = set()
    for seed in range(60):
        varied = renderer.render(messages, [], rng=random.Random(seed)).input_ids
        assert len(varied) == len(plain)
        changed |= {old for old, new in zip(plain, varied, strict=True) if old != new}
    kept = {renderer.v.word[word] for word in ("order", "the")}
    assert {renderer.v.word[word] for word in ("cancel", "goodbye", "whole")} <= changed
    assert not kept & changed
    assert all(token >= renderer.v.first_word for token in changed)


@pytest.mark.parametrize(
    ("string", "kind"),
    [
        ("noah.brown@example.com", "email"),
        ("80279", "five"),
        ("02185", "five"),
        ("7", "short"),
        ("6465288081", "long"),
        ("153.86", "decimal"),
        ("noah_brown_6181", "mixed"),
        ("W7678072", "mixed"),
        ("Noah", "name"),
        ("foam", "lower"),
    ],
)
def test_a_slot_tells_the_kind_of_its_string(renderer: SlotRenderer, string: str, kind: str) -> None:
    assert kind_of(string) == kind
    first = sum(list(KINDS.values())[: list(KINDS).index(kind)])
    for seed in range(5):
        number = Slots(random.Random(seed)).assign(string)
        assert number is not None
        assert first <= number < first + KINDS[kind]


def test_a_kind_without_a_slot_left_takes_one_of_another(renderer: SlotRenderer) -> None:
    slots = Slots()
    numbers = [slots.assign(f"person{n}@example.com") for n in range(KINDS["email"] + 1)]
    assert len({*numbers}) == KINDS["email"] + 1
    assert numbers[:-1] == list(range(KINDS["email"]))


def test_a_model_of_another_vocabulary_is_refused_by_name(tmp_path: Path) -> None:
    write_words(tmp_path)
    (tmp_path / "config.json").write_text('{"vocab_size": 4811}', encoding="utf-8")
    with pytest.raises(RenderingError, match=r"was trained with 4811 tokens .* train it again"):
        SlotRenderer(tmp_path)


ORDER = {
    "role": "tool",
    "content": json.dumps(
        {
            "order_id": "#W7678072",
            "items": [
                {"name": "Phone Case", "item_id": "1151293680", "options": {"color": "blue"}},
                {"name": "Desk Lamp", "item_id": "4582956489", "options": {"color": "red"}},
            ],
        }
    ),
}


def test_an_anchor_ties_the_values_of_a_record_to_its_identifier(renderer: SlotRenderer) -> None:
    ids = renderer.render([ORDER], []).input_ids
    first, second = renderer.v.first_anchor, renderer.v.first_anchor + 1
    blue, red = renderer.v.word["blue"], renderer.v.word["red"]
    assert ids[ids.index(blue) + 1] == first
    assert ids[ids.index(red) + 1] == second
    assert [anchor for anchor in ids if renderer.v.is_anchor(anchor)] == [first] * 5 + [second] * 5


def test_an_identifier_that_is_taken_from_a_record_is_written_as_a_reference(renderer: SlotRenderer) -> None:
    said = call("return_items", '{"order_id":"#W7678072","item_ids":["4582956489"]}')
    for conversation in ([ORDER, said], [ORDER, {"role": "assistant", "content": "Return 4582956489?"}]):
        rendered = renderer.render(conversation, [TOOL])
        trained = [i for i, label in zip(rendered.input_ids, rendered.labels, strict=True) if label != -100]
        assert isinstance(rendered.state, Slots)
        start = trained.index(renderer.v.reference) + 1
        anchor = renderer.v.first_anchor + 1
        assert trained[start:].count(anchor) == 2
        words = trained[start : trained.index(anchor)]
        assert Decoder(renderer.v, rendered.state).text(words) == "Desk Lamp"
        taken = trained[len(trained) - trained[::-1].index(anchor)]
        assert rendered.state.string(taken - renderer.v.first_slot) == "4582956489"
        message = renderer.parse(trained, rendered.state)
        assert "4582956489" in (message.get("content") or message["tool_calls"][0]["function"]["arguments"])


def test_an_identifier_that_the_customer_named_first_stands_for_itself(renderer: SlotRenderer) -> None:
    conversation = [
        {"role": "user", "content": "It is item 4582956489."},
        ORDER,
        call("return_items", '{"item_ids":["4582956489"]}'),
    ]
    rendered = renderer.render(conversation, [])
    trained = [i for i, label in zip(rendered.input_ids, rendered.labels, strict=True) if label != -100]
    assert not any(renderer.v.is_anchor(token) for token in trained)


def test_a_record_that_is_shown_again_keeps_its_anchor(renderer: SlotRenderer) -> None:
    once, twice = renderer.render([ORDER], []).input_ids, renderer.render([ORDER, ORDER], []).input_ids
    assert twice == once + once


def test_a_record_that_is_described_by_its_own_identifier_ends(renderer: SlotRenderer) -> None:
    shown = {"role": "tool", "content": '[{"id":"x1","options":{"of":"x1"}}]'}
    rendered = renderer.render([shown, {"role": "assistant", "content": "x1"}], [])
    assert rendered.input_ids.count(renderer.v.reference) == 1


def test_a_reference_that_breaks_off_is_visible_as_such(renderer: SlotRenderer) -> None:
    rendered = renderer.render([ORDER, {"role": "assistant", "content": "It is 4582956489."}], [])
    trained = [i for i, label in zip(rendered.input_ids, rendered.labels, strict=True) if label != -100]
    anchor = trained.index(renderer.v.first_anchor + 1)
    assert renderer.parse(trained[:anchor], rendered.state)["content"] == "It is<from> Desk Lamp"
    assert renderer.parse(trained[: anchor + 3], rendered.state)["content"] == "It is<from> Desk Lamp item"
    assert renderer.parse(trained, rendered.state)["content"] == "It is 4582956489."


def test_more_strings_than_slots_are_spelled_out(renderer: SlotRenderer) -> None:
    text = " ".join(str(1000 + n) for n in range(SLOTS + 20))
    slots = Slots()
    assert Decoder(renderer.v, slots).text(Encoder(renderer.v, slots).text(text)) == text


def test_a_slot_that_stands_for_nothing_is_visible_as_such(renderer: SlotRenderer) -> None:
    name = renderer.call_prefix("get_user_details")
    tokens = [
        *name,
        *Encoder(renderer.v, Slots()).name("user_id"),
        renderer.v.special["<:>"],
        renderer.v.first_slot + 17,
    ]
    message = renderer.parse([*tokens, renderer.v.special["<}>"]], Slots())
    assert json.loads(message["tool_calls"][0]["function"]["arguments"]) == {"user_id": "unknown_17"}


def test_a_broken_off_call_keeps_what_the_model_wrote(renderer: SlotRenderer) -> None:
    message = renderer.parse(renderer.call_prefix("get_user_details"), Slots())
    function = message["tool_calls"][0]["function"]
    assert function["name"] == "get_user_details"
    with pytest.raises(json.JSONDecodeError):
        json.loads(function["arguments"])
