"""Makes the small default base model, `zava-base`, from generic dialogues (no shop in them).

    python -m infra.model_server.base.pretrain --out DIR [--tokens 9000000] [--processes 2] [--seed 1]

Two processes with one thread each train in step (gradients averaged), which is faster and far steadier on a shared
machine than one process with two threads. A log line every 50 steps goes to DIR/pretrain.jsonl.
"""

import argparse
import json
import math
import multiprocessing
import os
import random
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
import torch.distributed as dist
from torch.nn import functional
from transformers import Lfm2Config, Lfm2ForCausalLM
from transformers.models.lfm2.modeling_lfm2 import Lfm2Attention

from infra.model_server.base import corpus, lexicon
from infra.model_server.base.lookups import lookups
from infra.model_server.base.workflow import workflow
from infra.model_server.muon import Muon
from infra.model_server.slot_renderer import SlotRenderer
from infra.model_server.slot_text import ANCHORS, KINDS, SLOTS

Row = tuple[list[int], list[int]]
LAYERS = "cacacac"
WIDTH, HEADS, FEED_FORWARD = 128, 4, 384
MAX_ROW = 1800
EMBEDDINGS = "model.embed_tokens.weight"


def write_words(out: Path) -> None:
    """Write the vocabulary's word list: interface words first, then common English words (SCOWL size 10)."""
    common = (Path(__file__).parent / "words.txt").read_text(encoding="utf-8").split()
    words = dict.fromkeys([*lexicon.INTERFACE_WORDS, *lexicon.ADDRESS_WORDS, *common])
    (out / "words.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    (out / "renderer.json").write_text(json.dumps({"kind": "slots"}) + "\n", encoding="utf-8")


def new_model(renderer: SlotRenderer) -> Lfm2ForCausalLM:
    """Return an untrained network; copying circuits start near their solution (value/output and query/key inverse)."""
    config = Lfm2Config(
        vocab_size=renderer.v.size,
        hidden_size=WIDTH,
        num_hidden_layers=len(LAYERS),
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        intermediate_size=FEED_FORWARD,
        block_auto_adjust_ff_dim=False,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        layer_types=["conv" if c == "c" else "full_attention" for c in LAYERS],
        conv_L_cache=3,
        pad_token_id=renderer.pad_id,
        bos_token_id=None,
        eos_token_id=min(renderer.stop_ids),
    )
    model = Lfm2ForCausalLM(config)
    torch.nn.init.normal_(model.model.embed_tokens.weight, std=0.1)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, Lfm2Attention):
                _start_near_copying(module)
    return model


def _start_near_copying(attention: Lfm2Attention) -> None:
    weights = {n: p for n, p in attention.named_parameters() if p.ndim == 2}
    value, key = (torch.nn.init.orthogonal_(torch.empty(WIDTH, WIDTH)) for _ in range(2))
    near = {"v_proj": 0.7 * value, "out_proj": 0.7 * value.t() + 0.02 * torch.randn(WIDTH, WIDTH)}
    for name in ("k_proj", "q_proj"):
        near[name] = 0.3 * key + 0.02 * torch.randn(WIDTH, WIDTH)
    for name, start in near.items():
        weights[f"{name}.weight"].copy_(start)


def carried_over(checkpoint: Path, renderer: SlotRenderer) -> Lfm2ForCausalLM:
    """Return a network that goes on from a checkpoint, whose word list, slots and anchors may be others.

    A token keeps what was learned of it. A new word starts as the same word in lower case, where there is one, a new
    slot or anchor as one slot among many.
    """
    model, old = new_model(renderer), Lfm2ForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)
    v, state = renderer.v, old.state_dict()
    table: torch.Tensor = model.state_dict()[EMBEDDINGS]
    before: torch.Tensor = state[EMBEDDINGS]
    words = (checkpoint / "words.txt").read_text(encoding="utf-8").split()
    first_word = len(before) - len(words)
    known = {word: first_word + number for number, word in enumerate(words)}
    with torch.no_grad():
        if first_word == v.first_word:
            table[:first_word] = before[:first_word]
        else:
            table[: v.first_slot] = before[: v.first_slot]
            slots = before[v.first_slot : first_word - 1 - ANCHORS]
            table[v.first_slot : v.reference] = slots.mean(0) + slots.std() * torch.randn(SLOTS + ANCHORS, WIDTH)
            first = v.first_slot
            for count in KINDS.values():
                table[first : first + count] += 0.3 * slots.std() * torch.randn(WIDTH)
                first += count
            table[v.reference] = before[first_word - 1]
        for word, token in v.word.items():
            like = known.get(word, known.get(word.lower()))
            if like is not None:
                table[token] = before[like]
    model.load_state_dict({**state, EMBEDDINGS: table, "lm_head.weight": table})
    return model


def optimizers(model: torch.nn.Module, lr: float) -> list[torch.optim.Optimizer]:
    """Return Muon for the matrices at five times the rate, AdamW for embeddings, norms and convolutions."""
    matrices: list[torch.nn.Parameter] = []
    rest: list[torch.nn.Parameter] = []
    for name, parameter in model.named_parameters():
        (matrices if parameter.ndim == 2 and "embed" not in name else rest).append(parameter)
    return [
        Muon(matrices, lr=5 * lr),
        torch.optim.AdamW(rest, lr=lr, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def draw(r: random.Random, progress: float) -> corpus.Dialogue:
    """Draw a dialogue by the curriculum: copying, then mostly look-ups, then workflows with look-ups among them."""
    x = r.random()
    if progress < 0.08:
        return corpus.copying(r) if x < 0.8 else corpus.direct(r)
    if progress < 0.35:
        return lookups(r) if x < 0.75 else corpus.direct(r) if x < 0.85 else workflow(r)
    return lookups(r) if x < 0.35 else corpus.direct(r) if x < 0.43 else workflow(r)


def batches(
    renderer: SlotRenderer, r: random.Random, progress: Callable[[], float], budget: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield padded (ids, labels) of at most `budget` tokens, rows of like length together."""
    while True:
        rows: list[Row] = []
        while len(rows) < 128:
            dialogue = draw(r, progress())
            rendered = renderer.render(dialogue["messages"], dialogue["tools"], rng=r)
            if len(rendered.input_ids) <= MAX_ROW:
                rows.append((rendered.input_ids, rendered.labels))
        rows.sort(key=lambda row: len(row[0]))
        groups: list[list[Row]] = [[]]
        for row in rows:
            if groups[-1] and (len(groups[-1]) + 1) * len(row[0]) > budget:
                groups.append([])
            groups[-1].append(row)
        r.shuffle(groups)
        yield from (_pad(group, renderer.pad_id) for group in groups)


def _pad(rows: list[Row], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    length = max(len(ids) for ids, _ in rows)
    ids = torch.tensor([i + [pad] * (length - len(i)) for i, _ in rows])
    labels = torch.tensor([lab + [-100] * (length - len(lab)) for _, lab in rows])
    return ids, labels


def rate(progress: float, step: int) -> float:
    """Return the share of the peak rate: warm-up, plateau, linear decay over the last 40 %."""
    return min(1.0, (step + 1) / 60) * (min(1.0, (1 - progress) / 0.4) * 0.98 + 0.02)


def train(rank: int, args: argparse.Namespace) -> None:
    """Train one process's share; process 0 logs and saves."""
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    dist.init_process_group("gloo", rank=rank, world_size=args.processes)
    out = Path(args.out)
    renderer = SlotRenderer(out)
    model = carried_over(Path(args.init), renderer) if args.init else new_model(renderer)
    parts = optimizers(model, args.lr)
    peaks = [[group["lr"] for group in part.param_groups] for part in parts]
    seen, started, mean = 0.0, time.time(), math.nan
    share = args.tokens / args.processes
    stream = batches(
        renderer,
        random.Random(f"{args.seed}-{rank}"),
        lambda: args.start + (1 - args.start) * seen / share,
        args.batch_tokens,
    )
    log = (out / "pretrain.jsonl").open("a", encoding="utf-8") if rank == 0 else None
    for step, (ids, labels) in enumerate(stream):
        loss = _loss(model, ids, labels)
        torch.autograd.backward(loss)
        total = _average(model, ids.numel(), args.processes)
        seen += total
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scale = rate(min(1.0, seen / share), step)
        for part, peak in zip(parts, peaks, strict=True):
            for group, lr in zip(part.param_groups, peak, strict=True):
                group["lr"] = lr * scale
            part.step()
            part.zero_grad()
        mean = loss.item() if math.isnan(mean) else 0.97 * mean + 0.03 * loss.item()
        if log and (step + 1) % 50 == 0:
            speed = args.processes * seen / (time.time() - started)
            row = {
                "step": step + 1,
                "tokens": int(seen * args.processes),
                "loss": round(mean, 4),
                "tokens_per_s": round(speed),
            }
            log.write(json.dumps(row) + "\n")
            log.flush()
        if log and (step + 1) % 500 == 0:
            model.save_pretrained(out)
        if seen >= share:
            break
    if log:
        model.save_pretrained(out)
        log.close()
    dist.destroy_process_group()


def _loss(model: Lfm2ForCausalLM, ids: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the mean cross-entropy of the trained tokens; logits are computed for those only."""
    hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state[:, :-1]
    wanted = labels[:, 1:] != -100
    return functional.cross_entropy(model.lm_head(hidden[wanted]), labels[:, 1:][wanted])


def _average(model: torch.nn.Module, tokens: int, processes: int) -> float:
    """Average the gradients over the processes; return the mean number of tokens a process saw."""
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    flat = torch.cat([*(g.reshape(-1) for g in grads), torch.tensor([float(tokens)])])
    dist.all_reduce(flat)
    flat /= processes
    at = 0
    for g in grads:
        g.copy_(flat[at : at + g.numel()].view_as(g))
        at += g.numel()
    return flat[-1].item()


def free_port() -> int:
    """Return a port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main() -> None:
    """Read the arguments and start the processes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True)
    parser.add_argument("--init", help="go on from the checkpoint in this folder")
    parser.add_argument("--start", type=float, default=0.0, help="where in the curriculum to start, 0 to 1")
    parser.add_argument("--tokens", type=float, default=9e6)
    parser.add_argument("--batch-tokens", type=int, default=2048, help="per process")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    Path(args.out).mkdir(parents=True, exist_ok=True)
    write_words(Path(args.out))
    os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
    os.environ.setdefault("MASTER_PORT", str(free_port()))
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=train, args=(rank, args), daemon=True) for rank in range(args.processes)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    if any(process.exitcode for process in processes):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
