"""A collector of spans: what is sent to it by OTLP over HTTP, decoded."""

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tasks.tracing import LAST_SPANS


class Sent(NamedTuple):
    """One request: its headers, by lower-case name, and its spans."""

    headers: dict[str, str]
    spans: list[Span]


def await_spans() -> None:
    """Wait until all that is still being sent in the background is there."""
    for thread in threading.enumerate():
        if thread.name == LAST_SPANS:
            thread.join()


@contextmanager
def collector(open_gate: threading.Event | None = None) -> Iterator[tuple[str, list[Sent]]]:
    """Serve on a free port of 127.0.0.1; yield the address and what comes.

    What is posted is answered only once the gate is open, where there is one.
    """
    received: list[Sent] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if open_gate:
                open_gate.wait()
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            resources = ExportTraceServiceRequest.FromString(body).resource_spans
            spans = [span for one in resources for scope in one.scope_spans for span in scope.spans]
            received.append(Sent({name.lower(): value for name, value in self.headers.items()}, spans))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", received
        finally:
            server.shutdown()
            thread.join()
