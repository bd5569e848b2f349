"""Speed of the trainer against a bare PyTorch loop on the same batches, model and optimiser.

python -m tests.bench.bench_trainer [--model DIR] [--data FILE] [--steps 20] [--rounds 3] [--least 0.9]
                                    [--peak-tflops 989]

Both take the same steps in turn, round after round, and the fastest round of each counts, so that other work on the
machine weighs on both alike. The clock starts after the first step, which also prepares the device; what the trainer
needs until then is told beside. Without `--data` the conversations are made up, four turns of some 170 words each. With
`--peak-tflops`, what the device can do at most (989: an H100 or H200 in bfloat16), it also tells the part that the
model's operations are of that: two for each weight and token forward, two backward, two more where the weight is
trained, of the output layer at trained tokens alone; and attention's, each token with those before it.
`python -m tests.bench.open_model` makes models to measure.
"""

import argparse
import json
import random
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from infra.model_server.progress import Hyperparameters, JobSpec, ProgressWriter
from infra.model_server.settings import BASE_MODELS
from infra.model_server.trainer.device import training_device
from infra.model_server.trainer.optimiser import build_optimiser, build_schedule
from infra.model_server.trainer.reporting import Reporter
from infra.model_server.trainer.rows import collate
from infra.model_server.trainer.run import Prepared, build_trainer, prepare

WORDS = ["order", "item", "please", "address", "return", "number", "refund", "status", "email", "street", "card"]


def main() -> int:
    """Run the benchmark, print its figures as JSON, and return 1 where they miss the budget."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=BASE_MODELS / "zava-base")
    parser.add_argument("--data", type=Path, help="a fine-tuning file")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--least", type=float, default=0.9, help="share of the bare loop's speed")
    parser.add_argument("--peak-tflops", type=float, help="of the device, to tell the model FLOPs utilisation")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = _measure(Path(folder), options)
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")
    return int(figures["share_of_bare_loop"] < options.least)


def _measure(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    content = options.data.read_bytes() if options.data else _made_up(64 * options.steps)
    (folder / "training.jsonl").write_bytes(content)
    wanted = Hyperparameters(n_epochs=1)
    spec = JobSpec(job_id="bench", model_dir=options.model.resolve(), seed=1, hyperparameters=wanted)
    with ProgressWriter(folder) as writer:
        prepared = prepare(spec, folder, writer)
        batches = prepared.plan.batches[: options.steps]
        prepared = prepared._replace(plan=prepared.plan._replace(batches=batches, epoch_ends=[]))
        bare, ours, starts = [], [], []
        for number in range(options.rounds):
            bare.append(_bare(prepared))
            clock = _ours(prepared, folder, writer, number, spec.model_dir)
            ours.append(clock.end - clock.first)
            starts.append(clock.first - clock.begin)
    lengths = [[len(prepared.rows[row]["input_ids"]) for row in batch] for batch in batches[1:]]
    tokens = sum(map(sum, lengths))
    padded = sum(len(batch) * max(batch) for batch in lengths)
    figures = {
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "parameters": prepared.model.num_parameters(),
        "trained_parameters": prepared.model.num_parameters(only_trainable=True),
        "steps": len(lengths),
        "tokens": tokens,
        "padding_share": round(1 - tokens / padded, 4),
        "threads": torch.get_num_threads(),
        "bare_loop_tokens_per_second": round(tokens / min(bare)),
        "trainer_tokens_per_second": round(tokens / min(ours)),
        "share_of_bare_loop": round(min(bare) / min(ours), 3),
        "trainer_start_and_first_step_s": round(min(starts), 2),
        "teraflops_a_second": round(_operations(prepared) / min(ours) / 1e12, 2),
        "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    if torch.cuda.is_available():
        figures["peak_gpu_memory_mib"] = torch.cuda.max_memory_allocated() >> 20
    if options.peak_tflops:
        figures["model_flops_utilisation"] = round(figures["teraflops_a_second"] / options.peak_tflops, 3)
    return figures


def _operations(prepared: Prepared) -> float:
    """Return the floating-point operations that the measured steps need, padding and the optimiser's left out."""
    model: Any = prepared.model
    head = model.get_output_embeddings().weight
    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name and p is not head]
    each = sum((6 if p.requires_grad else 4) * p.numel() for p in matrices)
    config = model.config.get_text_config()
    kinds = getattr(config, "layer_types", None) or ["full_attention"] * config.num_hidden_layers
    width = config.num_attention_heads * (
        getattr(config, "head_dim", None) or head.shape[1] // config.num_attention_heads
    )
    operations = 0.0
    for number in (row for batch in prepared.plan.batches[1:] for row in batch):
        row = prepared.rows[number]
        length, trained = len(row["input_ids"]), sum(label != -100 for label in row["labels"])
        operations += each * length + (6 if head.requires_grad else 4) * head.numel() * trained
        operations += 6 * kinds.count("full_attention") * width * length**2
    return operations


def _bare(prepared: Prepared) -> float:
    """Return the seconds of a plain loop over all batches but the first."""
    device = training_device()
    model: Any = prepared.model
    model.to(device.kind)
    optimiser = build_optimiser(model, prepared.choices)
    schedule = build_schedule(optimiser, len(prepared.plan.batches))
    start = 0.0
    for number, batch in enumerate(prepared.plan.batches):
        if number == 1:
            start = time.perf_counter()
        inputs = collate([prepared.rows[row] for row in batch], prepared.pad_id)
        inputs = {name: tensor.to(model.device) for name, tensor in inputs.items()}
        labels = inputs["labels"][:, 1:]
        trained = labels != -100
        with torch.autocast(device.kind, torch.bfloat16, enabled=device.bf16):
            hidden = model.get_decoder()(inputs["input_ids"], use_cache=False)[0]
            logits = model.get_output_embeddings()(hidden[:, :-1][trained])
            loss = F.cross_entropy(logits.float(), labels[trained])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        optimiser.zero_grad()
        loss.item()
    return time.perf_counter() - start


class _Clock(TrainerCallback):
    """When a training began, and when its first and its last step were over."""

    begin = first = end = 0.0

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self.end = time.perf_counter()
        self.first = self.first or self.end


def _ours(prepared: Prepared, folder: Path, writer: ProgressWriter, number: int, base: Path) -> _Clock:
    """Return when the trainer was done with the batches, its reports included."""
    clock = _Clock()
    clock.begin = time.perf_counter()
    trainer = build_trainer(prepared, 1, folder / f"states-{number}")
    trainer.add_callback(Reporter(trainer, prepared.plan, None, writer, job_dir=folder, base=base))
    trainer.add_callback(clock)
    trainer.train()
    return clock


def _made_up(rows: int) -> bytes:
    draw = random.Random(1)
    lines = []
    for _ in range(rows):
        words = [" ".join(draw.choices(WORDS, k=draw.randrange(120, 220))) for _ in range(4)]
        messages = [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(words)]
        lines.append(json.dumps({"messages": messages}) + "\n")
    return "".join(lines).encode()


if __name__ == "__main__":
    sys.exit(main())
