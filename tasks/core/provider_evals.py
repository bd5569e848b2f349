"""The Evals API of OpenAI and Azure: the request bodies that measure a decision set there, and what came of it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tasks.core import grader, statistics
from tasks.core.config import EvaluationConfig
from tasks.core.errors import EvaluationError
from tasks.core.evaluation import EvalItem, Score
from tasks.core.record import Record, sha256_of

GRADER = "tool calls"
# Stands in the run's body until the file is uploaded and has an id.
FILE_ID = "FILE_ID"


class ProviderResult(Record):
    """What a provider's grader gave one item; None where the item errored. `calls` are None where it does not tell."""

    item_key: str
    value: float | None
    calls: tuple[dict[str, Any], ...] | None = None


class ProviderComparison(Record):
    """A provider's results beside local ones on the same items; an item that errored or is missing is not right.

    `regraded` counts the items whose calls the provider shows, and which the local grader graded again; `misgraded`
    names those on which the two graders disagree. `p_value` is McNemar's exact test over all items.
    """

    items: int
    missing: int
    errored: int
    both_right: int
    only_local_right: int
    only_provider_right: int
    both_wrong: int
    p_value: float
    regraded: int
    misgraded: tuple[str, ...]


def eval_request(name: str, grader_source: str) -> dict[str, Any]:
    """Return the body of `POST /evals`: the shape of an item, and the grader's file as it is."""
    schema = {
        "type": "object",
        "properties": {
            "messages": {"type": "array"},
            "tools": {"type": "array"},
            "expected_output": {"type": "object"},
        },
        "required": ["messages", "tools", "expected_output"],
    }
    return {
        "name": name,
        "data_source_config": {"type": "custom", "item_schema": schema, "include_sample_schema": True},
        "testing_criteria": [{"type": "python", "name": GRADER, "source": grader_source, "pass_threshold": 1.0}],
    }


def run_request(model: str, items: Sequence[EvalItem], config: EvaluationConfig) -> dict[str, Any]:
    """Return the body of `POST /evals/{id}/runs`, sampled as the local evaluation samples; its file id is open.

    Raises:
        EvaluationError: The items do not all have the same tools, and a run has one list of them.
    """
    tools = [item.item.get("tools") or [] for item in items]
    if not tools or any(other != tools[0] for other in tools):
        raise EvaluationError("The items of the set have different tools, or there are none; a run has one list.")
    sampling: dict[str, Any] = {
        "temperature": 0,
        "seed": config.seed,
        "max_completion_tokens": config.max_completion_tokens,
    }
    return {
        "name": model,
        "data_source": {
            "type": "completions",
            "model": model,
            "source": {"type": "file_id", "id": FILE_ID},
            "input_messages": {"type": "item_reference", "item_reference": "item.messages"},
            "sampling_params": sampling | ({"tools": tools[0]} if tools[0] else {}),
        },
    }


def item_key(item: Mapping[str, Any]) -> str:
    """Return what names an item on both sides: the digest of its history and of its right answer."""
    return sha256_of([item.get("messages"), item.get("expected_output")])


def read_result(wire: Mapping[str, Any]) -> ProviderResult:
    """Read one output item of a run (`GET /evals/{id}/runs/{id}/output_items`).

    Raises:
        ValueError: It holds no item, or no result of the grader and no error either.
    """
    held = wire.get("datasource_item")
    item = held.get("item", held) if isinstance(held, dict) else None
    if not isinstance(item, dict):
        raise ValueError("datasource_item is missing")
    sampled = wire.get("sample")
    sample = sampled if isinstance(sampled, dict) else {}
    results = [
        r for r in wire.get("results") or () if isinstance(r, dict) and str(r.get("name", "")).startswith(GRADER)
    ]
    score = results[0].get("score") if results else None
    if not isinstance(score, int | float):
        if not _failed(wire, sample):
            raise ValueError(f"results hold no score of the grader {GRADER!r}")
        return ProviderResult(item_key=item_key(item), value=None)
    return ProviderResult(item_key=item_key(item), value=float(score), calls=_calls(sample))


def compare_results(
    items: Sequence[EvalItem], scores: Sequence[Score], results: Iterable[ProviderResult]
) -> ProviderComparison:
    """Return local scores and a provider's results side by side, item by item.

    Raises:
        EvaluationError: The results are of other items, or name one of them twice.
    """
    found: dict[str, ProviderResult] = {}
    for result in results:
        if result.item_key in found:
            raise EvaluationError(f"Two results are of one item, {result.item_key[:12]}; read the results of one run.")
        found[result.item_key] = result
    keys = [item_key(item.item) for item in items]
    if len(set(keys)) < len(keys):
        raise EvaluationError("Two items of the set are the same; results cannot be told apart.")
    if strangers := found.keys() - set(keys):
        raise EvaluationError(f"{len(strangers)} results are of items that are not in this set; evaluate the same set.")
    table = [[0, 0], [0, 0]]
    for key, score in zip(keys, scores, strict=True):
        theirs = found.get(key)
        table[score.value == 1.0][theirs is not None and theirs.value == 1.0] += 1
    shown = [(i, s, found[k]) for k, i, s in zip(keys, items, scores, strict=True) if k in found]
    regraded = [(score.item_id, _regrade(item, result)) for item, score, result in shown if result.calls is not None]
    return ProviderComparison(
        items=len(items),
        missing=len(items) - len(found),
        errored=sum(result.value is None for result in found.values()),
        both_right=table[1][1],
        only_local_right=table[1][0],
        only_provider_right=table[0][1],
        both_wrong=table[0][0],
        p_value=statistics.mcnemar(table[1][0], table[0][1]),
        regraded=len(regraded),
        misgraded=tuple(item_id for item_id, alike in regraded if not alike),
    )


def _regrade(item: EvalItem, result: ProviderResult) -> bool:
    """Return whether the local grader gives the provider's answer the provider's score."""
    ours = grader.grade({"output_tools": list(result.calls or ())}, item.item)
    return result.value is not None and abs(ours - result.value) < 1e-5


def _score(results: Iterable[Any]) -> Any:
    """Return the score of our grader; a provider may put an id behind its name."""
    ours = (r for r in results if isinstance(r, dict) and str(r.get("name", "")).startswith(GRADER))
    return next(ours, {}).get("score")


def _failed(wire: Mapping[str, Any], sample: Mapping[str, Any]) -> bool:
    error = sample.get("error")
    return wire.get("status") in {"error", "errored"} or (isinstance(error, dict) and bool(error.get("message")))


def _calls(sample: Mapping[str, Any]) -> tuple[dict[str, Any], ...] | None:
    """Return the tool calls that the sampled answer shows, or None where it has no answer at all."""
    output = sample.get("output")
    messages = [message for message in output if isinstance(message, dict)] if isinstance(output, list) else []
    if not messages:
        return None
    return tuple(call for message in messages for call in message.get("tool_calls") or () if isinstance(call, dict))
