"""What a model did with each decision, as a table in MLflow: one row an item, the same rows for every model."""

from typing import Any

from tasks import mlflow_store
from tasks.core.config import TrackingConfig
from tasks.core.evaluation import DecisionSet, EvalReport, Score
from tasks.core.outcomes import outcome_of
from tasks.core.run import TrackedRun
from tasks.evaluate import Decision, read_decisions, read_scores

TABLE = "evaluation_table.json"


def table(tracking: TrackingConfig, run: TrackedRun, decision_set: DecisionSet, report: EvalReport) -> None:
    """Record the row of every decision of an arm, once.

    Raises:
        DataError: The set or the scores are missing or were changed.
        ServiceError: MLflow does not answer.
    """
    rows = [
        _row(decision, score) for decision, score in zip(read_decisions(decision_set), read_scores(report), strict=True)
    ]
    with mlflow_store.connected(tracking, "record the table of decisions") as client:
        # MLflow appends to a table that is there.
        if rows and not any(artifact.path == TABLE for artifact in client.list_artifacts(run.run_id)):
            client.log_table(run.run_id, {name: [row[name] for row in rows] for name in rows[0]}, TABLE)


def _row(decision: Decision, score: Score) -> dict[str, Any]:
    meta, messages = decision.meta, decision.item.item["messages"]
    return {
        "item": meta.item_id,
        "intents": ", ".join(meta.intents),
        "customer": next((str(m["content"]) for m in reversed(messages) if m["role"] == "user"), ""),
        "right": meta.tool or score.move,
        "answer": score.answer,
        "outcome": outcome_of(score),
        "score": score.value,
        "explanation": score.explanation,
        "seconds": round(score.latency_s, 3),
        "tokens": score.prompt_tokens + score.completion_tokens,
    }
