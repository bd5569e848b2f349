"""A file is put at the provider once."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks import upload
from tasks.core.dataset import DatasetFile
from tasks.core.errors import DataError, ProviderError, ProviderUnavailableError
from tests.fake_finetuning import FakeFinetuning

CONTENT = b'{"messages": []}\n'


@pytest.fixture
def provider() -> Iterator[FakeFinetuning]:
    with FakeFinetuning() as provider:
        yield provider


@pytest.fixture
def file(tmp_path: Path) -> DatasetFile:
    path = tmp_path / "train.jsonl"
    path.write_bytes(CONTENT)
    sha = hashlib.sha256(CONTENT).hexdigest()
    return DatasetFile(path=str(path), meta_path="", split="train", rows=1, sha256=sha)


def no_pause(seconds: float) -> None:
    """Take no time."""


def test_a_file_is_uploaded_whole_and_waited_for(provider: FakeFinetuning, file: DatasetFile) -> None:
    provider.file_states = ["uploaded", "uploaded", "processed"]
    uploaded = upload.training_file(provider.client(), file, sleep=no_pause)
    assert provider.contents[uploaded.file_id] == CONTENT
    assert provider.files[uploaded.file_id]["filename"] == f"zava-{file.sha256[:12]}-train.jsonl"
    assert uploaded.sha256 == file.sha256


def test_a_file_that_lies_there_is_used_again(provider: FakeFinetuning, file: DatasetFile) -> None:
    first = upload.training_file(provider.client(), file)
    assert upload.training_file(provider.client(), file) == first
    assert provider.count("POST /files") == 1


@pytest.mark.parametrize("fault", [{"reset": True}, {"status": 502}])
def test_a_lost_answer_leaves_exactly_one_file(
    provider: FakeFinetuning, file: DatasetFile, fault: dict[str, object]
) -> None:
    provider.fail("POST", "/files", acted=True, **fault)
    uploaded = upload.training_file(provider.client(max_retries=4), file)
    assert list(provider.files) == [uploaded.file_id]


def test_a_fault_before_the_file_arrived_is_told_as_passing(provider: FakeFinetuning, file: DatasetFile) -> None:
    provider.fail("POST", "/files", status=503)
    with pytest.raises(ProviderUnavailableError, match=r"upload zava-"):
        upload.training_file(provider.client(), file)


def test_a_refused_file_is_told_with_the_providers_reason(provider: FakeFinetuning, file: DatasetFile) -> None:
    provider.file_states = ["uploaded", "error"]
    with pytest.raises(ProviderError, match="the data is not good"):
        upload.training_file(provider.client(), file, sleep=no_pause)


def test_a_file_that_was_refused_before_is_not_used_again(provider: FakeFinetuning, file: DatasetFile) -> None:
    provider.file_states = ["error"]
    with pytest.raises(ProviderError):
        upload.training_file(provider.client(), file)
    provider.file_states = ["processed"]
    assert upload.training_file(provider.client(), file).file_id == "file-2"


def test_a_file_that_is_never_processed_is_told(provider: FakeFinetuning, file: DatasetFile) -> None:
    provider.file_states = ["uploaded"]
    with pytest.raises(ProviderUnavailableError, match="still 'uploaded' after 600 s"):
        upload.training_file(provider.client(), file, sleep=no_pause)


def test_a_file_changed_since_it_was_prepared_is_not_uploaded(provider: FakeFinetuning, file: DatasetFile) -> None:
    Path(file.path).write_bytes(CONTENT * 2)
    with pytest.raises(DataError, match="changed after it was prepared"):
        upload.training_file(provider.client(), file)
    assert provider.files == {}


def test_an_upload_tells_how_much_of_it_is_there(provider: FakeFinetuning, tmp_path: Path) -> None:
    content = CONTENT * 20_000
    path = tmp_path / "large.jsonl"
    path.write_bytes(content)
    sha = hashlib.sha256(content).hexdigest()
    large = DatasetFile(path=str(path), meta_path="", split="train", rows=20_000, sha256=sha)
    told: list[int] = []
    uploaded = upload.training_file(provider.client(), large, sent=told.append)
    assert provider.contents[uploaded.file_id] == content
    assert told == sorted(told)
    assert len(set(told)) > 3
    assert told[-1] == len(content)
    again: list[int] = []
    upload.training_file(provider.client(), large, sent=again.append)
    assert again == [len(content)]
