import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args

import pytest

from tasks import simulate as simulation
from tasks.core.config import Gate, ValidationConfig
from tasks.core.conversation import Conversation, Goal, Message
from tasks.core.dataset import DatasetSplit, RowMeta
from tasks.core.errors import DataError
from tasks.core.evaluation import EvalItem, ItemMeta
from tasks.core.grader import grade
from tasks.prepare import prepare_dataset, read_rows, write_eval_items
from tasks.simulate import read_conversations
from tasks.world import RetailWorld
from tests.worlds import ROOT, a_profile, shop_tools, small_shop

Change = Callable[[Conversation], Conversation]


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    profile = a_profile(train_conversations=20, valid_conversations=4, heldout_conversations=8, shard_size=10)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        patch.setattr(simulation, "open_shop", lambda _world: small_shop())
        return simulation.simulate(profile, tmp_path_factory.mktemp("shards"))


def prepared(shards: Sequence[Path], folder: Path, **config: Any) -> DatasetSplit:
    return prepare_dataset(shards, RetailWorld(small_shop()), ValidationConfig(**config), folder)


def with_change(shards: Sequence[Path], folder: Path, change: Change, number: int = 0) -> list[Path]:
    """Return one shard with all conversations, one of them changed."""
    conversations = list(read_conversations(shards))
    conversations[number] = change(conversations[number])
    path = folder / "changed.jsonl"
    path.write_text("".join(f"{c.model_dump_json()}\n" for c in conversations))
    return [path]


def replaced(conversation: Conversation, turn: int, **update: Any) -> Conversation:
    messages = list(conversation.messages)
    messages[turn] = messages[turn].model_copy(update=update)
    return conversation.model_copy(update={"messages": tuple(messages)})


def call_with(message: Message, arguments: str) -> Any:
    return (message.tool_calls[0].model_copy(update={"arguments": arguments}),)


def first(conversation: Conversation, role: str, calling: bool = False) -> int:
    return next(n for n, m in enumerate(conversation.messages) if m.role == role and bool(m.tool_calls) == calling)


def test_sound_conversations_all_get_through_with_their_sidecars(shards: list[Path], tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    split = prepare_dataset(
        shards, RetailWorld(small_shop()), ValidationConfig(), tmp_path, lambda done, total: told.append((done, total))
    )
    assert split.funnel.played == split.funnel.kept == 32
    assert list(split.funnel.stopped) == list(get_args(Gate))
    assert set(split.funnel.stopped.values()) == {0}
    assert split.overlap == 0.0
    assert [split.train.rows, split.valid.rows, split.heldout.rows] == [20, 4, 8]
    assert told == [(1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]
    for file in (split.train, split.valid, split.heldout):
        content = Path(file.path).read_bytes()
        assert hashlib.sha256(content).hexdigest() == file.sha256
        lines = content.splitlines()
        metas = [RowMeta.model_validate_json(line) for line in Path(file.meta_path).read_bytes().splitlines()]
        assert [hashlib.sha256(line).hexdigest() for line in lines] == [meta.row_sha256 for meta in metas]
        for line in lines:
            row = json.loads(line)
            assert list(row) == ["messages", "tools", "parallel_tool_calls"]
            assert row["tools"] == shop_tools()
            assert row["parallel_tool_calls"] is False


def test_preparing_again_gives_the_same_files(shards: list[Path], tmp_path: Path) -> None:
    assert prepared(shards, tmp_path / "a").train.sha256 == prepared(shards, tmp_path / "b").train.sha256


@pytest.mark.parametrize(
    ("change", "gate", "reason"),
    [
        (
            lambda c: replaced(c, first(c, "user"), content=" "),
            "format",
            "format: message without text",
        ),
        (
            lambda c: replaced(c, first(c, "tool"), content="mallory_1"),
            "execution",
            "execution: another result",
        ),
        (
            lambda c: c.model_copy(update={"final_state": "0" * 64}),
            "execution",
            "execution: another final state",
        ),
        (
            lambda c: replaced(c, 1, content="Hello, I need help."),
            "provenance",
            "provenance: invented argument",
        ),
        (
            lambda c: c.model_copy(update={"goal": Goal(writes=c.goal.writes, outcome="cancel: lost")}),  # type: ignore[union-attr]  # the expert sets one
            "goal",
            "goal: another outcome",
        ),
        (
            lambda c: c.model_copy(update={"customer_id": "somebody_else_1"}),
            "policy",
            "policy: not the customer of the scenario",
        ),
    ],
)
def test_a_broken_conversation_is_stopped_at_its_gate_and_counted(
    shards: list[Path], tmp_path: Path, change: Change, gate: str, reason: str
) -> None:
    number = next(n for n, c in enumerate(read_conversations(shards)) if c.messages[2].tool_calls)
    gates = ("format", "execution", "goal", "provenance", "policy")
    funnel = prepared(with_change(shards, tmp_path, change, number), tmp_path, gates=gates).funnel
    assert funnel.stopped[gate] == 1
    assert funnel.reasons == {reason: 1}
    assert funnel.kept == 31


def test_a_duplicate_is_dropped_however_it_is_called(shards: list[Path], tmp_path: Path) -> None:
    twin = next(read_conversations(shards)).model_copy(update={"id": "twin"})
    funnel = prepared(with_change(shards, tmp_path, lambda _: twin, number=1), tmp_path).funnel
    assert funnel.reasons == {"duplicate: every decision was there before": 1}
    assert funnel.examples == {"duplicate: every decision was there before": "twin: every decision was there before"}


def test_a_conversation_that_only_says_the_same_in_other_words_is_a_near_duplicate(
    shards: list[Path], tmp_path: Path
) -> None:
    original = max(list(read_conversations(shards))[:20], key=lambda c: len(c.messages))
    twin = replaced(original, -1, content=f"{original.messages[-1].content} Bye.").model_copy(update={"id": "twin"})
    path = tmp_path / "twins.jsonl"
    path.write_text("".join(f"{c.model_dump_json()}\n" for c in (*read_conversations(shards), twin)))
    funnel = prepared([path], tmp_path, similarity=0.9).funnel
    assert funnel.stopped["near_duplicate"] == 1
    assert funnel.kept == 32
    assert f"twin: same calls and nearly the same words: like {original.id}" in funnel.examples.values()


def test_a_conversation_over_the_limit_is_stopped(shards: list[Path], tmp_path: Path) -> None:
    shown = replaced(next(read_conversations(shards)), -1, content="Goodbye! " * 4000)
    funnel = prepared(with_change(shards, tmp_path, lambda _: shown), tmp_path, max_tokens=8000).funnel
    assert funnel.reasons == {"length: too long": 1}


def test_too_small_a_yield_stops_the_run_and_writes_nothing(shards: list[Path], tmp_path: Path) -> None:
    broken = with_change(shards, tmp_path, lambda c: replaced(c, 1, content=" "))
    with pytest.raises(DataError, match=r"Only 31 of 32 .* format: message without text \(1\)"):
        prepared(broken, tmp_path / "out", min_yield=0.99)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_customer_in_two_splits_stops_the_run_and_writes_nothing(shards: list[Path], tmp_path: Path) -> None:
    first_one = next(read_conversations(shards))
    leak = with_change(shards, tmp_path, lambda c: c.model_copy(update={"customer_id": first_one.customer_id}), 31)
    with pytest.raises(DataError, match="The splits leak: customer"):
        prepared(leak, tmp_path / "out", gates=("format", "provenance"))
    assert list((tmp_path / "out").iterdir()) == []


def test_wording_of_the_training_customers_in_the_held_out_split_stops_the_run(
    shards: list[Path], tmp_path: Path
) -> None:
    conversations = list(read_conversations(shards))
    small_talk = "I have been thinking about this for a whole week now, you know."
    path = tmp_path / "parrots.jsonl"
    path.write_text(
        "".join(
            f"{replaced(c, 1, content=f'{c.messages[1].content} {small_talk}').model_dump_json()}\n"
            for c in conversations
        )
    )
    with pytest.raises(DataError, match=r"The splits leak: training holds \d+\.\d% of the held-out customers' runs"):
        prepared([path], tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_an_empty_split_is_named(shards: list[Path], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No conversation is left for valid, heldout"):
        prepared(shards[:1], tmp_path)


def test_only_the_gates_of_the_profile_are_asked(shards: list[Path], tmp_path: Path) -> None:
    wrong_end = with_change(shards, tmp_path, lambda c: c.model_copy(update={"final_state": "0"}))
    assert prepared(wrong_end, tmp_path, gates=("format", "provenance")).funnel.kept == 32


def test_every_assistant_turn_of_the_held_out_rows_is_one_decision(shards: list[Path], tmp_path: Path) -> None:
    heldout = prepared(shards, tmp_path).heldout
    decisions = write_eval_items(heldout, tmp_path)
    content = Path(decisions.path).read_bytes()
    items = [EvalItem.model_validate_json(line) for line in content.splitlines()]
    metas = [ItemMeta.model_validate_json(line) for line in Path(decisions.meta_path).read_bytes().splitlines()]
    turns = [
        (meta.conversation_id, n)
        for row, meta in read_rows(heldout)
        for n, m in enumerate(row["messages"])
        if m["role"] == "assistant"
    ]
    assert [(meta.conversation_id, meta.turn) for meta in metas] == turns
    assert decisions.items == len(items) == len({meta.item_id for meta in metas})
    assert decisions.call_items == sum(meta.kind == "call" for meta in metas)
    assert decisions.conversations == 8
    assert decisions.sha256 == hashlib.sha256(content).hexdigest()
    for item, meta in zip(items, metas, strict=True):
        expected = item.item["expected_output"]
        assert len(item.item["messages"]) == meta.turn
        assert item.item["messages"][-1]["role"] in {"user", "tool"}
        assert (meta.kind == "call") == bool(expected["tool_calls"]) == (meta.tool is not None)
        assert grade({"output_tools": expected["tool_calls"]}, item.item) == 1.0


def test_a_decision_propagates_when_a_tool_returned_one_of_its_values(shards: list[Path], tmp_path: Path) -> None:
    decisions = write_eval_items(prepared(shards, tmp_path).heldout, tmp_path)
    metas = [ItemMeta.model_validate_json(line) for line in Path(decisions.meta_path).read_bytes().splitlines()]
    assert all(meta.propagates for meta in metas if meta.tool == "get_user_details")
    assert not any(meta.propagates for meta in metas if meta.tool is None or meta.tool.startswith("find_"))


def test_rows_and_a_sidecar_that_do_not_belong_together_are_refused(shards: list[Path], tmp_path: Path) -> None:
    heldout = prepared(shards, tmp_path).heldout
    lines = Path(heldout.path).read_bytes().splitlines(keepends=True)
    Path(heldout.path).write_bytes(b"".join(reversed(lines)))
    with pytest.raises(DataError, match=r"heldout\.jsonl, line 1 is not the row"):
        write_eval_items(heldout, tmp_path)
    Path(heldout.path).write_bytes(lines[0])
    with pytest.raises(DataError, match=r"has 1 rows but .* has 8 lines"):
        write_eval_items(heldout, tmp_path)
    assert not (tmp_path / "items.jsonl").exists()
