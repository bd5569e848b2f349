"""A provider of files and fine-tuning jobs on 127.0.0.1, over real HTTP, with its own job machine and faults on demand.

with FakeFinetuning() as provider:
    provider.states = ["queued", "running", "succeeded"]      # one step at each reading of a job
    provider.fail("POST", "/fine_tuning/jobs", reset=True, acted=True)
    client = provider.client()
"""

import socket
import ssl
import struct
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from openai import DefaultHttpxClient, OpenAI

from tasks.clients import must_be_json
from tests.job_machine import JobMachine, Json, Lost, event, step_events

__all__ = ["FakeFinetuning", "Json", "event", "step_events"]


class FakeFinetuning(JobMachine):
    """The machine behind a socket."""

    _hold: tuple[str, int, bool] = ("", 0, False)

    def hold(self, request: str, *, after: int = 0, acted: bool = False) -> None:
        """Let requests such as `POST /files`, but for the first few, wait without an answer until `let_go`.

        `acted`: they are carried out before they wait; otherwise never.
        """
        self._released.clear()
        self._hold = (request, self.count(request) + after, acted)

    def let_go(self) -> None:
        self._hold = ("", 0, False)
        self._released.set()

    def _is_held(self, request: str) -> bool:
        wanted, after, _ = self._hold
        return request == wanted and self.count(request) >= after

    def __enter__(self) -> Self:
        self._clients: list[OpenAI] = []
        self._lock = threading.RLock()
        self._released = threading.Event()
        self._server, self._thread = self._listen()
        return self

    def _listen(self, tls: ssl.SSLContext | None = None) -> tuple[ThreadingHTTPServer, threading.Thread]:
        provider = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                provider._handle(self)

            do_POST = do_PUT = do_DELETE = do_GET

            def log_message(self, format: str, *args: Any) -> None:
                """Keep quiet."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        if tls:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        return server, thread

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.let_go()
        for client in self._clients:
            client.close()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}{self.prefix}"

    def client(self, max_retries: int = 0) -> OpenAI:
        http = DefaultHttpxClient(trust_env=False, event_hooks={"response": [must_be_json]})
        client = OpenAI(base_url=self.base_url, api_key="test", max_retries=max_retries, http_client=http, timeout=5.0)
        self._clients.append(client)
        return client

    def _handle(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("content-length") or 0))
        path = handler.path.removeprefix(self.prefix).partition("?")[0]
        try:
            with self._lock:
                held, acted = self._is_held(f"{handler.command} {path}"), self._hold[2]
                if held and not acted:
                    self.requests.append(f"{handler.command} {path}")
                else:
                    status, content = self.receive(handler.command, handler.path, body, handler.headers)
            if held:
                self._released.wait()
                raise Lost
        except Lost:
            self._hang_up(handler)
            return
        handler.send_response(status)
        handler.send_header("content-type", "application/json")
        handler.send_header("content-length", str(len(content)))
        if status < 400:
            # Seconds until the next question, for clients that would wait long between two; on an error it says: retry.
            handler.send_header("retry-after", "0.05")
        handler.end_headers()
        handler.wfile.write(content)

    def _hang_up(self, handler: BaseHTTPRequestHandler) -> None:
        linger = struct.pack("ii", 1, 0)
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        with suppress(OSError):  # the other side may be gone
            handler.connection.shutdown(socket.SHUT_RD)
        handler.close_connection = True
        handler.connection.close()
