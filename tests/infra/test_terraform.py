"""infra/terraform, applied to moto: made, found unchanged, narrow in its rights, and taken away without a rest."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml

from infra.services.ports import answers
from tasks.core.config import Profile
from tests.ports import free_port

ROOT = Path(__file__).parents[2]
TERRAFORM = shutil.which("terraform")
REGION = "eu-central-1"
# Where machines without the registry keep copies of providers, beside terraform's own places.
MIRRORS = ("/opt/*/registry.terraform.io", "/usr/share/*/registry.terraform.io", "/srv/*/registry.terraform.io")
Json = dict[str, Any]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(TERRAFORM is None, reason="terraform is not installed"),
]


class Terraform:
    """The module, copied into a folder of the test, with an AWS on this machine."""

    def __init__(self, folder: Path, endpoint: str) -> None:
        shutil.copytree(ROOT / "infra" / "terraform", folder / "terraform")
        shutil.copy(ROOT / "infra" / "postgres-roles.sh", folder)
        self.folder = folder / "terraform"
        own = {"AWS_ENDPOINT_URL": endpoint, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
        others = {name: value for name, value in os.environ.items() if name != "AWS_CA_BUNDLE"}
        self._env = others | own | {"AWS_EC2_METADATA_DISABLED": "true", "TF_IN_AUTOMATION": "1"} | _mirror(folder)

    def run(self, *arguments: str, status: int = 0) -> str:
        command = [TERRAFORM or "", *arguments, *(() if arguments[0] in {"fmt", "output"} else ("-no-color",))]
        done = subprocess.run(command, cwd=self.folder, env=self._env, capture_output=True, text=True, check=False)
        assert done.returncode == status, f"{arguments[0]}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done.stdout

    def begin(self) -> None:
        command = [TERRAFORM or "", "init", "-no-color", "-input=false"]
        done = subprocess.run(command, cwd=self.folder, env=self._env, capture_output=True, text=True, check=False)
        if "could not connect to registry" in done.stderr or "no such host" in done.stderr:
            pytest.skip("the AWS provider is nowhere: no registry can be reached, and ZAVA_TERRAFORM_MIRROR names none")
        assert done.returncode == 0, done.stderr


def _mirror(folder: Path) -> dict[str, str]:
    """Let terraform take providers from a folder, where one is named or found; else it asks its registry."""
    named = os.environ.get("ZAVA_TERRAFORM_MIRROR")
    found = [str(path.parent) for pattern in MIRRORS for path in Path("/").glob(pattern.lstrip("/"))]
    config = folder / "terraformrc"
    if mirror := named or next(iter(found), None):
        config.write_text(f'provider_installation {{\n  filesystem_mirror {{\n    path = "{mirror}"\n  }}\n}}\n')
    elif Path(os.environ.get("TF_CLI_CONFIG_FILE", "")).is_file():
        return {}
    else:
        config.write_text("")
    return {"TF_CLI_CONFIG_FILE": str(config)}


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port = free_port()
    log = tmp_path_factory.mktemp("moto") / "log"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with log.open("wb") as out, subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT) as moto:
        deadline = time.monotonic() + 120
        while not answers(f"http://127.0.0.1:{port}/moto-api/"):
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
        moto.terminate()


def client(endpoint: str, name: str) -> Any:
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    return boto3.client(name, endpoint_url=endpoint, region_name=REGION, **keys)


def settings(endpoint: str) -> Json:
    ec2 = client(endpoint, "ec2")
    return {
        "region": REGION,
        "image": "registry.example/zava:1",
        "vpc_id": ec2.describe_vpcs()["Vpcs"][0]["VpcId"],
        "subnet_ids": [one["SubnetId"] for one in ec2.describe_subnets()["Subnets"][:2]],
        "client_security_group_ids": [ec2.describe_security_groups()["SecurityGroups"][0]["GroupId"]],
        "create_database": True,
        "force_destroy": True,
        "secret_recovery_days": 0,
    }


def test_it_is_made_stays_as_it_is_and_goes(endpoint: str, tmp_path: Path) -> None:
    """One test, since each call of terraform starts a provider that takes seconds."""
    terraform = Terraform(tmp_path, endpoint)
    assert terraform.run("fmt", "-check", "-diff") == ""
    terraform.begin()
    variables = terraform.folder / "test.auto.tfvars.json"
    variables.write_text(json.dumps(settings(endpoint)))
    terraform.run("apply", "-auto-approve")
    terraform.run("plan", "-detailed-exitcode")
    state = json.loads((terraform.folder / "terraform.tfstate").read_text())
    check_bucket(endpoint)
    check_services(endpoint)
    check_rights(state)
    assert not [one for one in state["resources"] if one["type"] == "aws_secretsmanager_secret_version"]
    where = yaml.safe_load(terraform.run("output", "-raw", "profile"))
    profile = Profile.model_validate({**BEGUN, **where})
    assert profile.deployment.pool_type == "ecs"
    terraform.run("destroy", "-auto-approve")
    check_nothing_is_left(endpoint)


BEGUN = {"name": "aws", "synthesis": {"intents": {"cancel": 1}}, "provider": {"kind": "openai"}}
BEGUN |= {"training": {"base_model": "gpt"}}


def check_bucket(endpoint: str) -> None:
    s3 = client(endpoint, "s3")
    [name] = [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]
    assert s3.get_bucket_versioning(Bucket=name)["Status"] == "Enabled"
    [rule] = s3.get_bucket_encryption(Bucket=name)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
    assert set(s3.get_public_access_block(Bucket=name)["PublicAccessBlockConfiguration"].values()) == {True}
    rules = {rule["ID"]: rule for rule in s3.get_bucket_lifecycle_configuration(Bucket=name)["Rules"]}
    assert rules["forget-old-versions"]["NoncurrentVersionExpiration"]["NoncurrentDays"] == 30
    [statement] = json.loads(s3.get_bucket_policy(Bucket=name)["Policy"])["Statement"]
    assert (statement["Effect"], statement["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})


def check_services(endpoint: str) -> None:
    ecs = client(endpoint, "ecs")
    arns = ecs.list_services(cluster="zava")["serviceArns"]
    services = ecs.describe_services(cluster="zava", services=arns)["services"]
    assert {one["serviceName"] for one in services} == {"prefect", "mlflow", "shop", "webhook", "worker"}
    for one in services:
        assert one["networkConfiguration"]["awsvpcConfiguration"].get("assignPublicIp", "DISABLED") == "DISABLED"
        [container] = ecs.describe_task_definition(taskDefinition=one["taskDefinition"])["taskDefinition"][
            "containerDefinitions"
        ]
        assert container["healthCheck"]["command"] == ["CMD", "python", "-m", "infra.services.probe"]
        plain = {variable["name"] for variable in container["environment"]}
        assert not [name for name in plain if "PASSWORD" in name or "SECRET" in name or "AUTH_STRING" in name]
        assert all(secret["valueFrom"].startswith("arn:aws:secretsmanager:") for secret in container["secrets"])
    [database] = client(endpoint, "rds").describe_db_instances()["DBInstances"]
    assert (database["StorageEncrypted"], database["PubliclyAccessible"]) == (True, False)


# What AWS offers for all resources alone.
UNBOUND = {"ecr:GetAuthorizationToken", "ecs:DescribeTaskDefinition", "ec2:DescribeSubnets", "ec2:DescribeVpcs"}


def check_rights(state: Json) -> None:
    """No role may do all of anything, and each reads the secrets of its own service alone."""
    policies = {
        f"{one['name']}.{instance['index_key']}" if "index_key" in instance else one["name"]: json.loads(
            instance["attributes"]["policy"]
        )
        for one in state["resources"]
        if one["type"] == "aws_iam_role_policy"
        for instance in one["instances"]
    }
    assert {"start.prefect", "start.webhook", "bucket.mlflow", "bucket.run", "worker"} <= set(policies)
    for name, policy in policies.items():
        for statement in policy["Statement"]:
            actions, resources = listed(statement["Action"]), listed(statement["Resource"])
            assert not [action for action in actions if "*" in action], name
            assert "*" not in resources or actions <= UNBOUND, name
    secrets = {name: secrets_of(policy) for name, policy in policies.items() if name.startswith("start.")}
    assert secrets["start.worker"] == {"prefect-auth"}
    assert secrets["start.webhook"] == {"prefect-auth", "hook-retrain-secret", "hook-transcript-secret"}
    assert "provider-key" in secrets["start.run"]
    assert not any("provider-key" in read for name, read in secrets.items() if name != "start.run")


def listed(value: str | list[str]) -> set[str]:
    return {value} if isinstance(value, str) else set(value)


def secrets_of(policy: Json) -> set[str]:
    [statement] = [one for one in policy["Statement"] if one["Sid"] == "Secrets"]
    return {arn.split(":secret:zava/")[-1].rsplit("-", 1)[0] for arn in listed(statement["Resource"])}


def check_nothing_is_left(endpoint: str) -> None:
    assert client(endpoint, "s3").list_buckets()["Buckets"] == []
    assert client(endpoint, "iam").list_roles()["Roles"] == []
    assert client(endpoint, "secretsmanager").list_secrets()["SecretList"] == []
    assert client(endpoint, "rds").describe_db_instances()["DBInstances"] == []
    assert client(endpoint, "efs").describe_file_systems()["FileSystems"] == []
    ecs = client(endpoint, "ecs")
    clusters = ecs.describe_clusters(clusters=ecs.list_clusters()["clusterArns"])["clusters"]
    assert "ACTIVE" not in {cluster["status"] for cluster in clusters}
    groups = client(endpoint, "ec2").describe_security_groups()["SecurityGroups"]
    assert not [group for group in groups if group["GroupName"].startswith("zava")]
