"""Preparation: played conversations pass the gates and become dataset files and the fixed set of decisions."""

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, get_args

from tasks.core.config import ValidationConfig
from tasks.core.conversation import Conversation, GateVerdict
from tasks.core.dataset import (
    DatasetFile,
    DatasetSplit,
    Funnel,
    LeakCheck,
    RowMeta,
    Split,
    content_key,
    line_of,
    row_of,
)
from tasks.core.errors import DataError
from tasks.core.evaluation import DecisionSet, EvalItem, ItemMeta
from tasks.core.gates import ROW_GATES, ToolShelf, kind_of
from tasks.core.phrases import is_held_out
from tasks.core.provenance import is_propagated
from tasks.core.record import sha256_of
from tasks.files import parse_json_lines, read_bytes, written_atomically
from tasks.simulate import Progress, read_conversations
from tasks.world import Sandbox, World

DUPLICATE = "duplicate"

Tools = Sequence[Mapping[str, Any]]


def prepare_dataset(
    shards: Sequence[Path],
    world: World,
    config: ValidationConfig,
    folder: Path,
    progress: Progress = lambda _done, _total: None,
) -> DatasetSplit:
    """Pass the conversations of shards through the gates and write `{train,valid,heldout}.jsonl` with their sidecars.

    `progress` is told how many shards are through, and of how many.

    Raises:
        DataError: Too few conversations pass, a split is left empty or leaks into another, or a file is unusable;
            then no file is written.
    """
    tally = _Tally(config.gates)
    with ExitStack() as stack:
        writers = {split: _RowWriter(stack, folder, split, world.tools) for split in get_args(Split)}
        asyncio.run(_sift(shards, world, tally, writers, progress))
        funnel = tally.funnel()
        _check(funnel, config, writers)
    files = {split: writer.file() for split, writer in writers.items()}
    policy_sha256, tools_sha256 = sha256_of(world.policy), sha256_of(list(world.tools))
    return DatasetSplit(**files, funnel=funnel, policy_sha256=policy_sha256, tools_sha256=tools_sha256)


def write_eval_items(heldout: DatasetFile, folder: Path) -> DecisionSet:
    """Write `items.jsonl` with one decision for each assistant turn of the held-out rows, and its sidecar.

    Raises:
        DataError: The rows or their sidecar are broken or do not belong together, or a file cannot be written.
    """
    path, meta_path = folder / "items.jsonl", folder / "items.meta.jsonl"
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


async def execution_verdict(conversation: Conversation, sandbox: Sandbox) -> GateVerdict:
    """Say whether every call gives the same result on a fresh sandbox, and the world ends in the same state."""
    await sandbox.reset()
    results = {m.tool_call_id: m.content for m in conversation.messages if m.role == "tool"}
    for turn, message in enumerate(conversation.messages):
        for call in message.tool_calls:
            text, _ = await sandbox.call(call.name, call.parsed() or {})
            if text != results.get(call.id):
                reason = f"another result: {call.name}{call.arguments} now gives {text[:200]!r}"
                return GateVerdict(gate="execution", passed=False, reason=reason, turn=turn)
    if (state := sandbox.state()) != conversation.final_state:
        reason = f"another final state: {state[:12]}, not {conversation.final_state[:12]}"
        return GateVerdict(gate="execution", passed=False, reason=reason)
    return GateVerdict(gate="execution", passed=True)


class _RowWriter:
    """Writes one split: the rows and, in the same order, their sidecar."""

    def __init__(self, stack: ExitStack, folder: Path, split: Split, tools: Tools) -> None:
        self._split, self._tools = split, tools
        self._path, self._meta_path = folder / f"{split}.jsonl", folder / f"{split}.meta.jsonl"
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
        )
        for digested in (line, b"\n"):
            self._file.write(digested)
            self._digest.update(digested)
        self._meta_file.write(line_of(meta.model_dump(mode="json")) + b"\n")
        self.rows += 1
        return meta

    def row(self, conversation: Conversation) -> dict[str, Any]:
        return row_of(conversation, self._tools)

    def file(self) -> DatasetFile:
        return DatasetFile(
            path=str(self._path),
            meta_path=str(self._meta_path),
            split=self._split,
            rows=self.rows,
            sha256=self._digest.hexdigest(),
        )


class _Tally:
    """Counts what each gate stops and why."""

    def __init__(self, gates: Sequence[str]) -> None:
        self.gates = tuple(gates)
        self.played = 0
        self._stopped = dict.fromkeys((*gates, DUPLICATE), 0)
        self._reasons: Counter[str] = Counter()

    def stop(self, gate: str, reason: str) -> None:
        self._stopped[gate] += 1
        self._reasons[reason] += 1

    def funnel(self) -> Funnel:
        kept = self.played - sum(self._stopped.values())
        return Funnel(played=self.played, stopped=self._stopped, reasons=dict(self._reasons.most_common()), kept=kept)


async def _sift(
    shards: Sequence[Path], world: World, tally: _Tally, writers: Mapping[Split, _RowWriter], progress: Progress
) -> None:
    """Write the conversations that pass all gates and say something new."""
    shelf, leaks, seen = ToolShelf(), LeakCheck(is_held_out), set[str]()
    async with world.sandbox() as sandbox:
        for done, shard in enumerate(shards, start=1):
            for conversation in read_conversations([shard]):
                tally.played += 1
                writer, key = writers[conversation.split], content_key(conversation)
                row = writer.row(conversation)
                failed = await first_failure(conversation, row, tally.gates, shelf, sandbox)
                if failed is not None:
                    tally.stop(failed.gate, kind_of(failed))
                elif key in seen:
                    tally.stop(DUPLICATE, DUPLICATE)
                elif leak := leaks.leak(writer.write(row, conversation)):
                    raise DataError(f"The splits leak: {leak}. No dataset was written.")
                seen.add(key)
            progress(done, len(shards))


async def first_failure(
    conversation: Conversation, row: Mapping[str, Any], gates: Sequence[str], shelf: ToolShelf, sandbox: Sandbox
) -> GateVerdict | None:
    """Return what the first gate says that a conversation does not pass, or None."""
    for gate in gates:
        if gate == "execution":
            verdict = await execution_verdict(conversation, sandbox)
        else:
            verdict = ROW_GATES[gate](row, shelf)
        if not verdict.passed:
            return verdict
    return None


def _check(funnel: Funnel, config: ValidationConfig, writers: Mapping[Split, _RowWriter]) -> None:
    if funnel.kept < config.min_yield * funnel.played:
        reasons = ", ".join(f"{reason} ({count})" for reason, count in funnel.reasons.items())
        raise DataError(
            f"Only {funnel.kept} of {funnel.played} conversations passed the gates, less than the share "
            f"{config.min_yield} that validation.min_yield asks for: {reasons}. No dataset was written."
        )
    if empty := [split for split, writer in writers.items() if not writer.rows]:
        raise DataError(f"No conversation is left for {', '.join(empty)}; play more. No dataset was written.")


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
                template_unseen=all(map(is_held_out, meta.template_ids)),
            ),
        )


def _propagates(history: Sequence[Mapping[str, Any]], calls: Sequence[Mapping[str, Any]]) -> bool:
    results = [message["content"] for message in history if message["role"] == "tool"]
    return any(is_propagated(json.loads(call["function"]["arguments"]), results) for call in calls)
