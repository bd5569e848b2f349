"""The report of many decisions: processor time to write it, its size, and the time a browser takes to open it.

    python -m tests.bench.bench_report [--decisions 100000]

The scores are planted: every third decision of the tuned model fails, and all of the base, by each kind in turn. The
decisions that are shown have histories longer than a page shows.
"""

import argparse
import hashlib
import json
import resource
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from tasks.close_ups import read_metas
from tasks.core import metrics, outcomes
from tasks.core.config import EvaluationConfig
from tasks.core.conversation import ToolCall
from tasks.core.evaluation import Comparison, DecisionSet, EvalReport, Score
from tasks.core.failure import STAGES
from tasks.report import write_report
from tests import runs
from tests.browser import INSTALL, a_page
from tests.decisions import write_decisions

out = Console(highlight=False)
CONFIG = EvaluationConfig(bootstrap_samples=100)
LOAD_MS = "performance.getEntriesByType('navigation')[0].loadEventEnd"


def with_long_histories(decisions: DecisionSet, items: int = 300, messages: int = 40) -> DecisionSet:
    """Put talk before the history of the first decisions, from which the shown ones are taken."""
    path = Path(decisions.path)
    lines = path.read_bytes().splitlines(keepends=True)
    talk = [{"role": ("user", "assistant")[turn % 2], "content": f"{turn} " + "tea " * 300} for turn in range(messages)]
    for place, line in enumerate(lines[:items]):
        item = json.loads(line)["item"]
        system, *rest = item["messages"]
        lines[place] = json.dumps({"item": {**item, "messages": [system, *talk, *rest]}}).encode() + b"\n"
    content = b"".join(lines)
    path.write_bytes(content)
    return decisions.model_copy(update={"sha256": hashlib.sha256(content).hexdigest()})


def scores(decisions: DecisionSet, arm: str) -> Iterator[Score]:
    kinds = list(STAGES)
    call = ToolCall(id="1", name="get_user_details", arguments='{"user_id": "ann_lee_80279"}')
    for place, meta in enumerate(read_metas(Path(decisions.meta_path))):
        wrong = arm == "base" or place % 3 == 0
        kind = kinds[place // 3 % len(kinds)] if wrong else None
        yield Score(
            item_id=meta.item_id,
            value=0.0 if wrong else 1.0,
            answer="",
            explanation="planted",
            move="read" if meta.kind == "call" else "tell",
            called=meta.kind == "call",
            failure=kind,
            made=(call,) if meta.kind == "call" else (),
        )


def a_report(decisions: DecisionSet, arm: str, folder: Path) -> EvalReport:
    found, metas = list(scores(decisions, arm)), list(read_metas(Path(decisions.meta_path)))
    path = folder / f"{arm}.scores.jsonl"
    content = "".join(score.model_dump_json() + "\n" for score in found).encode()
    path.write_bytes(content)
    return runs.a_report(folder / "rest", arm, 0.5, decisions.sha256).model_copy(
        update={
            "metrics": metrics.measure(found, metas, CONFIG),
            "slices": metrics.measure_slices(found, metas, CONFIG),
            "outcomes": outcomes.by_move(found),
            "scores_path": str(path),
            "scores_sha256": hashlib.sha256(content).hexdigest(),
        }
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--decisions", type=int, default=100_000)
    wanted = parser.parse_args().decisions
    if shutil.which("chromium") is None:
        parser.exit(1, f"No Chromium on PATH, which opens the report; on Debian: {INSTALL}\n")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        decisions = with_long_histories(write_decisions(folder / "set", -(-wanted // 3)))
        base, tuned = (a_report(decisions, arm, folder) for arm in ("base", "tuned"))
        change = runs.a_comparison(folder / "rest").differences
        compared = Comparison(base=base, tuned=tuned, differences=change)
        run = runs.a_summary(folder / "rest", decisions=decisions, comparison=compared, standings=None)
        began = time.process_time()
        written = write_report(run, folder / "report")
        took = time.process_time() - began
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        size = written.html.stat().st_size / 1e6
        out.print(f"{decisions.items:,} decisions: {took:.1f} s of processor time, {size:.2f} MB, {memory:,.0f} MiB")
        for width in (390, 1280):
            with a_page(width=width) as (page, _):
                page.goto(written.html.as_uri())
                out.print(f"opened at {width} pixels after {page.evaluate(LOAD_MS) / 1000:.2f} s (wall clock)")


if __name__ == "__main__":
    main()
