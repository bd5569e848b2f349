"""The artifact store in S3: conditional writes, checksums that the server verifies, multipart for what is large.

Not all that speak S3 do the same. Swift refuses a second writer of a name, but may tell two at the same moment that
each was the first; it encrypts only where its operator has set that up, and knows no `aws:kms`. Moto checks neither
keys nor checksums. An upload in parts that was killed leaves its parts, for the bucket's life cycle to remove.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from boto3.s3.transfer import TransferConfig, create_transfer_manager  # type: ignore[import-untyped]
from botocore.exceptions import (  # type: ignore[import-untyped]
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    PartialCredentialsError,
)

from tasks.artifacts import sha256_of_file
from tasks.core.errors import ConfigError, ServiceError, StorageError
from tasks.core.storage import StorageConfig

if TYPE_CHECKING:
    from botocore.client import BaseClient  # type: ignore[import-untyped]

PART = 8 * 2**20
_TRANSFER = TransferConfig(multipart_threshold=PART, multipart_chunksize=PART, max_concurrency=4)
_KEYS = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
_NOT_THERE = frozenset({"404", "NoSuchKey"})
_THERE = frozenset({"PreconditionFailed", "412"})
_DENIED = frozenset({"403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken"})
# Another writer is at the same key; who tries again finds it there.
_PASSING = frozenset({"ConditionalRequestConflict", "SlowDown", "RequestTimeout", "Throttling"})


class S3Store:
    """A store in a bucket, under a prefix."""

    def __init__(self, client: BaseClient, config: StorageConfig, bucket: str, prefix: str) -> None:
        """Use a client; the bucket must be there."""
        self.url = str(config.url)
        self._client: Any = client
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._sealed: dict[str, str] = (
            {} if config.encryption == "none" else {"ServerSideEncryption": config.encryption}
        )
        if config.kms_key:
            self._sealed["SSEKMSKeyId"] = config.kms_key

    def put_file(self, key: str, path: Path, sha256: str) -> None:
        """Keep a file whose digest is known; one of its size that is there already stays."""
        size = path.stat().st_size
        if self._size(key) == size:
            return
        if size < PART:
            content = path.read_bytes()
            _check(path, hashlib.sha256(content).hexdigest() == sha256)
            self._write(key, content, {"ChecksumSHA256": base64.b64encode(bytes.fromhex(sha256)).decode()})
            return
        # The server checks each part; the digest of the parts is not that of the whole.
        extra = {"ChecksumAlgorithm": "SHA256", **self._sealed}
        with self._told("keep", key), create_transfer_manager(self._client, _TRANSFER) as transfer:
            transfer.upload(str(path), self._bucket, self._prefix + key, extra_args=extra).result()
            same = sha256_of_file(path) == sha256
            if not same:
                self._client.delete_object(Bucket=self._bucket, Key=self._prefix + key)
        _check(path, same)

    def put(self, key: str, content: bytes, *, replace: bool = False) -> bool:
        """Keep a few bytes; return False where others are there, which only `replace` overwrites."""
        return self._write(key, content, {"ChecksumAlgorithm": "SHA256"}, replace=replace)

    def get(self, key: str) -> bytes | None:
        """Return a few bytes, or None where there are none."""
        with self._told("read", key):
            try:
                answer = self._client.get_object(Bucket=self._bucket, Key=self._prefix + key, ChecksumMode="ENABLED")
                return bytes(answer["Body"].read())
            except ClientError as error:
                if _code(error) in _NOT_THERE:
                    return None
                raise

    def get_file(self, key: str, path: Path) -> bool:
        """Write the bytes of a key to a file; return False where there are none."""
        with self._told("read", key), create_transfer_manager(self._client, _TRANSFER) as transfer:
            try:
                transfer.download(self._bucket, self._prefix + key, str(path)).result()
            except ClientError as error:
                if _code(error) in _NOT_THERE:
                    return False
                raise
        return True

    def _size(self, key: str) -> int | None:
        with self._told("look for", key):
            try:
                return int(self._client.head_object(Bucket=self._bucket, Key=self._prefix + key)["ContentLength"])
            except ClientError as error:
                if _code(error) in _NOT_THERE:
                    return None
                raise

    def _write(self, key: str, content: bytes, checksum: dict[str, str], *, replace: bool = False) -> bool:
        condition = {} if replace else {"IfNoneMatch": "*"}
        place = {"Bucket": self._bucket, "Key": self._prefix + key}
        with self._told("keep", key):
            try:
                self._client.put_object(**place, Body=content, **checksum, **condition, **self._sealed)
            except ClientError as error:
                if _code(error) in _THERE:
                    return False
                raise
        return True

    @contextmanager
    def _told(self, verb: str, key: str) -> Iterator[None]:
        """Tell what S3 refuses, and whether the same may succeed later."""
        address = f"s3://{self._bucket}/{self._prefix}{key}"
        try:
            yield
        except (NoCredentialsError, PartialCredentialsError) as error:
            raise ConfigError(f"No keys to {verb} {address}: set {_KEYS}, or give the machine a role.") from error
        except ClientError as error:
            raise self._refusal(error, f"{verb} {address}") from error
        except BotoCoreError as error:
            raise ServiceError(f"Cannot {verb} {address}: {error}") from error

    def _refusal(self, error: ClientError, what: str) -> Exception:
        code, said = _code(error), error.response.get("Error", {}).get("Message", "no reason given")
        if code == "NoSuchBucket":
            return StorageError(
                f"Cannot {what}: there is no bucket {self._bucket!r}. Make it, or name another in storage.url."
            )
        if code in _DENIED:
            return StorageError(
                f"S3 refuses to {what} ({code}: {said}). See whose keys are in {_KEYS}, and that they may "
                f"s3:GetObject, s3:PutObject and s3:ListBucket on {self._bucket!r}."
            )
        if code == "NotImplemented":
            way = "set storage.encryption=none" if "encrypt" in said.lower() else "it must know conditional writes"
            return StorageError(f"This S3 cannot {what}: {said} If it is meant to be used, {way}.")
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        kind = ServiceError if status >= 500 or code in _PASSING else StorageError
        return kind(f"S3 does not {what}: {code}: {said}")


def _check(path: Path, same: bool) -> None:
    if not same:
        raise StorageError(f"{path} changed while it was published; run again.")


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))
