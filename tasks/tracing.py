"""Spans of conversations, by OpenTelemetry's conventions for generative AI; where nobody records, nothing is made.

A conversation is an `invoke_agent`, in it each answer of the model a `chat` and each call an `execute_tool`. Whoever
wants them opens `written_to` or `sent_to` around the conversation; the loop knows neither.
"""

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import NoOpTracer, Span, SpanKind, StatusCode, Tracer

from tasks.core.conversation import Message, ToolCall
from tasks.core.evaluation import Answer
from tasks.files import write_atomically

AGENT = "zava-retail"
SENDING_S = 10  # at most, for a batch of spans
LAST_SPANS = "last spans"  # the thread that sends what is left when a conversation is over
# Attributes of a conversation's span beside those of the conventions.
MODEL, PASSED, REASONS, STORY = "gen_ai.request.model", "zava.passed", "zava.reasons", "gen_ai.conversation.id"

# Not the provider that the process shares: into that one Prefect would put its own spans.
_tracer: ContextVar[Tracer] = ContextVar("tracer")
_SILENT = NoOpTracer()


def _provider(processor: SpanProcessor) -> TracerProvider:
    provider = TracerProvider(resource=Resource.create({"service.name": "zava"}), shutdown_on_exit=False)
    provider.add_span_processor(processor)
    return provider


@contextmanager
def _recorded_by(provider: TracerProvider) -> Iterator[None]:
    token = _tracer.set(provider.get_tracer("zava"))
    try:
        yield
    finally:
        _tracer.reset(token)


@contextmanager
def written_to(path: Path) -> Iterator[None]:
    """Write the spans of what happens meanwhile into a file, as an OTLP request, unless it fails."""
    memory = InMemorySpanExporter()
    with _recorded_by(_provider(SimpleSpanProcessor(memory))):
        yield
        write_atomically(path, encode_spans(memory.get_finished_spans()).SerializeToString())


@contextmanager
def sent_to(address: str, headers: Mapping[str, str]) -> Iterator[None]:
    """Send the spans of what happens meanwhile to an OTLP endpoint, in the background; a lost one is logged.

    Only the end of the process waits for the last ones.
    """
    provider = _provider(BatchSpanProcessor(OTLPSpanExporter(address, headers=dict(headers), timeout=SENDING_S)))
    try:
        with _recorded_by(provider):
            yield
    finally:
        # It sends what is left, which takes as long as the other side lets it; here it would hold up all that go on.
        threading.Thread(target=provider.shutdown, name=LAST_SPANS).start()


@contextmanager
def conversation(name: str, conversation_id: str, model: str, messages: Sequence[Message]) -> Iterator[Span]:
    """Record a conversation from here on; `messages` is read again at its end."""
    before = len(messages)
    attributes = {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": AGENT,
        STORY: conversation_id,
        MODEL: model,
    }
    tracer = _tracer.get(_SILENT)
    # A trace of its own, also within somebody else's span.
    with tracer.start_as_current_span(name, Context(), SpanKind.INTERNAL, attributes) as span:
        try:
            yield span
        finally:
            if span.is_recording():
                policy = [m.content for m in messages if m.role == "system"]
                said = [m for m in messages[before:] if m.role == "user"] or [m for m in messages if m.role == "user"]
                last = [m for m in messages[before:] if m.role == "assistant"][-1:]
                span.set_attribute("gen_ai.system_instructions", _json([_text(text) for text in policy]))
                span.set_attribute("gen_ai.input.messages", _json([_shown(m) for m in said]))
                span.set_attribute("gen_ai.output.messages", _json([_shown(m) for m in last]))


@contextmanager
def chat(model: str, messages: Sequence[Message], max_tokens: int) -> Iterator[Callable[[Answer], None]]:
    """Record one answer of a model, which the caller tells when it is there."""
    attributes: Mapping[str, str | int] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        MODEL: model,
        "gen_ai.request.max_tokens": max_tokens,
    }
    with _tracer.get(_SILENT).start_as_current_span(f"chat {model}", None, SpanKind.CLIENT, attributes) as span:
        if span.is_recording():
            # The policy is that of the whole conversation, and stands there.
            told = [_shown(message) for message in messages if message.role != "system"]
            span.set_attribute("gen_ai.input.messages", _json(told))
        yield lambda given: _answered(span, given)


def _answered(span: Span, given: Answer) -> None:
    if not span.is_recording():
        return
    if given.error is not None:
        span.set_attribute("error.type", given.error)
        span.set_status(StatusCode.ERROR, given.error_message)
        return
    reason = given.finish_reason or "stop"
    spoken = Message(role="assistant", content=given.content, tool_calls=given.tool_calls)
    span.set_attribute("gen_ai.output.messages", _json([{**_shown(spoken), "finish_reason": reason}]))
    span.set_attribute("gen_ai.response.finish_reasons", [reason])
    span.set_attribute("gen_ai.usage.input_tokens", given.prompt_tokens)
    span.set_attribute("gen_ai.usage.output_tokens", given.completion_tokens)


@contextmanager
def tool(call: ToolCall) -> Iterator[Callable[[str, bool], None]]:
    """Record one call, of which the caller tells the result and whether it is a refusal."""
    attributes = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": call.name,
        "gen_ai.tool.call.id": call.id,
        "gen_ai.tool.type": "function",
        "gen_ai.tool.call.arguments": call.arguments,
    }
    tracer = _tracer.get(_SILENT)
    with tracer.start_as_current_span(f"execute_tool {call.name}", None, SpanKind.INTERNAL, attributes) as span:

        def told(result: str, is_error: bool) -> None:
            span.set_attribute("gen_ai.tool.call.result", result)
            if is_error:
                span.set_attribute("error.type", "refused")
                span.set_status(StatusCode.ERROR, result)

        yield told


def judged(span: Span, *, passed: bool, reasons: Sequence[str]) -> None:
    """Put the verdict on a conversation into its span."""
    span.set_attribute(PASSED, passed)
    span.set_attribute(REASONS, list(reasons))


def _shown(message: Message) -> dict[str, Any]:
    """Return a message in the form of the conventions."""
    parts: list[dict[str, Any]] = []
    if message.role == "tool":
        parts.append({"type": "tool_call_response", "id": message.tool_call_id, "response": message.content})
    elif message.content:
        parts.append(_text(message.content))
    for call in message.tool_calls:
        arguments = call.parsed()
        given = call.arguments if arguments is None else arguments
        parts.append({"type": "tool_call", "id": call.id, "name": call.name, "arguments": given})
    return {"role": message.role, "parts": parts}


def _text(content: str | None) -> dict[str, Any]:
    return {"type": "text", "content": content}


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
