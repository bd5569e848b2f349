"""Recorded conversations as MLflow traces, with their verdicts, linked to the run and to the model that held them."""

import json
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tasks import mlflow_store
from tasks.core.config import TrackingConfig
from tasks.core.run import TrackedRun
from tasks.files import read_bytes
from tasks.tracing import PASSED, REASONS

if TYPE_CHECKING:
    from mlflow.entities import Assessment, Span, TraceInfo
    from mlflow.tracing.client import TracingClient

# What MLflow links at once.
AT_ONCE = 100
JUDGE = "zava.story"
_MODEL_ID = "mlflow.modelId"
_RUN_ID = "mlflow.sourceRun"
_NAME = "mlflow.traceName"


def record(tracking: TrackingConfig, run: TrackedRun, paths: Sequence[Path], logged_model: str | None) -> int:
    """Send the conversations in files of spans, each once, and link them to a run; return how many there are.

    One that an earlier run sent stays that run's and its model's, and is linked to this one too.

    Raises:
        DataError: A file cannot be read.
        ServiceError: MLflow does not answer.
    """
    from mlflow.tracing.client import TracingClient

    traces = [trace for path in paths for trace in _traces_of(path)]
    if not traces:
        return 0
    with mlflow_store.connected(tracking, "record conversations") as client:
        tracing = TracingClient(tracking.mlflow_uri)
        linked = {_RUN_ID: run.run_id} | ({_MODEL_ID: logged_model} if logged_model else {})
        fresh = [spans for spans in traces if not _is_there(tracing, spans[0].trace_id)]
        for spans in fresh:
            tracing.start_trace(_info(run.experiment_id, spans, linked))
        if fresh:
            tracing.log_spans(run.experiment_id, [span for spans in fresh for span in spans])
        ids = [spans[0].trace_id for spans in traces]
        for start in range(0, len(ids), AT_ONCE):
            client.link_traces_to_run(ids[start : start + AT_ONCE], run.run_id)
    return len(traces)


def _traces_of(path: Path) -> "list[list[Span]]":
    """Return the spans of each conversation in a file; those of one that broke off have no root and are left out."""
    from mlflow.entities import Span

    request = ExportTraceServiceRequest.FromString(read_bytes(path))
    spans = [
        Span.from_otel_proto(span, resource=of_resource.resource)
        for of_resource in request.resource_spans
        for of_scope in of_resource.scope_spans
        for span in of_scope.spans
    ]
    spans.sort(key=lambda span: span.trace_id)
    traces = [list(several) for _, several in groupby(spans, key=lambda span: span.trace_id)]
    return [trace for trace in traces if any(span.parent_id is None for span in trace)]


def _is_there(tracing: "TracingClient", trace_id: str) -> bool:
    from mlflow.exceptions import MlflowException

    try:
        tracing.get_trace_info(trace_id)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return False
        raise
    return True


def _info(experiment_id: str, spans: "Sequence[Span]", linked: dict[str, str]) -> "TraceInfo":
    from mlflow.entities import TraceInfo, TraceLocation, TraceState

    root = next(span for span in spans if span.parent_id is None)
    took_ns = (root.end_time_ns or root.start_time_ns) - root.start_time_ns
    return TraceInfo(
        trace_id=root.trace_id,
        trace_location=TraceLocation.from_experiment_id(experiment_id),
        request_time=root.start_time_ns // 1_000_000,
        execution_duration=took_ns // 1_000_000,
        state=TraceState.OK,
        request_preview=_words(root, "gen_ai.input.messages", 0),
        response_preview=_words(root, "gen_ai.output.messages", -1),
        trace_metadata=linked,
        tags={_NAME: root.name},
        assessments=_verdict(root),
    )


def _words(root: "Span", name: str, place: int) -> str | None:
    """Return the words of one of a span's messages, for the list of traces."""
    held: Any = root.get_attribute(name) or "[]"
    messages = json.loads(held) if isinstance(held, str) else held
    said = [part["content"] for message in messages for part in message["parts"] if part["type"] == "text"]
    return said[place] if said else None


def _verdict(root: "Span") -> "list[Assessment]":
    from mlflow.entities import AssessmentSource, Feedback

    passed = root.get_attribute(PASSED)
    if passed is None:
        return []
    reasons = "; ".join(root.get_attribute(REASONS) or ()) or None
    source = AssessmentSource(source_type="CODE", source_id=JUDGE)
    return [Feedback(name="passed", value=passed, rationale=reasons, source=source, trace_id=root.trace_id)]
