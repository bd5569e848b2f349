"""The job machine without a socket: real OpenAI clients on a transport that can lose answers, and kill the caller."""

import httpx2
from openai import DefaultHttpxClient, OpenAI

from tasks.clients import must_be_json
from tests.job_machine import JobMachine, Lost

ADDRESS = "http://provider.test"


class Killed(BaseException):
    """What `kill -9` looks like from within: nothing more is done, and nothing can catch it that catches errors."""


class Wire:
    """Carries requests to the machine. `kill_in` counts down to the request at which the caller is killed."""

    def __init__(self, machine: JobMachine) -> None:
        self._machine = machine
        self.kill_in: int | None = None
        self.kill_before = False

    def client(self, max_retries: int = 0) -> OpenAI:
        http = DefaultHttpxClient(
            transport=httpx2.MockTransport(self._carry), event_hooks={"response": [must_be_json]}, trust_env=False
        )
        return OpenAI(
            base_url=f"{ADDRESS}{self._machine.prefix}", api_key="test", max_retries=max_retries, http_client=http
        )

    def _carry(self, request: httpx2.Request) -> httpx2.Response:
        killed = self._is_killed()
        if killed and self.kill_before:
            raise Killed
        try:
            status, content = self._machine.receive(
                request.method, str(request.url), request.read(), {k.lower(): v for k, v in request.headers.items()}
            )
        except Lost as error:
            raise httpx2.ReadError("the connection was reset", request=request) from error
        if killed:
            raise Killed
        return httpx2.Response(status, content=content, headers={"content-type": "application/json"})

    def _is_killed(self) -> bool:
        if self.kill_in is None:
            return False
        self.kill_in -= 1
        return self.kill_in < 0
