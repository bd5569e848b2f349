"""Takes a decision set to a provider's Evals API and brings its results back."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from tasks.core import grader
from tasks.core.config import EvaluationConfig
from tasks.core.errors import DataError
from tasks.core.evaluation import DecisionSet, EvalReport
from tasks.core.provider_evals import (
    ProviderComparison,
    ProviderResult,
    compare_results,
    eval_request,
    read_result,
    run_request,
)
from tasks.evaluate import read_decisions, read_scores
from tasks.files import parse_json_lines, read_bytes, write_atomically


class Exported(NamedTuple):
    """The files of an export: the items to upload (purpose `evals`) and the two request bodies."""

    items: Path
    eval_body: Path
    run_body: Path


def export_eval(decision_set: DecisionSet, model: str, config: EvaluationConfig, folder: Path) -> Exported:
    """Write a decision set and the request bodies that evaluate a model on it at OpenAI or Azure.

    Raises:
        DataError: The set is missing or changed, or the folder cannot be written.
        EvaluationError: The items have different tools.
    """
    items = [decision.item for decision in read_decisions(decision_set)]
    source = Path(grader.__file__).read_text(encoding="utf-8")
    exported = Exported(folder / "items.jsonl", folder / "eval.json", folder / "run.json")
    write_atomically(exported.items, read_bytes(Path(decision_set.path)))
    for path, body in (
        (exported.eval_body, eval_request(f"zava decisions {decision_set.sha256[:12]}", source)),
        (exported.run_body, run_request(model, items, config)),
    ):
        write_atomically(path, json.dumps(body, indent=2, ensure_ascii=False).encode() + b"\n")
    return exported


def read_results(path: Path) -> list[ProviderResult]:
    """Return the results of a provider's run: a page or a list of output items as JSON, or one a line.

    Raises:
        DataError: The file cannot be read, or an entry is no output item.
    """
    results = []
    for number, wire in enumerate(_output_items(path), start=1):
        try:
            results.append(read_result(wire))
        except ValueError as error:
            raise DataError(f"{path}, output item {number}: {error}.") from error
    return results


def compare_with_provider(decision_set: DecisionSet, report: EvalReport, path: Path) -> ProviderComparison:
    """Compare the results in a file with the local report on the same set.

    Raises:
        DataError: A file is missing, broken or changed.
        EvaluationError: The results are of other items.
    """
    items = [decision.item for decision in read_decisions(decision_set)]
    return compare_results(items, read_scores(report), read_results(path))


def _output_items(path: Path) -> list[dict[str, Any]]:
    content = read_bytes(path)
    try:
        whole = json.loads(content)
    except ValueError:
        return [line for _, line in parse_json_lines(content, path)]
    if isinstance(whole, dict):
        whole = whole.get("data", [whole])
    if not isinstance(whole, list) or not all(isinstance(entry, dict) for entry in whole):
        raise DataError(f"{path} holds no list of output items.")
    return whole
