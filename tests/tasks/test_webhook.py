"""A signed message of the provider ends a wait early; a forged, stale, repeated or oversized one does not."""

import base64
import hashlib
import hmac
import json
import time
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from flows.webhook import LARGEST_BODY, receiver
from tasks.core.errors import ProviderError
from tasks.webhook import Bells

KEY = b"the key of the endpoint"
SECRET = f"whsec_{base64.b64encode(KEY).decode()}"


def a_message(job_id: str = "ftjob-1", kind: str = "fine_tuning.job.succeeded") -> bytes:
    event = {"id": "evt_1", "object": "event", "created_at": 1, "type": kind, "data": {"id": job_id}}
    return json.dumps(event).encode()


def signed(body: bytes, *, message_id: str = "msg-1", age_s: float = 0.0, key: bytes = KEY) -> dict[str, str]:
    """Sign as the Standard Webhooks specification says."""
    stamp = str(int(time.time() - age_s))
    digest = hmac.new(key, f"{message_id}.{stamp}.".encode() + body, hashlib.sha256).digest()
    signature = f"v1,{base64.b64encode(digest).decode()}"
    return {"webhook-id": message_id, "webhook-timestamp": stamp, "webhook-signature": signature}


@pytest.fixture
def bells(tmp_path: Path) -> Bells:
    return Bells(tmp_path / "bells")


def slept(bells: Bells, seconds: float, job_id: str = "ftjob-1") -> float:
    pauses: list[float] = []
    bells.sleeper(job_id, pauses.append)(seconds)
    return sum(pauses)


def test_a_message_ends_the_wait_for_its_job_once(bells: Bells) -> None:
    assert slept(bells, 60.0) == 60.0
    assert bells.accept(a_message(), signed(a_message()), SECRET) == "ftjob-1"
    assert slept(bells, 60.0, "ftjob-2") == 60.0
    assert slept(bells, 60.0) == 0.0
    assert slept(bells, 0.7) == 0.7


def test_a_repeated_message_rings_nothing(bells: Bells) -> None:
    body = a_message()
    assert bells.accept(body, signed(body), SECRET) == "ftjob-1"
    assert bells.accept(body, signed(body), SECRET) is None
    assert bells.accept(body, signed(body, message_id="msg-2"), SECRET) == "ftjob-1"


def test_a_message_about_something_else_rings_nothing(bells: Bells) -> None:
    for number, kind in enumerate(["batch.completed", "something.new"]):
        body = a_message(kind=kind)
        assert bells.accept(body, signed(body, message_id=f"msg-{number}"), SECRET) is None
    assert slept(bells, 5.0) == 5.0


@pytest.mark.parametrize(
    "headers",
    [
        signed(a_message(), key=b"another key"),
        signed(a_message(job_id="ftjob-9")),
        signed(a_message(), age_s=400.0),
        {},
    ],
    ids=["another key", "another body", "too old", "unsigned"],
)
def test_a_forged_message_is_refused(bells: Bells, headers: dict[str, str]) -> None:
    with pytest.raises(ProviderError, match="not signed by the provider"):
        bells.accept(a_message(), headers, SECRET)
    assert slept(bells, 5.0) == 5.0


def test_the_receiver_answers_each_kind(bells: Bells) -> None:
    with TestClient(receiver(bells, SECRET)) as client:
        body = a_message()
        assert client.get("/healthz").status_code == 200
        answer = client.post("/hooks/provider", content=body, headers=signed(body))
        assert (answer.status_code, answer.json()) == (202, {"job": "ftjob-1"})
        assert client.post("/hooks/provider", content=body, headers=signed(body)).json() == {"job": None}
        assert client.post("/hooks/provider", content=body).status_code == 401
        assert client.post("/hooks/provider", content=b"x" * (LARGEST_BODY + 1)).status_code == 413
    assert slept(bells, 5.0) == 0.0
