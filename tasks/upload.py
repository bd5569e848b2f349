"""Puts a dataset file at the provider, once: a file that lies there already is used again."""

import hashlib
import io
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import openai
from openai import OpenAI
from openai.types import FileObject

from tasks.core.dataset import DatasetFile, UploadedFile
from tasks.core.errors import DataError, ProviderError, ProviderUnavailableError
from tasks.core.provider import ProviderKind, limit_broken
from tasks.files import read_bytes
from tasks.provider_errors import may_have_acted, translated

POLL_SECONDS = 0.5
PROCESSING_DEADLINE_S = 600.0

# Told how many bytes of a file are with the provider.
Sent = Callable[[int], None]


class _Counted(io.BytesIO):
    """The content of a file, which tells how much of it was read."""

    def __init__(self, content: bytes, sent: Sent) -> None:
        super().__init__(content)
        self._sent = sent

    def read(self, size: int | None = -1, /) -> bytes:
        piece = super().read(size)
        self._sent(self.tell())
        return piece


def training_file(
    client: OpenAI,
    file: DatasetFile,
    *,
    sent: Sent = lambda _: None,
    sleep: Callable[[float], None] = time.sleep,
) -> UploadedFile:
    """Return the file as the provider holds it, uploaded only where it is not there, and processed.

    `sent` is told how much of it is there.

    Raises:
        DataError: The file on disk is not the one that was prepared.
        ProviderUnavailableError: The provider does not answer, or is still at it after ten minutes.
        ProviderError: The provider refuses the file; the message holds its reason.
    """
    content = read_bytes(Path(file.path))
    if (found := hashlib.sha256(content).hexdigest()) != file.sha256:
        raise DataError(
            f"{file.path} was changed after it was prepared: its SHA-256 begins with {found[:12]}, "
            f"not {file.sha256[:12]}. Delete its folder to prepare it again."
        )
    name = provider_filename(file)
    held = find_file(client, name, len(content)) or _upload(client, name, content, sent)
    ready = _wait_until_processed(client, held, sleep)
    sent(len(content))
    return UploadedFile(file_id=ready.id, sha256=file.sha256, bytes=len(content))


def check_limits(kind: ProviderKind, files: Iterable[DatasetFile]) -> None:
    """See that files are within what the provider takes, before anything is uploaded.

    Raises:
        DataError: One is too small or too large.
    """
    for file in files:
        size = Path(file.path).stat().st_size
        if broken := limit_broken(kind, file.split, file.rows, size):
            raise DataError(f"{broken}. Change synthesis.{file.split}_conversations.")


def provider_filename(file: DatasetFile) -> str:
    """Return the name that a file has at the provider; equal names mean equal bytes."""
    return f"zava-{file.sha256[:12]}-{file.split}.jsonl"


def find_file(client: OpenAI, name: str, size: int) -> FileObject | None:
    """Return a usable file of this name and size in bytes, or None."""
    with translated(client, "list the files"):
        same = [
            held
            for held in client.files.list(purpose="fine-tune")
            if held.filename == name and held.bytes == size and held.status != "error"
        ]
    return max(same, key=lambda held: (held.status == "processed", held.created_at), default=None)


def is_there(client: OpenAI, file: DatasetFile) -> bool:
    """Does the provider hold this file already?

    Raises:
        ProviderUnavailableError: The provider does not answer.
    """
    return find_file(client, provider_filename(file), len(read_bytes(Path(file.path)))) is not None


def _upload(client: OpenAI, name: str, content: bytes, sent: Sent) -> FileObject:
    with translated(client, f"upload {name}"):
        try:
            # The client would send the file again after a lost answer, and it would lie there twice.
            body = _Counted(content, sent)
            return client.with_options(max_retries=0).files.create(file=(name, body), purpose="fine-tune")
        except openai.APIError as error:
            if may_have_acted(error) and (held := find_file(client, name, len(content))):
                return held
            raise


def _wait_until_processed(client: OpenAI, held: FileObject, sleep: Callable[[float], None]) -> FileObject:
    waited = 0.0
    while held.status != "processed":
        if held.status == "error":
            reason = held.status_details or "no reason given"
            raise ProviderError(f"The provider refused file {held.filename} ({held.id}): {reason}")
        if waited >= PROCESSING_DEADLINE_S:
            raise ProviderUnavailableError(
                f"File {held.filename} ({held.id}) is still {held.status!r} after {waited:.0f} s; run again to go on."
            )
        sleep(POLL_SECONDS)
        waited += POLL_SECONDS
        with translated(client, f"read file {held.id}"):
            held = client.files.retrieve(held.id)
    return held
