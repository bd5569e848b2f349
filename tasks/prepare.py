"""Preparation: played conversations pass the gates and become dataset files and the fixed set of decisions."""

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, get_args

from tasks.core.config import ValidationConfig
from tasks.core.conversation import Conversation, GateVerdict
from tasks.core.coverage import cells_of
from tasks.core.dataset import (
    SEEN_PHRASING,
    DatasetFile,
    DatasetSplit,
    Funnel,
    RowMeta,
    Split,
    line_of,
    row_of,
)
from tasks.core.errors import DataError
from tasks.core.evaluation import DecisionSet, EvalItem, ItemMeta
from tasks.core.gates import kind_of
from tasks.core.leakage import LeakCheck, OverlapMeter
from tasks.core.phrases import is_held_out
from tasks.core.provenance import is_propagated
from tasks.core.record import sha256_of
from tasks.core.variety import VarietyMeter
from tasks.files import parse_json_lines, read_bytes, written_atomically
from tasks.gatekeeper import Gatekeeper, gates_of
from tasks.homes import Homes
from tasks.simulate import Progress, read_conversations
from tasks.world import World

Tools = Sequence[Mapping[str, Any]]


def prepare_dataset(
    shards: Sequence[Path],
    world: World,
    config: ValidationConfig,
    folder: Path,
    progress: Progress = lambda _done, _total: None,
) -> DatasetSplit:
    """Pass the conversations of shards through the gates and write `{train,valid,heldout}.jsonl` with their sidecars.

    Conversations in seen phrasing, where there are any, go into `seen_phrasing.jsonl`. `progress` is told how many
    shards are through, and of how many.

    Raises:
        DataError: Too few conversations pass, a split is left empty or leaks into another, or a file is unusable;
            then no file is written.
    """
    tallies = {phrasing: _Tally(gates_of(config, world.procedure)) for phrasing in ("own", "seen")}
    overlap, coverage, variety = OverlapMeter(), Counter[str](), VarietyMeter()

    def keep(conversation: Conversation, row: Mapping[str, Any]) -> None:
        if conversation.phrasing == "own":
            overlap.add(conversation.split, row["messages"])
        if conversation.split == "train":
            variety.add(row["messages"])
            if world.procedure:
                coverage.update(map(str, cells_of(conversation)))

    with ExitStack() as stack:
        files = _Files(stack, folder)
        asyncio.run(_sift(shards, world, config, tallies, files, keep, progress))
        funnel = tallies["own"].funnel()
        _check(funnel, config, files.written, overlap.share)
    return DatasetSplit(
        **{name: writer.file() for name, writer in files.written.items()},
        funnel=funnel,
        overlap=overlap.share,
        coverage=dict(coverage),
        variety=variety.figures(),
        policy_sha256=sha256_of(world.policy),
        tools_sha256=sha256_of(list(world.tools)),
    )


def write_eval_items(heldout: DatasetFile, folder: Path, name: str = "items") -> DecisionSet:
    """Write `items.jsonl`, or so named, with one decision for each assistant turn of the rows, and its sidecar.

    Raises:
        DataError: The rows or their sidecar are broken or do not belong together, or a file cannot be written.
    """
    path, meta_path = folder / f"{name}.jsonl", folder / f"{name}.meta.jsonl"
    digest, metas = hashlib.sha256(), list[ItemMeta]()
    with written_atomically(path) as file, written_atomically(meta_path) as meta_file:
        for row, row_meta in read_rows(heldout):
            for item, meta in _decisions(row, row_meta):
                line = line_of(item.model_dump(mode="json")) + b"\n"
                digest.update(line)
                file.write(line)
                meta_file.write(line_of(meta.model_dump(mode="json")) + b"\n")
                metas.append(meta)
    return DecisionSet(
        path=str(path),
        meta_path=str(meta_path),
        items=len(metas),
        call_items=sum(meta.kind == "call" for meta in metas),
        conversations=len({meta.conversation_id for meta in metas}),
        sha256=digest.hexdigest(),
    )


def read_rows(file: DatasetFile) -> Iterator[tuple[dict[str, Any], RowMeta]]:
    """Yield the rows of a dataset file with their sidecar lines.

    Raises:
        DataError: A line is broken, or the two files do not belong together.
    """
    path, meta_path = Path(file.path), Path(file.meta_path)
    lines = read_bytes(path).splitlines()
    metas = [RowMeta.model_validate(meta) for _, meta in parse_json_lines(read_bytes(meta_path), meta_path)]
    if len(lines) != len(metas):
        raise DataError(f"{path} has {len(lines)} rows but {meta_path} has {len(metas)} lines; prepare it again.")
    for number, (line, meta) in enumerate(zip(lines, metas, strict=True), start=1):
        if hashlib.sha256(line).hexdigest() != meta.row_sha256:
            raise DataError(f"{path}, line {number} is not the row that {meta_path} describes; prepare it again.")
        yield json.loads(line), meta


class _RowWriter:
    """Writes one file: the rows and, in the same order, their sidecar."""

    def __init__(self, stack: ExitStack, folder: Path, name: str, split: Split) -> None:
        self._split = split
        self._path, self._meta_path = folder / f"{name}.jsonl", folder / f"{name}.meta.jsonl"
        self._file = stack.enter_context(written_atomically(self._path))
        self._meta_file = stack.enter_context(written_atomically(self._meta_path))
        self._digest = hashlib.sha256()
        self.rows = 0

    def write(self, row: Mapping[str, Any], conversation: Conversation) -> RowMeta:
        line = line_of(row)
        meta = RowMeta(
            row_sha256=hashlib.sha256(line).hexdigest(),
            conversation_id=conversation.id,
            scenario_id=conversation.scenario_id,
            customer_id=conversation.customer_id,
            split=conversation.split,
            teacher=conversation.teacher,
            intents=conversation.intents,
            template_ids=conversation.template_ids,
            phrasing=conversation.phrasing,
        )
        for digested in (line, b"\n"):
            self._file.write(digested)
            self._digest.update(digested)
        self._meta_file.write(line_of(meta.model_dump(mode="json")) + b"\n")
        self.rows += 1
        return meta

    def file(self) -> DatasetFile:
        return DatasetFile(
            path=str(self._path),
            meta_path=str(self._meta_path),
            split=self._split,
            rows=self.rows,
            sha256=self._digest.hexdigest(),
        )


class _Files:
    """The files of a dataset by name, each opened for its first row."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self._stack, self._folder = stack, folder
        self.written: dict[str, _RowWriter] = {}

    def write(self, row: Mapping[str, Any], conversation: Conversation) -> RowMeta:
        name = conversation.split if conversation.phrasing == "own" else SEEN_PHRASING
        if name not in self.written:
            self.written[name] = _RowWriter(self._stack, self._folder, name, conversation.split)
        return self.written[name].write(row, conversation)


class _Tally:
    """Counts what each gate stops and why, with one example of each reason."""

    def __init__(self, gates: Sequence[str]) -> None:
        self.played = 0
        self._stopped = dict.fromkeys(gates, 0)
        self._reasons: Counter[str] = Counter()
        self._examples: dict[str, str] = {}

    def stop(self, conversation: Conversation, verdict: GateVerdict) -> None:
        reason = kind_of(verdict)
        self._stopped[verdict.gate] += 1
        self._reasons[reason] += 1
        turn = "" if verdict.turn is None else f", message {verdict.turn}"
        self._examples.setdefault(reason, f"{conversation.id}{turn}: {verdict.reason}")

    def funnel(self) -> Funnel:
        kept = self.played - sum(self._stopped.values())
        reasons = dict(self._reasons.most_common())
        return Funnel(
            played=self.played, stopped=self._stopped, reasons=reasons, kept=kept, examples=dict(self._examples)
        )


async def _sift(
    shards: Sequence[Path],
    world: World,
    config: ValidationConfig,
    tallies: Mapping[str, _Tally],
    files: _Files,
    keep: Callable[[Conversation, Mapping[str, Any]], None],
    progress: Progress,
) -> None:
    """Write the conversations that pass all gates."""
    leaks = LeakCheck(is_held_out, config.private, Homes().settle)
    async with world.sandbox() as sandbox:
        gates = Gatekeeper(config, sandbox, world.procedure)
        for done, shard in enumerate(shards, start=1):
            for conversation in read_conversations([shard]):
                tally = tallies[conversation.phrasing]
                tally.played += 1
                row = row_of(conversation, world.tools)
                failed = await gates.first_failure(conversation, row)
                if failed is not None:
                    tally.stop(conversation, failed)
                elif leak := leaks.leak(files.write(row, conversation), row["messages"]):
                    raise DataError(f"The splits leak: {leak}. No dataset was written.")
                else:
                    keep(conversation, row)
            progress(done, len(shards))


def _check(funnel: Funnel, config: ValidationConfig, written: Mapping[str, _RowWriter], overlap: float) -> None:
    if funnel.kept < config.min_yield * funnel.played:
        reasons = ", ".join(f"{reason} ({count})" for reason, count in funnel.reasons.items())
        raise DataError(
            f"Only {funnel.kept} of {funnel.played} conversations passed the gates, less than the share "
            f"{config.min_yield} that validation.min_yield asks for: {reasons}. No dataset was written."
        )
    if empty := [split for split in get_args(Split) if split not in written]:
        raise DataError(f"No conversation is left for {', '.join(empty)}; play more. No dataset was written.")
    if overlap > config.max_overlap:
        raise DataError(
            f"The splits leak: training holds {overlap:.1%} of the held-out customers' runs of eight words, more than "
            f"the share {config.max_overlap} that validation.max_overlap allows. No dataset was written."
        )


def _decisions(row: Mapping[str, Any], meta: RowMeta) -> Iterator[tuple[EvalItem, ItemMeta]]:
    """Yield each assistant turn of a row as a decision: the history before it, and what was right."""
    messages: list[dict[str, Any]] = row["messages"]
    turns = [turn for turn, message in enumerate(messages) if message["role"] == "assistant"]
    for depth, turn in enumerate(turns):
        history, gold = messages[:turn], messages[turn]
        calls = gold.get("tool_calls", [])
        expected = {"role": "assistant", "content": gold["content"], "tool_calls": calls}
        item = EvalItem(item={"messages": history, "tools": row["tools"], "expected_output": expected})
        yield (
            item,
            ItemMeta(
                item_id=f"{meta.conversation_id}/{turn}",
                conversation_id=meta.conversation_id,
                scenario_id=meta.scenario_id,
                customer_id=meta.customer_id,
                turn=turn,
                kind="call" if calls else "text",
                intents=tuple(dict.fromkeys(meta.intents)),
                tool=calls[0]["function"]["name"] if calls else None,
                depth=depth,
                propagates=_propagates(history, calls),
            ),
        )


def _propagates(history: Sequence[Mapping[str, Any]], calls: Sequence[Mapping[str, Any]]) -> bool:
    results = [message["content"] for message in history if message["role"] == "tool"]
    return any(is_propagated(json.loads(call["function"]["arguments"]), results) for call in calls)
