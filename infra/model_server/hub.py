"""Fetches base models from the Hugging Face hub, or from the mirror that HF_ENDPOINT names."""

from pathlib import Path

import httpx2
from huggingface_hub import snapshot_download

from infra.model_server.errors import ModelServerError

WANTED = ["*.json", "*.safetensors", "*.jinja", "*.txt", "*.model"]
"""What a model is loaded from; weights in other forms stay where they are."""


class FetchError(ModelServerError):
    """A model cannot be fetched."""


def folder_of(name: str, models: Path) -> Path:
    """Return the folder below `models` that stands for OWNER/NAME or OWNER/NAME@REVISION: its name is NAME."""
    return models / name.partition("@")[0].rpartition("/")[2]


def fetch(name: str, models: Path) -> Path:
    """Make a folder for OWNER/NAME or OWNER/NAME@REVISION of the hub, unless there is one; return it.

    It is a link into the hub's cache, made when all is there; a file that broke off begins again, the others are kept.
    HF_TOKEN opens models whose licence must be accepted.

    Raises:
        FetchError: if the hub does not give it, or it has no weights as safetensors.
        OSError: if the disk does not take it.
    """
    folder = folder_of(name, models)
    if folder.exists():
        return folder
    model, _, revision = name.partition("@")
    try:
        fetched = Path(snapshot_download(model, revision=revision or None, allow_patterns=WANTED))
    except (httpx2.HTTPError, ValueError, OSError) as error:
        raise FetchError(
            f"{name} cannot be fetched from the hub: {' '.join(str(error).split())} Try again, name a mirror in "
            f"HF_ENDPOINT, or put the model into {folder}. Where its licence must be accepted, set HF_TOKEN."
        ) from error
    if not (fetched / "config.json").is_file() or not any(fetched.glob("*.safetensors")):
        raise FetchError(f"{name} has no config.json or no weights as *.safetensors on the hub; name another model.")
    models.mkdir(parents=True, exist_ok=True)
    folder.unlink(missing_ok=True)  # a link whose target has gone
    folder.symlink_to(fetched, target_is_directory=True)
    return folder
