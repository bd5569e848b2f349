"""Where the server listens and keeps its data, and how much it accepts."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from infra.model_server.progress import LoraMode

BASE_MODELS = Path(__file__).parent / "base"
MEBIBYTE = 1 << 20
GIBIBYTE = 1 << 30
GRACE_S = 5
"""So long does a server that ends wait for the answers under way."""


EngineName = Literal["transformers", "vllm"]


class Settings(BaseModel):
    """The server's settings."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: Path
    """The folder of everything that the server writes."""
    models: Path = BASE_MODELS
    """The folder whose sub-folders are the base models."""
    api_key: str | None = Field(default=None, repr=False)
    max_body_bytes: int = 8 * MEBIBYTE
    max_upload_bytes: int = 512 * MEBIBYTE
    max_line_bytes: int = 4 * MEBIBYTE
    max_rows: int = 1_000_000
    max_waiting: int = 512
    """Chat sequences that may wait or run at once; a request with `n` choices counts `n` times."""
    max_batch: int = 64
    """Chat sequences decoded together, by all engines."""
    prefix_cache_bytes: int = 256 * MEBIBYTE
    loaded_models_bytes: int = 8 * GIBIBYTE
    """Loaded models, with what they remember of prompts, are unloaded above this size, the longest unused first; the
    last one never is."""
    engine: EngineName = "transformers"
    """What answers as models with a chat template; the others are always answered by transformers."""
    max_queued_jobs: int = 100
    lora: LoraMode = "auto"
    webhook_url: str | None = None
    """Where the end of each job is reported."""
    webhook_secret: str | None = Field(default=None, repr=False)
    """`whsec_` and a key in base64, which signs the reports."""

    @property
    def batch_bytes(self) -> int:
        """When what models remember of the sequences that they decode takes so much, no more of them join."""
        return self.loaded_models_bytes // 4

    @property
    def database(self) -> Path:
        """The SQLite file of the server's state."""
        return self.data / "state.sqlite3"

    @property
    def jobs(self) -> Path:
        """The folder with one working folder for each job."""
        return self.data / "jobs"

    @property
    def tuned_models(self) -> Path:
        """The folder of fine-tuned models."""
        return self.data / "models"
