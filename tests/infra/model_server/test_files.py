"""The files surface, through the openai client."""

import hashlib
import json
from pathlib import Path

import openai
import pytest
from openai import OpenAI

from infra.model_server.settings import Settings
from tests.infra.model_server import live, tiny


def test_an_upload_is_described_and_comes_back_byte_for_byte(client: OpenAI) -> None:
    content = tiny.jsonl(3)
    file = client.files.create(file=("a.jsonl", content), purpose="fine-tune")
    assert (file.object, file.status, file.filename, file.bytes) == ("file", "processed", "a.jsonl", len(content))
    assert client.files.retrieve(file.id) == file
    assert client.files.content(file.id).content == content


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"{not json}\n", "Line 4 is not JSON"),
        (b'"text"\n', "Line 4 is a JSON str, not an object"),
        (b'{"prompt": "a"}\n', "Line 4 is not a chat example: messages: Field required"),
        (b'{"messages": []}\n', "Line 4 has no assistant message to learn from"),
        (b"\xff\xfe\n", "Line 4 is not UTF-8"),
        (b'{"messages": [{"role": "robot", "content": "a"}]}\n', "Line 4 is not a chat example: messages.0.role"),
        (b'{"messages": [{"role": "user"}]}\n', "Line 4 has no content in messages.0"),
        (b'{"messages": [{"role": "assistant"}]}\n', "Line 4 has neither content nor tool_calls in messages.0"),
        (b'{"messages": [{"role": "tool", "content": "", "tool_call_id": "x"}]}\n', "Line 4 answers a tool call that"),
        (b'{"messages": [], "tols": []}\n', "Line 4 is not a chat example: tols: Extra inputs are not permitted"),
        (b"[" * 100_000 + b"\n", "Line 4 is nested too deeply"),
        (rb'{"messages": "\ud800"}' + b"\n", "Line 4 holds half of a surrogate pair"),
        (b'{"messages": NaN}\n', "Line 4 is not JSON: NaN"),
    ],
)
def test_a_broken_line_is_named(client: OpenAI, line: bytes, says: str) -> None:
    file = client.files.create(file=("b.jsonl", tiny.jsonl(3) + line), purpose="fine-tune")
    assert file.status == "error"
    assert file.status_details is not None
    assert file.status_details.startswith(says)


def test_arguments_that_are_no_json_object_are_named(client: OpenAI) -> None:
    row = tiny.conversation(0)
    row["messages"][1]["tool_calls"][0]["function"]["arguments"] = '{"key": '
    file = client.files.create(file=("b.jsonl", json.dumps(row).encode()), purpose="fine-tune")
    assert file.status_details == (
        "Line 1 has arguments that are no JSON object in messages.1.tool_calls.0: '{\"key\": '."
    )


def test_a_byte_order_mark_is_named(client: OpenAI) -> None:
    file = client.files.create(file=("b.jsonl", b"\xef\xbb\xbf" + tiny.jsonl(1)), purpose="fine-tune")
    assert file.status_details == "Line 1 starts with a byte order mark; save the file as UTF-8 without one."


def test_files_are_paged_newest_first_and_filtered_by_purpose(client: OpenAI) -> None:
    made = [client.files.create(file=(f"{i}.txt", b"x"), purpose="user_data").id for i in range(5)]
    assert [file.id for file in client.files.list(purpose="user_data", limit=2)] == made[::-1]
    assert [file.id for file in client.files.list(purpose="user_data", limit=2, order="asc")] == made
    page = client.files.list(purpose="user_data", limit=2, after=made[3])
    assert [file.id for file in page.data] == [made[2], made[1]]
    assert page.has_more


def test_a_deleted_file_is_gone_while_its_twin_keeps_the_content(client: OpenAI) -> None:
    first = client.files.create(file=("a", b"the same"), purpose="user_data")
    second = client.files.create(file=("b", b"the same"), purpose="user_data")
    assert client.files.delete(first.id).deleted
    assert client.files.content(second.id).content == b"the same"
    with pytest.raises(openai.NotFoundError, match="No such File object"):
        client.files.retrieve(first.id)


def test_contents_lie_under_their_digest(tmp_path: Path, models_dir: Path) -> None:
    with live.serving(Settings(data=tmp_path, models=models_dir)) as port, live.client_of(port) as client:
        client.files.create(file=("a", b"content"), purpose="user_data")
    assert [path.name for path in (tmp_path / "files").iterdir()] == [hashlib.sha256(b"content").hexdigest()]


def test_unknown_purposes_empty_files_and_unknown_fields_are_refused(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as purpose:
        client.files.create(file=("a", b"x"), purpose="poetry")  # type: ignore[arg-type]
    assert (purpose.value.param, purpose.value.type) == ("purpose", "invalid_request_error")
    with pytest.raises(openai.BadRequestError, match="is empty"):
        client.files.create(file=("a", b""), purpose="user_data")
    with pytest.raises(openai.BadRequestError, match="does not support") as extra:
        client.files.create(
            file=("a", b"x"), purpose="user_data", expires_after={"anchor": "created_at", "seconds": 3600}
        )
    assert extra.value.code == "unsupported_parameter"


def test_what_is_too_large_is_refused(tmp_path: Path, models_dir: Path) -> None:
    small = Settings(data=tmp_path, models=models_dir, max_upload_bytes=1000, max_body_bytes=2000, max_line_bytes=100)
    with live.serving(small) as port, live.client_of(port) as client:
        with pytest.raises(openai.APIStatusError, match="more than 1000 bytes") as upload:
            client.files.create(file=("a", b"x" * 1001), purpose="user_data")
        assert (upload.value.status_code, upload.value.code) == (413, "request_too_large")
        with pytest.raises(openai.APIStatusError) as declared:
            client.files.create(file=("a", b"x" * 100_000), purpose="user_data")
        assert declared.value.status_code == 413
        with pytest.raises(openai.APIStatusError) as body:
            client.chat.completions.create(model="tiny", messages=[{"role": "user", "content": "x" * 3000}])
        assert body.value.status_code == 413
        long_line = client.files.create(file=("a", b'{"messages": "' + b"x" * 200), purpose="fine-tune")
        assert long_line.status_details == "Line 1 is longer than 100 bytes."
    assert not list((tmp_path / "files").glob("*.partial"))
