"""The fault server dressed as Azure: a data plane of OpenAI's shape with its ways, and a control plane over TLS.

Its jobs begin as `pending`, tell little of themselves and drop their metadata; without a tier they are refused with a
misleading message. A model answers only under the name of a deployment. Azure's own libraries talk to it: a token comes
from the address that a managed identity would ask, and the certificate is one that `requests` is told to trust.
"""

import datetime
import json
import ssl
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.fake_finetuning import FakeFinetuning
from tests.job_machine import NOT_FOUND, Json, public

ACCOUNT = "/subscriptions/sub-1/resourceGroups/group-1/providers/Microsoft.CognitiveServices/accounts/account-1"
TOKEN = "token-of-the-machine"
IDENTITY_SECRET = "secret-of-the-machine"


@dataclass
class FakeAzure(FakeFinetuning):
    """Both planes. `folder` takes the certificate; `deployments` holds what the control plane was told to make."""

    folder: Path = Path()
    prefix: str = "/openai/v1"
    keeps_metadata: bool = False
    deployments: dict[str, Json] = field(default_factory=dict)
    # The words of the control plane about a deployment, one for each reading.
    deploying: tuple[str, ...] = ("Creating", "Succeeded")

    def __enter__(self) -> Self:
        super().__enter__()
        self.certificate = self.folder / "azure.pem"
        _write_certificate(self.certificate)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(self.certificate)
        self._control, self._control_thread = self._listen(tls)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        self._control.shutdown()
        self._control_thread.join()
        self._control.server_close()

    @property
    def management_url(self) -> str:
        return f"https://127.0.0.1:{self._control.server_address[1]}"

    @property
    def environment(self) -> dict[str, str]:
        """Return what Azure's libraries must find in the environment to come here."""
        return {
            "REQUESTS_CA_BUNDLE": str(self.certificate),
            "IDENTITY_ENDPOINT": f"{self.base_url.removesuffix(self.prefix)}/msi/token",
            "IDENTITY_HEADER": IDENTITY_SECRET,
        }

    def settings(self) -> list[str]:
        """Return the overrides that turn a profile into one for this provider."""
        azure = {
            "subscription_id": "sub-1",
            "resource_group": "group-1",
            "account": "account-1",
            "management_url": self.management_url,
        }
        return [
            "provider.kind=azure",
            f"provider.base_url={self.base_url}",
            *(f"provider.azure.{name}={value}" for name, value in azure.items()),
        ]

    def _answer(
        self, method: str, path: str, query: dict[str, list[str]], body: bytes, headers: Any
    ) -> tuple[int, Json]:
        if path.startswith("/msi/"):
            return 200, {"access_token": TOKEN, "expires_on": "4102444800", "resource": "x", "token_type": "Bearer"}
        if path.startswith(ACCOUNT):
            if headers["authorization"] != f"Bearer {TOKEN}":
                return 401, {"error": {"code": "AuthenticationFailed", "message": "Authentication failed."}}
            return self._answer_deployments(method, path.removeprefix(f"{ACCOUNT}/deployments").strip("/"), body)
        if path == "/chat/completions":
            return self._answer_chat(json.loads(body))
        return super()._answer(method, path, query, body, headers)

    def _answer_deployments(self, method: str, name: str, body: bytes) -> tuple[int, Json]:
        if method == "GET" and not name:
            return 200, {"value": list(map(public, self.deployments.values()))}
        if method == "PUT":
            wanted = json.loads(body)
            model = wanted["properties"]["model"]
            if model["name"] not in self.models and f"{model['name']}-{model['version']}" not in self.models:
                return 400, {"error": {"code": "DeploymentModelNotSupported", "message": f"No model {model['name']}."}}
            self.deployments[name] = {"name": name, "id": f"{ACCOUNT}/deployments/{name}", "_seen": 0, **wanted}
            self._step_deployment(self.deployments[name])
            return 201, public(self.deployments[name])
        if name not in self.deployments:
            return (204, {}) if method == "DELETE" else NOT_FOUND
        if method == "DELETE":
            return 200, public(self.deployments.pop(name))
        self._step_deployment(self.deployments[name])
        return 200, public(self.deployments[name])

    def _step_deployment(self, held: Json) -> None:
        held["properties"]["provisioningState"] = self.deploying[min(held["_seen"], len(self.deploying) - 1)]
        held["_seen"] += 1

    def _answer_chat(self, request: Json) -> tuple[int, Json]:
        held = self.deployments.get(request["model"])
        if held is None or held["properties"]["provisioningState"] != "Succeeded":
            message = "The API deployment for this resource does not exist."
            return 404, {"error": {"code": "DeploymentNotFound", "message": message}}
        return 200, self._complete({**request, "model": held["properties"]["model"]["name"]})

    def _create_job(self, wanted: Json) -> Json:
        made = super()._create_job(wanted)
        job = self.jobs[made["id"]]
        job |= {"status": "pending", "hyperparameters": None, "result_files": None, "metadata": None}
        for name in ("organization_id", "seed", "method", "trained_tokens", "finished_at", "trainingType", "suffix"):
            job.pop(name, None)
        return public(job)

    def _answer_jobs(self, method: str, rest: list[str], query: dict[str, list[str]], body: bytes) -> tuple[int, Json]:
        if method == "POST" and not rest and "trainingType" not in json.loads(body):
            message = "The specified base model does not support fine-tuning."
            return 400, {"error": {"code": "invalidPayload", "message": message}}
        return super()._answer_jobs(method, rest, query, body)


def _write_certificate(path: Path) -> None:
    """Write a key and a certificate for 127.0.0.1 that signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
    path.write_bytes(secret + certificate.public_bytes(pem))
