"""`zava evaluate` and `zava replay`: models measured, and what stands in the way told."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tasks.report import write_report
from tests import runs
from tests.fake_finetuning import FakeFinetuning
from tests.shell import settings, small, zava
from tests.worlds import ROOT


def test_a_model_server_that_is_down_ends_with_three(tmp_path: Path) -> None:
    code, _, err = zava("replay", *settings(tmp_path, provider__base_url="http://127.0.0.1:9/v1"))
    assert code == 3
    assert "http://127.0.0.1:9/v1" in err
    assert "Traceback" not in err


def test_a_model_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with FakeFinetuning() as provider:
        where = settings(tmp_path, provider__base_url=provider.base_url, **small(2))
        code, _, err = zava("evaluate", "--model", "nobody", *where)
    assert code == 1
    assert "Cannot use model 'nobody'" in err


@pytest.mark.slow
def test_ctrl_c_shows_what_was_answered_and_the_same_command_goes_on_from_there(tmp_path: Path) -> None:
    # A process that was started in the background ignores it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    asked: list[str] = []

    def interrupted(request: dict[str, Any]) -> dict[str, Any]:
        asked.append(request["model"])
        if len(asked) == 12:
            os.kill(os.getpid(), signal.SIGINT)
        return {"role": "assistant", "content": "Hello"}

    with FakeFinetuning(models={"base"}, chat=interrupted) as provider:
        where = settings(tmp_path, provider__base_url=provider.base_url, evaluation__concurrency=4, **small(3))
        given = ["evaluate", "--model", "base", "--json", *where]
        code, out, err = zava(*given)
        assert code == 130
        partial = json.loads(out)
        assert partial["unasked"] > 0
        assert f"stopped: {partial['unasked']} decisions are unasked" in err
        code, out, _ = zava(*given)
        assert (code, json.loads(out)["unasked"]) == (0, 0)
        decisions = json.loads(out)["metrics"]["decision_accuracy"]["n"]
        assert len(asked) <= decisions + 4  # those in flight when it was stopped are asked again


def test_a_set_is_exported_for_the_evals_api_without_asking_a_model(tmp_path: Path) -> None:
    folder = tmp_path / "export"
    where = settings(tmp_path, provider__base_url="http://127.0.0.1:9/v1", **small(2))
    code, out, _ = zava("evaluate", "--model", "gpt", "--export", str(folder), *where)
    assert code == 0
    assert json.loads((folder / "run.json").read_text())["data_source"]["model"] == "gpt"
    assert "def grade(" in json.loads((folder / "eval.json").read_text())["testing_criteria"][0]["source"]
    assert str(folder / "items.jsonl") in out


def test_episodes_tell_how_reliable_a_model_is_and_whose_fault_it_was(tmp_path: Path) -> None:
    with FakeFinetuning() as provider:
        provider.models.add("m")
        where = settings(tmp_path, provider__base_url=provider.base_url, **small(2))
        code, out, _ = zava("evaluate", "--model", "m", "--episodes", "heldout", "--trials", "2", *where)
    assert code == 0
    assert "2 episodes, 2 trials each, customer: scripted" in out
    assert "pass^2, with the policy / goal alone" in out


def test_published_tasks_are_played_on_their_shop_under_their_policy(tmp_path: Path) -> None:
    tasks, policy = tmp_path / "tasks.json", tmp_path / "policy.md"
    instructions = {"reason_for_call": "You want to cancel order #W1.", "known_info": "You are Noah Brown."}
    criteria = {"actions": [], "communicate_info": []}
    task = {"id": "1", "user_scenario": {"instructions": instructions}, "evaluation_criteria": criteria}
    tasks.write_text(json.dumps([task]))
    policy.write_text("Answer in rhymes.")
    asked: list[dict[str, Any]] = []

    def chat(request: dict[str, Any]) -> dict[str, Any]:
        asked.append(request)
        return {"role": "assistant", "content": "Goodbye."}

    files = (
        "--episodes",
        str(tasks),
        "--snapshot",
        str(ROOT / "tests/data/retail_snapshot.json"),
        "--policy",
        str(policy),
    )
    with FakeFinetuning(models={"m"}, chat=chat) as provider:
        where = settings(tmp_path, provider__base_url=provider.base_url, evaluation__bootstrap_samples=50)
        code, out, _ = zava("evaluate", "--model", "m", *files, "--json", *where)
        policy.write_bytes(b"\xff")
        broken, _, err = zava("evaluate", "--model", "m", *files, *where)
    assert (code, json.loads(out)["reached_hat"]) == (0, [1.0])
    assert asked[0]["messages"][0] == {"role": "system", "content": "Answer in rhymes."}
    assert broken != 0
    assert "is no text in UTF-8" in err


def test_the_replay_pack_is_a_table_and_a_failed_story_ends_with_one(tmp_path: Path) -> None:
    with FakeFinetuning() as provider:
        provider.models.add("one")
        code, out, _ = zava("replay", "pack", "-m", "one", *settings(tmp_path, provider__base_url=provider.base_url))
    assert code == 1
    assert out.splitlines()[-11].split() == ["all", "0", "10"]
    assert "one, wrong_id/1: the customer was not looked up" in out


def test_a_transcript_is_added_to_the_pack(tmp_path: Path) -> None:
    transcript = tmp_path / "moved.json"
    transcript.write_text(json.dumps([{"role": "user", "content": "I am Noah Brown, my zip is 80279. I moved."}]))
    where = settings(tmp_path, replay__folder=tmp_path / "pack")
    code, out, _ = zava("replay", "add", str(transcript), *where)
    assert code == 0
    assert f"recorded/moved in {tmp_path / 'pack'}: noah_brown_6181; its ids will be judged." in out
    assert [path.name for path in (tmp_path / "pack").iterdir()] == ["moved.jsonl"]


def test_the_last_tuned_model_is_the_default(tmp_path: Path) -> None:
    asked: list[str] = []

    def chat(request: dict[str, object]) -> dict[str, object]:
        asked.append(str(request["model"]))
        return {"role": "assistant", "content": "Anything else?"}

    write_report(runs.a_summary(tmp_path), tmp_path / "workspace" / "runs" / "m1")
    with FakeFinetuning(chat=chat) as provider:
        code, out, _ = zava("replay", *settings(tmp_path, provider__base_url=provider.base_url))
    assert code == 1
    assert asked == ["zava-base", "ft:base:retail"]
    assert "the customer was not looked up" in out
