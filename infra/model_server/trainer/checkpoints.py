"""The folders that a run writes: models to sample and states to resume from."""

import json
import shutil
from pathlib import Path
from typing import Any

from peft import PeftModel
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

STATE_NAME = "trainer_state.json"
_NOT_COPIED = (".safetensors", ".bin", ".pt", ".index.json", ".md", ".jsonl")
"""Weights are the model's own, and a model card or a training log speaks of the base alone."""


def save_model(model: Any, base: Path, folder: Path) -> None:
    """Write a model with its base's tokenizer and renderer, or an adapter; the folder appears whole or not at all."""
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    if isinstance(model, PeftModel):
        model.save_pretrained(str(partial))
        (partial / "README.md").unlink(missing_ok=True)
    else:
        model.save_pretrained(partial)
        _copy_around(base, partial)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def _copy_around(base: Path, folder: Path) -> None:
    for file in base.iterdir():
        if file.is_file() and not (folder / file.name).exists() and not file.name.endswith(_NOT_COPIED):
            shutil.copy2(file, folder / file.name)


def last_state(folder: Path) -> Path | None:
    """Return the newest folder from which training can resume.

    The state file is written last, so a folder whose state can be read is whole.
    """
    states = [path for path in folder.glob(f"{PREFIX_CHECKPOINT_DIR}-*") if _is_whole(path)]
    return max(states, key=lambda path: int(path.name.rpartition("-")[2]), default=None)


def _is_whole(path: Path) -> bool:
    try:
        json.loads((path / STATE_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return True
