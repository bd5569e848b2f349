"""The supervisor with real processes: Python's own web server stands in for the services."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from infra.services import catalog, process
from infra.services.errors import ServicesError
from infra.services.ports import HOST, answers, is_free
from infra.services.supervisor import Service, Supervisor
from tests.ports import free_port


def a_service(name: str = "web", port: int | None = None, code: str | None = None) -> Service:
    port = port or free_port()
    serve = ("-m", "http.server", "--bind", HOST, str(port))
    return Service(
        name=name,
        command=(sys.executable, *(("-c", code) if code else serve)),
        port=port,
        port_key=f"services.{name}_port",
        address=f"http://{HOST}:{port}",
        health_url=f"http://{HOST}:{port}/",
        grace_s=5.0,
    )


@pytest.fixture
def service() -> Service:
    return a_service()


@pytest.fixture
def supervisor(service: Service, tmp_path: Path) -> Iterator[Supervisor]:
    made = Supervisor(tmp_path / "services", [service])
    yield made
    made.down()


def pid_of(supervisor: Supervisor) -> int:
    (status,) = supervisor.status()
    assert status.pid is not None
    return status.pid


def test_up_starts_a_service_that_answers_and_down_ends_it(supervisor: Supervisor, service: Service) -> None:
    assert supervisor.up(budget_s=30) == ["web"]
    (status,) = supervisor.status()
    assert status.state == "healthy"
    assert status.memory_mib is not None
    assert status.memory_mib > 1
    assert supervisor.down() == ["web"]
    assert is_free(service.port)
    assert supervisor.status()[0].state == "stopped"


def test_a_second_up_leaves_a_healthy_service_alone(supervisor: Supervisor) -> None:
    supervisor.up(budget_s=30)
    before = pid_of(supervisor)
    assert supervisor.up(budget_s=30) == []
    assert pid_of(supervisor) == before


def test_a_script_that_goes_on_as_another_program_is_never_taken_for_dead(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text(f"#!/bin/sh\nexec {sys.executable} -S -c 'import time; time.sleep(60)'\n")
    script.chmod(0o755)
    for _ in range(60):
        record = process.spawn([str(script)], {}, log=tmp_path / "log", marker="script", port=1)
        try:
            assert all(process.leader(record) is not None for _ in range(400))
        finally:
            os.kill(record.pid, signal.SIGKILL)
            os.waitpid(record.pid, 0)


def test_down_twice_is_fine(supervisor: Supervisor) -> None:
    supervisor.up(budget_s=30)
    assert supervisor.down() == ["web"]
    assert supervisor.down() == []


def test_a_service_killed_with_9_is_started_again(supervisor: Supervisor) -> None:
    supervisor.up(budget_s=30)
    before = pid_of(supervisor)
    os.kill(before, signal.SIGKILL)
    psutil.wait_procs([psutil.Process(before)], timeout=5)
    assert supervisor.up(budget_s=30) == ["web"]
    assert pid_of(supervisor) != before


def test_a_child_that_outlived_its_killed_parent_is_cleared_away(tmp_path: Path) -> None:
    port = free_port()
    code = f"import subprocess, sys;subprocess.run([sys.executable, '-m', 'http.server', '--bind', '{HOST}', '{port}'])"
    supervisor = Supervisor(tmp_path / "services", [a_service(port=port, code=code)])
    supervisor.up(budget_s=30)
    before = pid_of(supervisor)
    os.kill(before, signal.SIGKILL)
    psutil.wait_procs([psutil.Process(before)], timeout=5)
    assert supervisor.status()[0].state == "orphaned"
    assert supervisor.up(budget_s=30) == ["web"]
    assert pid_of(supervisor) != before
    supervisor.down()
    assert is_free(port)


def test_a_port_taken_by_somebody_else_is_named_with_its_holder_and_its_key(
    supervisor: Supervisor, service: Service, tmp_path: Path
) -> None:
    with socket.socket() as other:
        other.bind((HOST, service.port))
        other.listen()
        with pytest.raises(ServicesError) as caught:
            supervisor.up(budget_s=30)
        assert supervisor.status()[0].state == "foreign"
    message = str(caught.value)
    assert str(service.port) in message
    assert str(os.getpid()) in message
    assert "services.web_port" in message
    assert not list((tmp_path / "services").glob("*.json"))


def test_a_service_that_dies_while_starting_is_told_with_the_end_of_its_log(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path / "services", [a_service(code="raise SystemExit('no such checkpoint')")])
    with pytest.raises(ServicesError, match="no such checkpoint"):
        supervisor.up(budget_s=30)
    supervisor.down()


def test_a_service_that_never_answers_is_told_within_the_budget(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path / "services", [a_service(code="import time; time.sleep(600)")])
    with pytest.raises(ServicesError, match=r"Not ready within 1 s: web"):
        supervisor.up(budget_s=1)
    assert supervisor.down() == ["web"]


def test_a_service_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    port = free_port()
    code = (
        "import http.server, signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        f"http.server.HTTPServer(('{HOST}', {port}), http.server.SimpleHTTPRequestHandler).serve_forever()"
    )
    stubborn = Service(**{**vars(a_service(port=port, code=code)), "grace_s": 0.3})
    supervisor = Supervisor(tmp_path / "services", [stubborn])
    supervisor.up(budget_s=30)
    assert supervisor.down() == ["web"]
    assert is_free(port)


def test_a_recycled_pid_is_never_killed(tmp_path: Path) -> None:
    # A pid file left by a machine that was restarted: the pid lives, but it is this very process.
    me = psutil.Process()
    old = process.ProcessRecord(
        pid=me.pid, started=me.create_time() - 1000, command=tuple(me.cmdline()), marker="x:web", port=1
    )
    assert process.leader(old) is None
    assert process.members(old) == []
    assert process.stop(old, grace_s=1) is False


def test_a_pid_file_cut_short_counts_as_none(tmp_path: Path) -> None:
    path = tmp_path / "web.json"
    path.write_text('{"pid": 12, "star')
    assert process.read_record(path) is None


def test_several_services_start_side_by_side(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path / "services", [a_service("one"), a_service("two"), a_service("three")])
    seen: list[tuple[str, str]] = []
    assert supervisor.up(budget_s=30, watch=lambda name, state: seen.append((name, state))) == ["one", "two", "three"]
    assert [state for _, state in seen[:3]] == ["starting"] * 3
    assert sorted(seen[3:]) == [("one", "healthy"), ("three", "healthy"), ("two", "healthy")]
    assert supervisor.down() == ["one", "two", "three"]


def test_an_unwritable_folder_is_named(tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("")
    with pytest.raises(ServicesError, match="Cannot write in"):
        Supervisor(blocker / "services", [a_service()]).up(budget_s=1)


def test_the_clients_environment_keeps_loopback_off_the_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "example.org")
    env = catalog.client_environment(tmp_path, "http://127.0.0.1:4200")
    assert env["NO_PROXY"] == "example.org,127.0.0.1,localhost"
    assert env["PREFECT_API_URL"] == "http://127.0.0.1:4200/api"


@pytest.mark.slow
def test_prefect_and_mlflow_come_up_answer_and_go(tmp_path: Path) -> None:
    services = (catalog.mlflow(free_port(), tmp_path), catalog.prefect(free_port(), tmp_path))
    supervisor = catalog.supervisor(tmp_path, services)
    try:
        assert sorted(supervisor.up(budget_s=180)) == ["mlflow", "prefect"]
        assert all(answers(service.address) for service in services)
        assert (tmp_path / "prefect" / "prefect.db").is_file()
        assert (tmp_path / "mlflow" / "mlflow.db").is_file()
    finally:
        assert sorted(supervisor.down()) == ["mlflow", "prefect"]
    assert all(is_free(service.port) for service in services)


def test_prefect_calls_no_run_late_that_only_waits_its_turn(tmp_path: Path) -> None:
    service = catalog.prefect(free_port(), tmp_path)
    asked = "from prefect.settings import get_current_settings as s; print(s().server.services.late_runs.after_seconds)"
    told = subprocess.run(
        [sys.executable, "-c", asked], env={**os.environ, **service.env}, capture_output=True, text=True, check=True
    )
    assert told.stdout.strip() == "0:30:00"
