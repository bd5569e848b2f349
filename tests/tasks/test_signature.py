"""Signatures of messages from outside: only what a secret signed a moment ago passes, whatever the headers hold."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook

from tasks.core.errors import MessageError
from tasks.signature import check, verifiers
from tests.receiving import KEY, SECRET, signed

HEADERS = ("webhook-id", "webhook-timestamp", "webhook-signature")
CHECKS = [Webhook(SECRET)]


def test_a_signed_message_passes_with_its_id() -> None:
    assert check(b"{}", signed(b"{}", "msg-7"), CHECKS) == "msg-7"


@given(st.binary(max_size=200), st.fixed_dictionaries({name: st.text(max_size=60) for name in HEADERS}))
def test_no_made_up_signature_passes_or_breaks_the_check(body: bytes, headers: dict[str, str]) -> None:
    with pytest.raises(MessageError, match="not signed by who may send it"):
        check(body, headers, CHECKS)


@given(st.text(max_size=80), st.text(max_size=80), st.text(min_size=1, max_size=20))
def test_a_signature_is_of_one_body_and_one_id(body: str, other: str, message_id: str) -> None:
    headers = signed(body.encode(), "msg-1")
    for sent, name in ((other, "msg-1"), (body, message_id)):
        if (sent, name) != (body, "msg-1"):
            with pytest.raises(MessageError):
                check(sent.encode(), {**headers, "webhook-id": name}, CHECKS)


def test_an_old_secret_holds_beside_its_successor(monkeypatch: pytest.MonkeyPatch) -> None:
    new = f"whsec_{base64.b64encode(b'the successor of it').decode()}"
    monkeypatch.setenv("ZAVA_HOOK_RETRAIN_SECRET", f"{new} {SECRET}")
    for key in (KEY, b"the successor of it"):
        assert check(b"{}", signed(b"{}", key=key), verifiers("retrain")) == "msg-1"
    with pytest.raises(MessageError):
        check(b"{}", signed(b"{}", key=b"a third"), verifiers("retrain"))
