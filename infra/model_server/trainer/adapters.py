"""The model that a job trains: with all its weights, or with an adapter on them."""

from functools import partial
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, TaskType, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM

from infra.model_server.progress import JobSpec
from infra.model_server.trainer.choices import Choices
from infra.model_server.trainer.device import fastest_attention, training_device

LARGE_ENOUGH = 200_000_000
"""From this many parameters on, `auto` trains an adapter."""
RANK = 16
RATE = 10.0
"""An adapter's learning rate, as a multiple of that for all weights."""


def load_model(spec: JobSpec) -> Any:
    """Return the model to train: all of it, a new adapter on it, or the adapter that the job goes on with."""
    adapted = spec.adapter_dir is not None or _wants_adapter(spec)
    # Weights that stay as they are need no more digits than they are computed with.
    dtype = torch.bfloat16 if adapted and training_device().bf16 else torch.float32
    model: Any = AutoModelForCausalLM.from_pretrained(
        spec.model_dir, dtype=dtype, attn_implementation=fastest_attention(), local_files_only=True
    )
    if spec.adapter_dir is not None:
        return _asks_nobody(PeftModel.from_pretrained(model, str(spec.adapter_dir), is_trainable=True))
    if not adapted:
        return model
    config = LoraConfig(
        task_type=TaskType.CAUSAL_LM,
        r=RANK,
        lora_alpha=2 * RANK,
        target_modules="all-linear",
    )
    adapted_model = get_peft_model(model, config)
    # PEFT has written the folder here; the id stays true when folders move.
    config.base_model_name_or_path = spec.base
    return _asks_nobody(adapted_model)


def keeps_apart(network: Any) -> bool:
    """Tell whether a model can read several conversations in one row without mixing them up.

    Only by attention that begins anew where positions do: a convolution or a recurrence would read on over the border.
    """
    kinds = getattr(network.config.get_text_config(), "layer_types", None) or ()
    return not network._is_stateful and set(kinds) <= {"full_attention", "sliding_attention"}


def adapter_choices(choices: Choices) -> Choices:
    """Return the numbers of a run that trains an adapter."""
    return choices._replace(muon=False, learning_rate=RATE * choices.learning_rate)


def _asks_nobody(model: Any) -> Any:
    # Embeddings are never adapted. To look whether they are, PEFT would ask the hub for the base each time it saves.
    model.save_pretrained = partial(model.save_pretrained, save_embedding_layers=False)
    return model


def _wants_adapter(spec: JobSpec) -> bool:
    if spec.lora == "auto":
        return _parameters(spec.model_dir) >= LARGE_ENOUGH
    return spec.lora == "always"


def _parameters(model_dir: Path) -> int:
    config = AutoConfig.from_pretrained(model_dir, local_files_only=True)
    kinds: Any = AutoModelForCausalLM
    with torch.device("meta"):
        return int(kinds.from_config(config).num_parameters())
