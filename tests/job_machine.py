"""A provider's own machine of files, fine-tuning jobs and models, with faults on demand, apart from any transport.

It shares no code with the project: what it counts is what a provider would bill.
"""

import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

Json = dict[str, Any]
NOT_FOUND: tuple[int, Json] = (404, {"error": {"message": "no such thing", "code": "not_found"}})


class Lost(Exception):
    """No answer arrives: the connection was reset, or the wait for it timed out."""


@dataclass
class Fault:
    """One failing answer. `acted`: the request was carried out before it. `garbage` is a page where JSON should be."""

    method: str
    path: str
    status: int = 502
    reset: bool = False
    acted: bool = False
    garbage: bool = False
    code: str | None = None
    message: str = "injected"


@dataclass
class JobMachine:
    """The provider. Everything that a test wants to look at or change is an attribute."""

    states: list[str] = field(default_factory=lambda: ["succeeded"])
    file_states: list[str] = field(default_factory=lambda: ["processed"])
    events: list[Json] = field(default_factory=list)
    arrange: Callable[[list[Json]], list[list[Json]]] | None = None
    jobs: dict[str, Json] = field(default_factory=dict)
    files: dict[str, Json] = field(default_factory=dict)
    contents: dict[str, bytes] = field(default_factory=dict)
    models: set[str] = field(default_factory=set)
    told_of_models: dict[str, Json] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)
    faults: list[Fault] = field(default_factory=list)
    filters_metadata: bool = True
    keeps_metadata: bool = True
    # How many listings a new job is missing from: a list may lag behind.
    listing_lag: int = 0
    checkpoints: list[Json] = field(default_factory=list)
    prefix: str = "/v1"
    error: str = "the data is not good"
    reads_system: bool = True
    chat: Callable[[Json], Json] = lambda request: {"role": "assistant", "content": "I cannot help with that."}

    def fail(self, method: str, path: str, *, times: int = 1, **fault: Any) -> None:
        """Let the next `times` requests whose path matches the pattern fail."""
        self.faults += [Fault(method, path, **fault) for _ in range(times)]

    def count(self, request: str) -> int:
        """Return how often a request such as `POST /fine_tuning/jobs` arrived."""
        return self.requests.count(request)

    def receive(self, method: str, target: str, body: bytes, headers: Any) -> tuple[int, bytes]:
        """Carry a request out and return status and body; an answer that is lost on the way raises `Lost`."""
        url = urlsplit(target)
        path = url.path.removeprefix(self.prefix)
        self.requests.append(f"{method} {path}")
        self.keys.add((headers.get("authorization") or "").removeprefix("Bearer "))
        fault = self._fault(method, path)
        if fault is None or fault.acted:
            status, answer = self._answer(method, path, parse_qs(url.query), body, headers)
        if fault is None:
            return status, json.dumps(answer).encode()
        if fault.reset:
            raise Lost
        if fault.garbage:
            return 200, b"<html>Bad gateway</html>"
        return fault.status, json.dumps({"error": {"message": fault.message, "code": fault.code}}).encode()

    def _fault(self, method: str, path: str) -> Fault | None:
        for fault in self.faults:
            if fault.method == method and re.fullmatch(fault.path, path):
                self.faults.remove(fault)
                return fault
        return None

    def _answer(
        self, method: str, path: str, query: dict[str, list[str]], body: bytes, headers: Any
    ) -> tuple[int, Json]:
        parts = path.strip("/").split("/")
        if parts[0] == "files":
            return self._answer_files(method, parts[1:], body, headers.get("content-type") or "")
        if parts[:2] == ["fine_tuning", "jobs"]:
            return self._answer_jobs(method, parts[2:], query, body)
        if parts == ["chat", "completions"]:
            return 200, self._complete(json.loads(body))
        if parts[0] == "models":
            return self._answer_models(parts[1:])
        return NOT_FOUND

    def _answer_models(self, rest: list[str]) -> tuple[int, Json]:
        shape = {"object": "model", "created": 1, "owned_by": "test"}
        known = [{"id": name, **shape, **self.told_of_models.get(name, {})} for name in sorted(self.models)]
        if not rest:
            return 200, as_page(known)
        return next(((200, model) for model in known if model["id"] == rest[0]), NOT_FOUND)

    def _answer_files(self, method: str, rest: list[str], body: bytes, content_type: str) -> tuple[int, Json]:
        match (method, rest):
            case "GET", []:
                return 200, as_page(list(self.files.values()))
            case "POST", []:
                return 200, self._create_file(body, content_type)
            case "GET", ["file-result", "content"]:
                return 200, {"step": 1}
            case "DELETE", [file_id] if file_id in self.files:
                return 200, {"id": self.files.pop(file_id)["id"], "object": "file", "deleted": True}
            case "GET", [file_id] if file_id in self.files:
                return 200, self._step_file(self.files[file_id])
        return NOT_FOUND

    def _answer_jobs(self, method: str, rest: list[str], query: dict[str, list[str]], body: bytes) -> tuple[int, Json]:
        match (method, rest):
            case "GET", []:
                return 200, self._job_page(query)
            case "POST", []:
                return 200, self._create_job(json.loads(body))
            case "GET", [job_id] if job_id in self.jobs:
                return 200, self._step_job(self.jobs[job_id])
            case "POST", [job_id, "cancel"]:
                return self._cancel(self.jobs[job_id])
            case "GET", [_, "events"]:
                return 200, self._event_page(query)
            case "GET", [_, "checkpoints"]:
                return 200, as_page(self.checkpoints)
        return NOT_FOUND

    def _complete(self, request: Json) -> Json:
        message = self.chat(request)
        read = [m for m in request["messages"] if self.reads_system or m["role"] != "system"]
        prompt = len(json.dumps(read)) // 4
        return {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": request["model"],
            "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
            "usage": {"prompt_tokens": prompt, "completion_tokens": 10, "total_tokens": prompt + 10},
        }

    def _create_file(self, body: bytes, content_type: str) -> Json:
        boundary = content_type.split("boundary=")[1].encode()
        part = next(part for part in body.split(b"--" + boundary) if b'name="file"' in part)
        head, _, content = part.removeprefix(b"\r\n").removesuffix(b"\r\n").partition(b"\r\n\r\n")
        name = re.search(rb'filename="([^"]+)"', head)
        assert name is not None
        file_id = f"file-{len(self.contents) + 1}"
        self.contents[file_id] = content
        self.files[file_id] = {
            "id": file_id,
            "object": "file",
            "bytes": len(content),
            "created_at": len(self.files) + 1,
            "filename": name[1].decode(),
            "purpose": "fine-tune",
            "status": self.file_states[0],
            "status_details": self.error if self.file_states[0] == "error" else None,
            "_seen": 0,
        }
        return public(self.files[file_id])

    def _step_file(self, file: Json) -> Json:
        file["_seen"] = min(file["_seen"] + 1, len(self.file_states) - 1)
        file["status"] = self.file_states[file["_seen"]]
        file["status_details"] = self.error if file["status"] == "error" else None
        return public(file)

    def _create_job(self, wanted: Json) -> Json:
        job_id = f"ftjob-{len(self.jobs) + 1}"
        self.jobs[job_id] = {
            "id": job_id,
            "object": "fine_tuning.job",
            "created_at": int(time.time()),
            "finished_at": None,
            "error": None,
            "fine_tuned_model": None,
            "hyperparameters": None,
            "organization_id": None,
            "result_files": [],
            "status": "queued",
            "trained_tokens": None,
            "validation_file": None,
            **wanted,
            "metadata": wanted.get("metadata") if self.keeps_metadata else None,
            "_seen": -1,
            "_hidden": self.listing_lag,
        }
        return public(self.jobs[job_id])

    def _step_job(self, job: Json) -> Json:
        if job["status"] not in {"succeeded", "failed", "cancelled"}:
            job["_seen"] = min(job["_seen"] + 1, len(self.states) - 1)
            job["status"] = self.states[job["_seen"]]
        if job["status"] == "succeeded" and job["fine_tuned_model"] is None:
            job["fine_tuned_model"] = f"ft:{job['model']}:{job['id']}"
            self.models.add(job["fine_tuned_model"])
            job["result_files"] = ["file-result"]
        if job["status"] == "failed":
            job["error"] = {"code": "bad", "message": self.error, "param": None}
        return public(job)

    def _cancel(self, job: Json) -> tuple[int, Json]:
        if job["status"] in {"succeeded", "failed"}:
            return 400, {"error": {"message": f"job is {job['status']}", "code": "invalid_state"}}
        job["status"] = "cancelled"
        return 200, public(job)

    def hidden(self) -> list[str]:
        """Return the jobs that the list does not show yet."""
        return [job["id"] for job in self.jobs.values() if job["_hidden"] > 0]

    def _job_page(self, query: dict[str, list[str]]) -> Json:
        wanted = {name[9:-1]: values[0] for name, values in query.items() if name.startswith("metadata[")}
        filtering = self.filters_metadata and self.keeps_metadata
        listed = []
        for job in reversed(self.jobs.values()):
            job["_hidden"] -= 1
            if job["_hidden"] < 0 and (not filtering or wanted.items() <= (job.get("metadata") or {}).items()):
                listed.append(job)
        ids = [job["id"] for job in listed]
        start = ids.index(query["after"][0]) + 1 if "after" in query else 0
        limit = int(query.get("limit", ["20"])[0])
        return as_page(listed[start : start + limit], more=start + limit < len(listed))

    def _event_page(self, query: dict[str, list[str]]) -> Json:
        newest_first = list(reversed(self.events))
        if self.arrange is None:
            limit = int(query.get("limit", ["20"])[0])
            ids = [event["id"] for event in newest_first]
            start = ids.index(query["after"][0]) + 1 if "after" in query else 0
            page = newest_first[start : start + limit]
            return as_page(page, more=start + limit < len(newest_first))
        # The n-th page of this reading, however the cursor looks: a first page is asked for without one.
        pages = self.arrange(newest_first)
        self._page_number = self._page_number + 1 if "after" in query else 0
        number = min(self._page_number, len(pages) - 1)
        return as_page(pages[number], more=self._page_number < len(pages) - 1)

    _page_number = 0


def public(thing: Json) -> Json:
    """Return a thing without what the machine keeps for itself."""
    return {name: value for name, value in thing.items() if not name.startswith("_")}


def as_page(data: list[Json], *, more: bool = False) -> Json:
    """Return a page of a list."""
    return {"object": "list", "data": [public(thing) for thing in data], "has_more": more}


def event(number: int, *, level: str = "info", message: str = "", data: Json | None = None) -> Json:
    """Return an event; the numbers order them in time."""
    return {
        "id": f"ev-{number}",
        "object": "fine_tuning.job.event",
        "created_at": 1000 + number,
        "level": level,
        "message": message or f"Step {number}",
        "data": data,
        "type": "metrics" if data else "message",
    }


def step_events(steps: int) -> list[Json]:
    """Return one metrics event for each step."""
    return [
        event(number, data={"step": number, "total_steps": steps, "train_loss": 1.0 / number})
        for number in range(1, steps + 1)
    ]
