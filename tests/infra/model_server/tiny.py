"""A random causal model of about 100,000 parameters with a tokenizer and a chat template, made in a second."""

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    Lfm2Config,
    Lfm2ForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3NextConfig,
    Qwen3NextForCausalLM,
)

LINEAR = ("num_key_heads", "num_value_heads", "key_head_dim", "value_head_dim")
SPECIAL = ["<|pad|>", "<|im_start|>", "<|im_end|>"]
TEMPLATE = """
{%- if tools %}<|im_start|>tools
{% for tool in tools %}{{ tool.function.name }} {% endfor %}<|im_end|>
{% endif %}
{%- for message in messages %}<|im_start|>{{ message.role }}
{% if message.role == 'assistant' %}{% generation %}{{ message.content }}
{%- for call in message.tool_calls or [] %}<tool_call>
{"name": "{{ call.function.name }}", "arguments": {% if call.function.arguments is string %}
{{- call.function.arguments }}{% else %}{{ call.function.arguments | tojson }}{% endif %}}
</tool_call>{% endfor %}<|im_end|>{% endgeneration %}
{%- else %}{{ message.content }}<|im_end|>{% endif %}
{% endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""
TOOLS = [
    {
        "type": "function",
        "function": {"name": "look_up", "parameters": {"type": "object", "properties": {"key": {"type": "string"}}}},
    }
]


def conversation(number: int) -> dict[str, Any]:
    """Return a training row: the user names a key, the assistant looks it up and says what it found."""
    call = {
        "id": f"call_{number}",
        "type": "function",
        "function": {"name": "look_up", "arguments": json.dumps({"key": f"k{number % 7}"})},
    }
    messages = [
        {"role": "user", "content": f"Please find k{number % 7}."},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": call["id"], "content": f"value {number % 5}"},
        {"role": "assistant", "content": f"It is value {number % 5}."},
    ]
    return {"messages": messages, "tools": TOOLS, "parallel_tool_calls": False}


def jsonl(rows: int, first: int = 0) -> bytes:
    """Return so many rows as a training file."""
    return "".join(json.dumps(conversation(first + i)) + "\n" for i in range(rows)).encode()


def preference(number: int) -> dict[str, Any]:
    """Return a preference row: to look the key up is preferred to chatting about it."""
    row = conversation(number)
    user, call, *_ = row["messages"]
    chat = {"role": "assistant", "content": f"I like k{number % 7}."}
    return {
        "input": {"messages": [user], "tools": row["tools"], "parallel_tool_calls": False},
        "preferred_output": [call],
        "non_preferred_output": [chat],
    }


def preference_jsonl(rows: int, first: int = 0) -> bytes:
    """Return so many preference rows as a training file."""
    return "".join(json.dumps(preference(first + i)) + "\n" for i in range(rows)).encode()


def build(folder: Path, *, template: str = TEMPLATE, kind: str = "qwen3", window: int = 512) -> Path:
    """Write the model to a folder and return the folder."""
    torch.manual_seed(0)
    tokenizer = _tokenizer(template)
    tokenizer.save_pretrained(folder)
    sizes = {"vocab_size": len(tokenizer), "hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4}
    ids = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id, "bos_token_id": None}
    network(kind, {**sizes, **ids, "max_position_embeddings": window}).save_pretrained(folder)
    return folder


def network(kind: str, sizes: dict[str, Any]) -> PreTrainedModel:
    """Return a network of a kind; they differ in what their layers remember of a prompt."""
    heads = {"num_key_value_heads": 2, "head_dim": 16}
    if kind == "qwen3":
        return Qwen3ForCausalLM(Qwen3Config(**sizes, **heads, num_hidden_layers=2, tie_word_embeddings=True))
    if kind == "mistral":  # the last 16 tokens only
        return MistralForCausalLM(MistralConfig(**sizes, **heads, num_hidden_layers=2, sliding_window=16))
    if kind == "qwen3_next":  # a state into which all tokens are merged
        linear = {f"linear_{part}": 16 if "dim" in part else 2 for part in LINEAR}
        experts = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
        layers = ["linear_attention", "full_attention"]
        config = Qwen3NextConfig(
            **sizes, **heads, **linear, **experts, num_hidden_layers=2, layer_types=layers,
            shared_expert_intermediate_size=32,
        )  # fmt: skip
        return Qwen3NextForCausalLM(config)
    lfm = Lfm2Config(
        **sizes, num_hidden_layers=3, num_key_value_heads=4, layer_types=["conv", "full_attention", "conv"],
        block_auto_adjust_ff_dim=False, tie_word_embeddings=True,
    )  # fmt: skip
    return Lfm2ForCausalLM(lfm)


def _tokenizer(template: str) -> PreTrainedTokenizerFast:
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=512, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    core.train_from_iterator((json.dumps(conversation(i)) for i in range(50)), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=core, eos_token="<|im_end|>", pad_token="<|pad|>", chat_template=template,
        clean_up_tokenization_spaces=False,
    )  # fmt: skip
