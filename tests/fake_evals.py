"""The Evals API on 127.0.0.1: checks items against the schema, samples by script, and runs the uploaded grader.

The grader's source runs in a bare interpreter of its own (`-I -S`: no environment, no packages), as a provider would.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from jsonschema import validate

from tests.fake_finetuning import FakeFinetuning
from tests.job_machine import NOT_FOUND, Json, as_page

HARNESS = """
scope = {}
exec(compile(given["source"], "grader", "exec"), scope)
print(json.dumps([scope["grade"](sample, item) for sample, item in given["pairs"]]))
"""


@dataclass
class FakeEvals(FakeFinetuning):
    """The provider. `sample` answers an item's messages; None stands for an item that errors."""

    sample: Callable[[Json], Json | None] = lambda item: {"role": "assistant", "content": "Hello"}
    evals: dict[str, Json] = field(default_factory=dict)
    output_items: dict[str, list[Json]] = field(default_factory=dict)

    def _answer(
        self, method: str, path: str, query: dict[str, list[str]], body: bytes, headers: Any
    ) -> tuple[int, Json]:
        match (method, path.strip("/").split("/")):
            case "POST", ["evals"]:
                self.evals[f"eval_{len(self.evals) + 1}"] = json.loads(body)
                return 200, {"id": f"eval_{len(self.evals)}", "object": "eval", **json.loads(body)}
            case "POST", ["evals", eval_id, "runs"]:
                return 200, self._run(eval_id, json.loads(body))
            case "GET", ["evals", _, "runs", run_id, "output_items"]:
                return 200, as_page(self.output_items.get(run_id, []))
            case _, ["evals", *_]:
                return NOT_FOUND
        return super()._answer(method, path, query, body, headers)

    def _run(self, eval_id: str, wanted: Json) -> Json:
        wanted_eval, source = self.evals[eval_id], wanted["data_source"]
        rows = [json.loads(line)["item"] for line in self.contents[source["source"]["id"]].splitlines()]
        for row in rows:
            validate(row, wanted_eval["data_source_config"]["item_schema"])
        [criterion] = wanted_eval["testing_criteria"]
        answers = [self.sample(row) for row in rows]
        pairs = [({"output_tools": a.get("tool_calls") or []}, r) for a, r in zip(answers, rows, strict=True) if a]
        scores = iter(run_grader(criterion["source"], pairs))
        run_id = f"evalrun_{len(self.output_items) + 1}"
        self.output_items[run_id] = [
            _output_item(number, row, answer, criterion, next(scores) if answer else None)
            for number, (row, answer) in enumerate(zip(rows, answers, strict=True))
        ]
        return {"id": run_id, "object": "eval.run", "eval_id": eval_id, "status": "completed", **wanted}


def run_grader(source: str, pairs: list[tuple[Json, Json]]) -> list[float]:
    """Return what a grader's source gives each sample and item, in an interpreter that has nothing else."""
    program = f"import json, sys\ngiven = json.load(sys.stdin)\n{HARNESS}"
    given = json.dumps({"source": source, "pairs": pairs})
    command = [sys.executable, "-I", "-S", "-c", program]
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=True)
    scores: list[float] = json.loads(done.stdout)
    return scores


def _output_item(number: int, row: Json, answer: Json | None, criterion: Json, score: float | None) -> Json:
    result = {"name": f"{criterion['name']}-1a2b", "type": "python", "score": score}
    error = None if answer else {"code": "timeout", "message": "no answer"}
    return {
        "id": f"outputitem_{number}",
        "object": "eval.run.output_item",
        "datasource_item_id": number,
        "datasource_item": row,
        "status": "error" if score is None else "pass" if score >= criterion["pass_threshold"] else "fail",
        "results": [] if score is None else [{**result, "passed": score >= criterion["pass_threshold"]}],
        "sample": {"output": [answer] if answer else [], "error": error},
    }
