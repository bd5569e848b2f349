"""`zava chat` on a real terminal: what a person types, and what they see of it."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from rich.console import Console

from flows.cli.beside import Columns
from flows.cli.steps import Shown
from tasks.core.conversation import ToolCall
from tasks.episode import Called, Spoke
from tasks.replay_add import read_transcript
from tasks.report import write_report
from tasks.talk import Heard
from tests import runs
from tests.fake_finetuning import FakeFinetuning
from tests.loop import model_of
from tests.receiving_spans import await_spans, collector
from tests.shell import settings, zava
from tests.terminal import Terminal, plain
from tests.worlds import served
from zava_mcp.http import build_app
from zava_mcp.sandboxes import Sandboxes
from zava_mcp.seed import generate_shop
from zava_mcp.snapshot import save_snapshot

NOAH = "I am Noah Brown, zip 80279, change my address to 415 Maple Avenue, Apt 203, Denver, CO 80202, USA"


def attribute(span: Span, name: str) -> str:
    """Return the text of an attribute."""
    return next(one.value.string_value for one in span.attributes if one.key == name)


@pytest.fixture
def where(tmp_path: Path) -> Iterator[list[str]]:
    """Return the settings of a shop and a provider that are up."""
    shop = generate_shop(7, customers=3, products=3, orders=4)
    save_snapshot(shop, tmp_path / "shop.json")
    with FakeFinetuning(chat=model_of(tmp_path)) as provider, served(build_app(Sandboxes(shop))) as (mcp, _):
        yield settings(
            tmp_path,
            provider__base_url=provider.base_url,
            services__shop_port=mcp.split(":")[2].removesuffix("/mcp"),
            world__snapshot=tmp_path / "shop.json",
            replay__folder=tmp_path / "replay",
        )


def test_a_person_folds_switches_saves_keeps_and_resets(where: list[str], tmp_path: Path) -> None:
    command = (sys.executable, "-m", "flows.cli", "chat", "--model", "ft:1", *where)
    with Terminal(*command, columns=70) as terminal:
        terminal.expect("you       ")
        terminal.type(NOAH)
        folded = terminal.expect("Do you confirm (yes/no)?")
        assert 'call      get_user_details {"user_id": "noah_brown_6181"}' in folded
        assert "characters)" in folded
        assert max(len(line) for line in folded.splitlines() if line.startswith(("call", "result"))) <= 70
        terminal.type("/unfold")
        terminal.type("yes")
        unfolded = terminal.expect("Your address is updated. Anything else?")
        assert '  "address1": "415 Maple Avenue",' in unfolded
        assert "changed   users/noah_brown_6181 address.zip: 80279 -> 80202" in unfolded
        terminal.type(f"/save {tmp_path}/talk.json")
        terminal.expect("Saved in ")
        terminal.type("/replay")
        terminal.expect("an end as here, by update_address")
        terminal.type("/model base")
        terminal.expect("From here on zava-base answers.")
        terminal.type("Hello")
        terminal.expect("I cannot help with that.")
        terminal.type("/nonsense")
        terminal.expect("There is no /nonsense")
        terminal.type("/reset")
        terminal.expect("Begun anew.")
        terminal.type("/replay")
        terminal.expect("no words of a customer")
        terminal.type("/exit")
        assert terminal.end() == 0
    said = [message.content for message in read_transcript(tmp_path / "talk.json") if message.role == "user"]
    assert said == [NOAH, "yes"]
    assert len(list((tmp_path / "replay").glob("chat-*.jsonl"))) == 1


def test_each_turn_is_a_trace_of_the_run_that_made_the_model(where: list[str], tmp_path: Path) -> None:
    write_report(runs.a_summary(tmp_path, model_id="ft:1"), tmp_path / "workspace" / "runs" / "m1")
    with collector() as (mlflow, received):
        there = settings(tmp_path, tracking__mlflow_uri=mlflow)
        code, _, _ = zava("chat", "-m", "ft:1", *where, *there, given=f"{NOAH}\nyes\n/reset\nHello\n/exit\n")
        await_spans()
    assert code == 0
    linked = {(one.headers["x-mlflow-experiment-id"], one.headers["x-mlflow-run-id"]) for one in received}
    assert linked == {("1", "m1")}
    spans = [span for one in received for span in one.spans]
    turns = [span for span in spans if not span.parent_span_id]
    assert [span.name for span in turns] == ["chat"] * 3
    first, second, anew = (attribute(span, "gen_ai.conversation.id") for span in turns)
    assert first == second != anew
    assert sum(span.name == "execute_tool update_address" for span in spans) == 1


def test_two_models_answer_side_by_side_each_on_a_shop_of_its_own(where: list[str]) -> None:
    code, out, _ = zava("chat", "-m", "ft:1", "-m", "base", *where, given=f"{NOAH}\nyes\n/exit\n")
    assert code == 0
    tuned, base = out.split("zava-base ")[:2]
    assert "get_user_details" in tuned
    assert "I cannot help with that." in base
    assert out.count("changed   users/noah_brown_6181") == 3


def test_the_steps_are_machine_readable_and_a_refused_model_ends_with_one(where: list[str]) -> None:
    code, out, _ = zava("chat", "-m", "ft:1", "--json", *where, given=f"{NOAH}\nyes\n")
    kinds = [json.loads(line)["kind"] for line in out.splitlines()]
    assert (code, kinds) == (0, ["called", "called", "spoke", "called", "changed", "spoke"])
    code, _, err = zava("chat", "-m", "1", "-m", "2", "-m", "3", *where)
    assert (code, "twice at most" in err) == (2, True)


CALLED = Called(call=ToolCall(id="1", name="calculate", arguments='{"expression": "1"}'), result="1", is_error=False)


def test_words_that_were_heard_as_they_came_are_not_said_twice() -> None:
    console = Console(width=60, force_terminal=True, color_system=None)
    with console.capture() as capture, Shown(console, unfolded=False) as shown:
        for event in (Heard(text="One mo"), Heard(text="ment."), CALLED, Heard(text="It is "), Heard(text="1.")):
            shown(event)
        shown(Spoke(text="It is 1."))
    lines = [
        line.rstrip() for line in plain(capture.get()).splitlines() if line.startswith(("agent", "call", "result"))
    ]
    assert lines == [
        "agent     One moment.",
        'call      calculate {"expression": "1"}',
        "result    1",
        "agent     It is 1.",
    ]


def test_on_a_terminal_both_columns_fill_as_the_models_work() -> None:
    console = Console(width=80, force_terminal=True, color_system=None)
    with console.capture() as capture, Columns(console, ["ft:1", "base"], unfolded=False) as columns:
        columns.watch(0)(CALLED)
        columns.watch(1)(Heard(text="I can"))
        columns.watch(0)(Spoke(text="It is 1."))
        columns.watch(1)(Spoke(text="I cannot."))
    last = capture.get().splitlines()[-4:]
    assert all(len(line) <= 80 for line in last)
    assert "agent     It is 1." in "".join(last)
    assert "agent     I cannot." in "".join(last)
