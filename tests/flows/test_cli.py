"""The command line: help at once, errors in one line, exit codes that mean something."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from infra.services import catalog
from tasks.artifacts import workspace
from tasks.core.config import load_profile
from tasks.core.operation import DeploymentConfig
from tasks.files import write_atomically
from tasks.report import write_report
from tests import runs
from tests.fake_finetuning import FakeFinetuning
from tests.loop import model_of
from tests.shell import settings, zava

COMMANDS = [
    *("up", "down", "status", "run", "synthesize", "validate", "evaluate", "compare"),
    *("replay", "chat", "page", "promote", "rollback", "deploy", "reconcile", "cleanup", "webhook", "doctor"),
]


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
    assert {row["name"] for row in json.loads(out)} == {"shop", "model", "mlflow", "prefect", "page"}


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
    assert "changed   users/noah_brown_6181 address.address1:" in out
    assert "ft:1 at http://127.0.0.1:" in err


def test_a_chat_without_a_shop_ends_with_three(tmp_path: Path) -> None:
    code, _, err = zava("chat", "--model", "ft:1", *settings(tmp_path, services__shop_port=9))
    assert code == 3
    assert "No shop answers at http://127.0.0.1:9/mcp" in err
