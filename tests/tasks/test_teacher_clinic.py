"""A world that shares nothing with the shop, from its tools/list to training rows and decisions."""

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from flows.cli import app
from tasks.artifacts import Dataset
from tasks.card import card_in
from tasks.core.blueprint import Take
from tasks.core.config import Profile, ValidationConfig
from tasks.core.conversation import Conversation, Goal
from tasks.core.dataset import row_of
from tasks.core.errors import ConfigError, SynthesisError
from tasks.core.evaluation import EvalItem, EvalReport, ItemMeta
from tasks.core.gates import kind_of
from tasks.gatekeeper import Gatekeeper
from tasks.measure import conversations, require_shop
from tasks.prepare import read_rows
from tasks.world import open_world
from tests.clinic import staff
from tests.fake_provider import FakeProvider, Reply, Request, call, say
from tests.worlds import CLINIC, clinic_served


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with clinic_served() as (url, _):
        yield url


def clinic(address: str, provider: str, folder: Path, **world: Any) -> Profile:
    return Profile.model_validate(
        {
            "name": "clinic",
            "workspace": folder,
            "world": {
                "url": address,
                "policy": CLINIC / "policy.md",
                "hints": CLINIC / "hints.yaml",
                "reset_tool": "reset_clinic",
                **world,
            },
            "synthesis": {"train_conversations": 6, "valid_conversations": 2, "heldout_conversations": 3},
            "teacher": {"agent": {"model": "big", "price": {"prompt": 2, "completion": 10}}},
            "provider": {"kind": "local", "base_url": provider},
            "training": {"base_model": "base"},
        }
    )


def takes_of(folder: Path) -> dict[str, Take]:
    takes = [Take.model_validate_json(file.read_bytes()) for file in folder.glob("conversations/*/takes/*.json")]
    return {take.id: take for take in takes}


def only(take_folder: Path) -> Take:
    """Return the take of the first training conversation."""
    return takes_of(take_folder)["train-7-00000"]


def zava(*arguments: str) -> tuple[int, str, str]:
    """Run a command in this process; return its exit status, standard output and standard error."""
    result = CliRunner().invoke(app, list(arguments))
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def test_from_tools_list_to_training_rows_and_decisions(address: str, tmp_path: Path) -> None:
    file, overlap = tmp_path / "clinic.yaml", ("--set", "validation.max_overlap=0.4")
    with FakeProvider(lambda request: staff.play(request) if request else say("")) as provider:
        file.write_text(yaml.safe_dump(clinic(address, provider.base_url, tmp_path).model_dump(mode="json")))
        code, _, told = zava("synthesize", "--profile", str(file))
        assert code == 1
        # The scripted owners know three sentences between them, and that is seen.
        assert re.search(r"training holds 2\d\.\d% of the held-out customers' runs of eight words", told)
        asked = len(provider.requests)
        code, printed, told = zava("synthesize", "--profile", str(file), "--json", *overlap)
        assert code == 0, told
        assert len(provider.requests) == asked  # all was paid for
        _check_evaluation("--profile", str(file), *overlap)
    made = Dataset.model_validate_json(printed)
    assert set(made.split.funnel.stopped) == set(ValidationConfig().gates) - {"policy"}
    assert not any(made.split.funnel.stopped.values())
    assert made.split.coverage == {}
    assert (made.split.train.rows, made.split.valid.rows, made.split.heldout.rows) == (6, 2, 3)
    rows = [row for row, _ in read_rows(made.split.train)]
    tools = {tool["function"]["name"] for tool in rows[0]["tools"]}
    assert tools == {"find_owner", "get_owner", "list_free_slots", "book_visit", "move_visit", "cancel_visit"}
    assert all(row["messages"][0]["content"] == (CLINIC / "policy.md").read_text() for row in rows)
    called = {c["function"]["name"] for row in rows for m in row["messages"] for c in m.get("tool_calls", [])}
    assert called == tools
    _check_decisions(made.decisions.path, made.decisions.meta_path)
    _check_costs(tmp_path, asked)
    _check_card(Path(made.split.train.path).parent)
    _check_validation(Path(made.split.heldout.path), file)


def _check_evaluation(*profile: str) -> None:
    """Whoever decides by what a request shows decides as in the conversations."""
    code, printed, told = zava("evaluate", "--model", "big", "--json", *profile)
    assert code == 0, told
    report = EvalReport.model_validate_json(printed)
    assert (report.errored, report.metrics["next_tool_call_accuracy"].value) == (0, 1.0)


def _check_decisions(path: str, meta_path: str) -> None:
    items = [EvalItem.model_validate_json(line) for line in Path(path).read_text().splitlines()]
    metas = [ItemMeta.model_validate_json(line) for line in Path(meta_path).read_text().splitlines()]
    assert {meta.tool for meta in metas} >= {"find_owner", "get_owner", None}
    assert all(meta.customer_id.startswith("own-") for meta in metas)
    propagating = [item for item, meta in zip(items, metas, strict=True) if meta.propagates]
    assert any(item.item["expected_output"]["tool_calls"] for item in propagating)


def _check_costs(folder: Path, asked: int) -> None:
    """Every request that reached the provider is in the usage of exactly one conversation."""
    usages = [take.usage for take in takes_of(folder).values()]
    assert sum(usage.calls for usage in usages) == asked
    assert sum(usage.tokens for usage in usages) == 110 * asked
    assert sum(usage.cost or 0 for usage in usages) == pytest.approx(asked * (100 * 2 + 10 * 10) / 1e6)


def _check_card(folder: Path) -> None:
    """Whoever wrote the rows is on the card, and nothing of the shop."""
    for path in (card_in(folder).html, card_in(folder).markdown):
        text = path.read_text()
        assert "Written by big, with results of the tools of a server" in text
        assert "MIT" not in text
        assert "Coverage" not in text
        assert "move_visit" in text


def _check_validation(rows: Path, profile: Path) -> None:
    """The rows go through the validator, calls made again at the clinic; a changed result does not."""
    assert zava("validate", str(rows), "--world", str(profile))[0] == 0
    changed = rows.with_name("changed.jsonl")
    changed.write_text(rows.read_text().replace("Friday", "Monday"))
    code, printed, _ = zava("validate", str(changed), "--world", str(profile))
    assert code == 1
    assert "another-result" in printed


def played(
    address: str, folder: Path, script: Callable[[Request], Reply], **world: Any
) -> tuple[Profile, list[Request]]:
    with FakeProvider(script) as provider:
        profile = clinic(address, provider.base_url, folder, **world)
        synthesis = profile.synthesis.model_copy(
            update={"train_conversations": 1, "valid_conversations": 1, "heldout_conversations": 1}
        )
        profile = profile.model_copy(update={"synthesis": synthesis})
        conversations(profile)
    return profile, provider.requests


def change_in(played: Conversation) -> int:
    """Return the turn that changes something."""
    return next(n for n, m in enumerate(played.messages) if any("_visit" in call.name for call in m.tool_calls))


def dropped_change(played: Conversation) -> Conversation:
    """The agent says that it is done, and has done nothing."""
    turn = change_in(played)
    return played.model_copy(update={"messages": (*played.messages[:turn], *played.messages[turn + 2 :])})


def made_up_id(played: Conversation) -> Conversation:
    messages, turn = list(played.messages), change_in(played)
    [made] = messages[turn].tool_calls
    invented = made.model_copy(update={"arguments": re.sub(r"visit-\d+", "visit-9999", made.arguments)})
    messages[turn] = messages[turn].model_copy(update={"tool_calls": (invented,)})
    return played.model_copy(update={"messages": tuple(messages)})


def other_goal(played: Conversation) -> Conversation:
    return played.model_copy(update={"goal": Goal(writes=(), outcome=played.outcome)})


def test_the_gates_catch_at_the_clinic_what_they_catch_in_the_shop(address: str, tmp_path: Path) -> None:
    profile, _ = played(address, tmp_path, staff.play)
    good = only(tmp_path).conversation
    assert good is not None
    world = open_world(profile.world)

    async def failed(conversation: Conversation) -> str:
        async with world.sandbox() as sandbox:
            gates = Gatekeeper(profile.validation, sandbox, world.procedure)
            verdict = await gates.first_failure(conversation, row_of(conversation, world.tools))
            return kind_of(verdict) if verdict else ""

    assert asyncio.run(failed(good)) == ""
    assert asyncio.run(failed(dropped_change(good))) == "execution: another final state"
    assert asyncio.run(failed(made_up_id(good))) == "provenance: invented argument"
    assert asyncio.run(failed(other_goal(good))) == "goal: another end state than the scenario's"


def is_about(request: Request, part: str) -> bool:
    return staff.part_of(request) == part


def test_a_failed_gate_is_told_to_the_agent_once_and_stays_out_of_the_row(address: str, tmp_path: Path) -> None:
    def script(request: Request) -> Reply:
        reply = staff.play(request)
        told = "first try at this was refused" in request["messages"][0]["content"]
        if is_about(request, "agent") and "move_visit" in json.dumps(reply.message) and not told:
            return call("move_visit", {"visit_id": "visit-9999", "slot_id": "slot-508"})
        return reply

    _, requests = played(address, tmp_path, script)
    take = only(tmp_path)
    assert [(blame.side, blame.kind) for blame in take.blames] == [("agent", "provenance: invented argument")]
    assert take.passed
    assert take.conversation is not None
    assert "refused" not in take.conversation.model_dump_json()
    notes = {m["messages"][0]["content"][-200:] for m in requests if "was refused" in m["messages"][0]["content"]}
    assert any("visit-9999" in note for note in notes)


def test_an_agent_that_fails_twice_gives_no_conversation(address: str, tmp_path: Path) -> None:
    def script(request: Request) -> Reply:
        reply = staff.play(request)
        return say("That is done.") if "move_visit" in json.dumps(reply.message.get("tool_calls")) else reply

    def agent_only(request: Request) -> Reply:
        return script(request) if is_about(request, "agent") else staff.play(request)

    played(address, tmp_path, agent_only)
    take = only(tmp_path)
    assert not take.passed
    assert [(blame.side, blame.kind) for blame in take.blames] == [("agent", "goal not reached")] * 2
    assert "move_visit was not called as it should" in str(take.blames[0])


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("How can I help you today?", "speaks as the agent"),
        ("Hi, move it. My phone is 555-0000.", "invents a fact"),
        ("###END###", "ends early"),
        (" ", "says nothing"),
    ],
)
def test_a_fault_of_the_customer_is_not_the_agents(address: str, tmp_path: Path, words: str, kind: str) -> None:
    def script(request: Request) -> Reply:
        told = "first try at this was refused" in request["messages"][0]["content"]
        return say(words) if is_about(request, "customer") and not told else staff.play(request)

    played(address, tmp_path, script)
    take = only(tmp_path)
    assert [(blame.side, blame.kind) for blame in take.blames] == [("customer", kind)]
    assert take.passed


def test_a_customer_who_leaves_at_the_question_is_at_fault(address: str, tmp_path: Path) -> None:
    def script(request: Request) -> Reply:
        asked = "yes/no" in request["messages"][-1]["content"]
        return say("###END###") if is_about(request, "customer") and asked else staff.play(request)

    played(address, tmp_path, script)
    take = only(tmp_path)
    assert not take.passed
    assert {str(blame) for blame in take.blames} == {"ends early: left the agent's question open"}


def test_a_blueprint_that_cannot_be_is_told_to_its_author_once(address: str, tmp_path: Path) -> None:
    def script(request: Request) -> Reply:
        reply = staff.play(request)
        if not is_about(request, "author") or reply.message.get("tool_calls"):
            return reply
        tries = sum("cannot be used" in (m["content"] or "") for m in request["messages"])
        if "train" in request["messages"][1]["content"] and tries == 0:
            return say("Here: " + reply.message["content"].replace('"slot-', '"slot-9'))
        return say("I would rather not.") if "valid" in request["messages"][1]["content"] else reply

    played(address, tmp_path, script)
    takes = takes_of(tmp_path)
    assert "move_visit was refused: " in str(takes["train-7-00000"].blames[0])
    assert "There is no slot 'slot-9" in str(takes["train-7-00000"].blames[0])
    assert takes["train-7-00000"].passed
    assert [str(b) for b in takes["valid-7-00000"].blames] == ["blueprint cannot be: there is no JSON in it"] * 2
    assert takes["valid-7-00000"].blueprint is None


def test_without_hints_the_customers_are_found_with_the_tools(address: str, tmp_path: Path) -> None:
    found = [f"own-{2041 + 37 * number}" for number in range(24)]

    def script(request: Request) -> Reply:
        return say(f"They are: {json.dumps(found)}") if "array of the ids" in str(request) else staff.play(request)

    played(address, tmp_path, script, hints=None)
    assert len(takes_of(tmp_path)) == 3
    with pytest.raises(SynthesisError, match=r"do not show the customers: there is no JSON.*world\.hints"):
        played(address, tmp_path / "b", lambda _: say("No idea."), hints=None)


def test_the_whole_loop_is_refused_before_anything_is_paid_for(address: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Make its dataset and decisions with `zava synthesize`"):
        require_shop(clinic(address, "http://127.0.0.1:9/v1", tmp_path))


def test_hints_that_are_broken_are_told(address: str, tmp_path: Path) -> None:
    (tmp_path / "hints.yaml").write_text("customers: 7")
    with pytest.raises(ConfigError, match=r"hints\.yaml.*customers"):
        played(address, tmp_path, staff.play, hints=tmp_path / "hints.yaml")
    (tmp_path / "hints.yaml").write_text("customers: [own-2041]")
    with pytest.raises(SynthesisError, match="in the split 'valid'"):
        played(address, tmp_path, staff.play, hints=tmp_path / "hints.yaml")
