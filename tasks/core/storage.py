"""Where datasets and reports are kept for other machines, and what says which files belong together there."""

from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from tasks.core.record import Record, canonical_json

SHA256 = r"^[0-9a-f]{64}$"


class StorageConfig(Record):
    """Where datasets and reports are kept besides the workspace. Keys come from the environment, as AWS names them."""

    url: str | None = Field(
        None, description="s3://BUCKET/PREFIX, or file:///FOLDER such as a shared disk; left out: the workspace alone."
    )
    endpoint_url: str | None = Field(None, description="Of an S3 that is not Amazon's, such as http://127.0.0.1:9000.")
    encryption: Literal["none", "AES256", "aws:kms"] = Field(
        "AES256", description="What S3 is asked to encrypt with; none, where the store cannot, or does so by itself."
    )
    kms_key: str | None = Field(None, description="Of aws:kms, the key's id; left out: the account's own.")

    @field_validator("url")
    @classmethod
    def _is_known(cls, url: str | None) -> str | None:
        if url is None:
            return None
        parts = urlsplit(url)
        named = parts.netloc if parts.scheme == "s3" else parts.scheme == "file" and parts.path and not parts.netloc
        if named:
            return url.rstrip("/")
        raise ValueError("give s3://BUCKET/PREFIX or file:///FOLDER")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.kms_key and self.encryption != "aws:kms":
            raise ValueError("kms_key is of encryption aws:kms")
        return self


class StoredFile(Record):
    """A file as the store keeps it, by its content. The name holds no folder, whoever wrote the manifest."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    sha256: str = Field(pattern=SHA256)
    bytes: int


class Manifest(Record):
    """Files that belong together; `of` is the digest of what a dataset was made from, or the MLflow run of a report."""

    kind: Literal["dataset", "report"]
    of: str
    files: tuple[StoredFile, ...]

    @property
    def content(self) -> bytes:
        """What the store keeps; its SHA-256 is the digest of the manifest, and its name there."""
        return canonical_json(self.model_dump(mode="json")).encode()

    def file(self, name: str) -> StoredFile | None:
        """Return the file of a name, or None."""
        return next((file for file in self.files if file.name == name), None)
