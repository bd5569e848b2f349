"""The command line: help at once, errors in one line, exit codes that mean something."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from flows.cli import app
from flows.cli.outcome import show
from flows.cli.progress import StageLines
from flows.cli.services import age
from infra.services import catalog
from tasks.artifacts import workspace
from tasks.core.config import load_profile
from tasks.core.operation import DeploymentConfig
from tasks.files import write_atomically
from tasks.progress import listening, stage
from tasks.report import write_report
from tests import runs
from tests.fake_finetuning import FakeFinetuning
from tests.loop import model_of
from tests.worlds import ROOT

COMMANDS = [
    *("up", "down", "status", "run", "synthesize", "validate", "evaluate", "compare"),
    *("replay", "chat", "promote", "rollback", "deploy", "reconcile", "cleanup", "webhook", "doctor"),
]


def zava(*arguments: str, given: str | None = None) -> tuple[int, str, str]:
    """Run a command in this process; return its exit status, standard output and standard error."""
    result = CliRunner().invoke(app, list(arguments), input=given)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def settings(folder: Path, **keys: object) -> list[str]:
    given = {"workspace": folder / "workspace", **{name.replace("__", "."): value for name, value in keys.items()}}
    return [part for name, value in given.items() for part in ("--set", f"{name}={value}")]


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help_with_an_example(command: str) -> None:
    code, out, _ = zava(command, "--help")
    assert code == 0
    assert f"Example: zava {command}" in " ".join(out.split())


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from flows.cli import app; heavy = {'prefect', 'mlflow', 'openai', 'mcp', 'torch', 'numpy'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("command", ["up", "run", "status", "doctor"])
def test_a_mistyped_key_is_one_line_with_the_nearest_right_one(command: str) -> None:
    code, out, err = zava(command, "--set", "training.n_epoch=3")
    assert code == 2
    assert out == ""
    assert err.count("\n") == 1
    assert "unknown key 'training.n_epoch'; did you mean 'n_epochs'?" in err


def test_a_missing_profile_is_told(tmp_path: Path) -> None:
    code, _, err = zava("run", "--profile", str(tmp_path / "none.yaml"))
    assert (code, "No profile file" in err) == (2, True)


def test_status_of_nothing_is_three_and_machine_readable(tmp_path: Path) -> None:
    code, out, _ = zava("status", "--json", *settings(tmp_path, services__prefect_port=1))
    assert code == 3
    assert {row["name"] for row in json.loads(out)} == {"shop", "model", "mlflow", "prefect"}


def test_what_zava_deploy_registered_is_among_the_services(tmp_path: Path) -> None:
    config = load_profile("local", (f"workspace={tmp_path}", "services.worker_port=1", "deployment.pool=mine"))
    write_atomically(workspace(config).deployed_path, config.model_dump_json().encode())
    code, out, _ = zava("status", "--json", "--set", f"workspace={tmp_path}")
    worker = json.loads(out)[0]
    assert (code, worker["name"], worker["port"], worker["address"]) == (3, "worker", 1, "pool mine")
    on_docker = config.model_copy(update={"deployment": DeploymentConfig(pool_type="docker")})
    write_atomically(workspace(config).deployed_path, on_docker.model_dump_json().encode())
    _, out, _ = zava("status", "--json", "--set", f"workspace={tmp_path}")
    assert "worker" not in {row["name"] for row in json.loads(out)}


def test_a_taken_port_ends_up_with_three_and_names_the_key(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        code, _, err = zava("up", *settings(tmp_path, services__prefect_port=port))
    assert code == 3
    assert f"Port {port} of prefect is taken" in err
    assert "services.prefect_port" in err


def test_down_without_services_says_so(tmp_path: Path) -> None:
    assert zava("down", *settings(tmp_path)) == (0, "Nothing was running.\n", "")


def test_an_unwritable_workspace_is_named(tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("")
    code, _, err = zava("up", "--set", f"workspace={blocker}")
    assert code == 3
    assert str(blocker) in err


def test_the_doctor_finds_a_missing_base_model_and_says_what_to_do(tmp_path: Path) -> None:
    code, out, _ = zava("doctor", "--json", *settings(tmp_path, services__models=tmp_path))
    checks = {check["name"]: check for check in json.loads(out)}
    assert code == 1
    assert checks["base model"]["level"] == "fault"
    assert "training.base_model" in checks["base model"]["advice"]
    assert checks["python"]["level"] == "ok"
    assert checks["fastapi"]["level"] == "ok"


def test_the_doctor_asks_a_hosted_provider_for_its_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ZAVA_API_KEY", raising=False)
    code, out, _ = zava("doctor", "--json", *settings(tmp_path, provider__kind="openai"))
    assert code == 1
    key = next(check for check in json.loads(out) if check["name"] == "key")
    assert key["advice"] == "export ZAVA_API_KEY=..."


def test_a_dataset_is_made_and_its_file_is_valid(tmp_path: Path) -> None:
    small = settings(
        tmp_path,
        synthesis__train_conversations=4,
        synthesis__valid_conversations=2,
        synthesis__heldout_conversations=2,
        synthesis__max_requests=1,
    )
    code, out, _ = zava("synthesize", "--json", *small)
    assert code == 0
    rows = json.loads(out)["split"]["train"]["path"]
    code, out, _ = zava("synthesize", *small)
    assert (code, out.count("; distinct-1/2/3: 0.")) == (0, 2)
    code, out, _ = zava("validate", rows)
    assert (code, "4 of 4 rows are good" in out.splitlines()[-1]) == (0, True)
    code, out, _ = zava("validate", "--json", "--world", "local", rows)
    assert (code, json.loads(out)[0]["errors"]) == (0, {})


def test_a_broken_line_is_named_and_ends_with_one(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"messages": [\n')
    code, out, _ = zava("validate", str(path))
    assert code == 1
    assert out.startswith(f"error: {path}:1: not JSON: Expecting value at character 15 -> the line is cut off")


def test_a_file_that_cannot_be_read_ends_with_two(tmp_path: Path) -> None:
    assert zava("validate", str(tmp_path / "nowhere.jsonl"))[0] == 2
    (tmp_path / "folder.jsonl").mkdir()
    assert zava("validate", str(tmp_path / "folder.jsonl"))[0] == 2


def test_a_model_server_that_is_down_ends_with_three(tmp_path: Path) -> None:
    code, _, err = zava("replay", *settings(tmp_path, provider__base_url="http://127.0.0.1:9/v1"))
    assert code == 3
    assert "http://127.0.0.1:9/v1" in err
    assert "Traceback" not in err


def test_a_model_that_does_not_exist_is_named(tmp_path: Path) -> None:
    small = {
        "synthesis__train_conversations": 2,
        "synthesis__valid_conversations": 2,
        "synthesis__heldout_conversations": 2,
    }
    with FakeFinetuning() as provider:
        code, _, err = zava(
            "evaluate", "--model", "nobody", *settings(tmp_path, provider__base_url=provider.base_url, **small)
        )
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
        small = {f"synthesis__{split}_conversations": 3 for split in ("train", "valid", "heldout")}
        given = [
            "evaluate",
            "--model",
            "base",
            "--json",
            *settings(tmp_path, provider__base_url=provider.base_url, **small),
        ]
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
    small = {
        "synthesis__train_conversations": 2,
        "synthesis__valid_conversations": 2,
        "synthesis__heldout_conversations": 2,
        "provider__base_url": "http://127.0.0.1:9/v1",
    }
    folder = tmp_path / "export"
    code, out, _ = zava("evaluate", "--model", "gpt", "--export", str(folder), *settings(tmp_path, **small))
    assert code == 0
    assert json.loads((folder / "run.json").read_text())["data_source"]["model"] == "gpt"
    assert "def grade(" in json.loads((folder / "eval.json").read_text())["testing_criteria"][0]["source"]
    assert str(folder / "items.jsonl") in out


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


def test_episodes_tell_how_reliable_a_model_is_and_whose_fault_it_was(tmp_path: Path) -> None:
    small = {"synthesis__heldout_conversations": 2, "evaluation__bootstrap_samples": 100}
    with FakeFinetuning() as provider:
        provider.models.add("m")
        where = settings(tmp_path, provider__base_url=provider.base_url, **small)
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


def test_a_plan_is_shown_and_a_no_ends_it_before_anything_is_started(tmp_path: Path) -> None:
    small = {f"synthesis__{split}_conversations": 2 for split in ("train", "valid", "heldout")}
    with FakeFinetuning() as provider:
        where = settings(tmp_path, provider__base_url=provider.base_url, training__n_epochs=2, **small)
        code, _, err = zava("run", "--plan", *where, given="n\n")
        assert provider.requests == []
    assert code == 0
    rows = dict(line.split("  ", 1) for line in err.splitlines() if "  " in line)
    assert rows["provider and base"].strip() == "local, zava-base"
    assert rows["tokens to train on"].strip().endswith("0.00 USD")
    assert "not known: no run yet" in rows["time"]
    assert not (tmp_path / "workspace" / "prefect").exists()


def test_an_upload_without_a_job_is_shown_and_removed_only_after_a_yes(tmp_path: Path) -> None:
    with FakeFinetuning() as provider:
        where = settings(tmp_path, provider__base_url=provider.base_url)
        provider.client().files.create(file=("zava-0123456789ab-train.jsonl", b"{}"), purpose="fine-tune")
        code, out, _ = zava("cleanup", *where, given="n\n")
        assert (code, "no job is made from it" in out, len(provider.files)) == (0, True, 1)
        code, out, _ = zava("cleanup", "--yes", "--json", *where)
        assert (code, [found["outcome"] for found in json.loads(out)], provider.files) == (0, ["finished"], {})
        assert zava("cleanup", *where)[1] == "All is in order.\n"


def test_a_receiver_without_a_secret_says_where_it_belongs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_WEBHOOK_SECRET", raising=False)
    code, _, err = zava("webhook", *settings(tmp_path))
    assert (code, "deployment.hooks names no hook" in err) == (2, True)
    code, _, err = zava("webhook", *settings(tmp_path, deployment__hooks="{provider: {}}"))
    assert (code, "set the variable OPENAI_WEBHOOK_SECRET" in err) == (2, True)


def test_the_outcome_fits_eighty_columns_and_holds_the_addresses(tmp_path: Path) -> None:
    console = Console(width=200, record=True, file=None, quiet=False)
    with console.capture() as capture:
        show(console, runs.a_summary(tmp_path))
    text = capture.get()
    table = text.split("The tuned model is better")[0]
    assert max(len(line.rstrip()) for line in table.splitlines()) <= 80
    assert "30.0 (25.0..34.0)" in table
    assert "+60.0" in table
    assert "http://127.0.0.1:5000/#/experiments/1/runs/m1" in text
    assert "zava chat --model ft:base:retail" in text


def test_without_a_terminal_progress_is_plain_lines() -> None:
    console = Console(width=100, force_terminal=False)
    with console.capture() as capture, StageLines(console) as lines, listening(lines):
        with stage("synthesis") as progress:
            progress.step(5, 10)
            progress.result("10 conversations", reused=True)
        with stage("training") as progress:
            progress.warn("silent for long")
            progress.result("model ft:1")
    first, second, third = capture.get().splitlines()
    assert first.startswith("synthesis ")
    assert first.endswith("10 conversations (there already)")
    assert second.endswith("warning: silent for long")
    assert third.endswith("model ft:1")


def test_on_a_terminal_a_bar_shows_count_and_rate_and_is_gone_at_the_end() -> None:
    console = Console(width=100, force_terminal=True)
    with (
        console.capture() as capture,
        StageLines(console) as lines,
        listening(lines),
        stage("synthesis") as progress,
    ):
        progress.step(5, 10)
        lines._progress.refresh()
        progress.result("10 conversations")
    assert "5/10" in capture.get()
    assert "10 conversations" in capture.get()


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


def test_a_chat_shows_each_call_with_its_result_on_a_sandbox_of_its_own(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shop = catalog.supervisor(tmp_path, (catalog.shop(port, tmp_path),))
    write_report(runs.a_summary(tmp_path), tmp_path / "workspace" / "runs" / "m1")
    champion = runs.a_champion("ft:1")
    (tmp_path / "workspace" / "champion.json").write_text(champion.model_dump_json())
    with FakeFinetuning(chat=model_of(tmp_path)) as provider:
        shop.up()
        try:
            code, out, err = zava(
                "chat",
                *settings(tmp_path, provider__base_url=provider.base_url, services__shop_port=port),
                given="I am Noah Brown, zip 80279, change my address\nyes\n/help\n/reset\n/exit\n",
            )
        finally:
            shop.down()
    assert code == 0
    calls = [line for line in out.splitlines() if "call  " in line]
    assert [call.split()[-1] for call in calls if "get_user_details" in call] == ['"noah_brown_6181"}']
    assert "result    noah_brown_6181" in out
    assert "415 Maple Avenue" in out
    assert "Your address is updated" in out
    assert "Begun anew." in err
    assert "ft:1 at http://127.0.0.1:" in err


def test_a_chat_without_a_shop_ends_with_three(tmp_path: Path) -> None:
    code, _, err = zava("chat", "--model", "ft:1", *settings(tmp_path, services__shop_port=9))
    assert code == 3
    assert "No shop answers at http://127.0.0.1:9/mcp" in err


@pytest.mark.parametrize(("seconds", "said"), [(5.4, "5 s"), (185, "3 min 05 s"), (7800, "2 h 10 min")])
def test_durations_are_said_as_a_person_says_them(seconds: float, said: str) -> None:
    assert age(seconds) == said
