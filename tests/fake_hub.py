"""A hub of models on 127.0.0.1 that speaks what `huggingface_hub` asks: a model's revision, its files, their bytes."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "a" * 40


class FakeHub(ThreadingHTTPServer):
    """Serves a folder as the model `name`, OWNER/NAME, and notes what it was asked: (method, path)."""

    def __init__(self, name: str, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.name = name
        self.folder = folder
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.asked: list[tuple[str, str]] = []
        self.breaks_off = False
        """Whether weights stop coming halfway."""

    def given(self) -> set[str]:
        """Return the files of which bytes were asked."""
        return {path.rpartition("/")[2] for method, path in self.asked if method == "GET" and "/resolve/" in path}


@contextmanager
def hub(name: str, folder: Path) -> Iterator[FakeHub]:
    """Serve a folder as a model."""
    with FakeHub(name, folder) as fake:
        thread = threading.Thread(target=fake.serve_forever)
        thread.start()
        try:
            yield fake
        finally:
            fake.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FakeHub

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.server.asked.append((self.command, path))
        folder, api = self.server.folder, f"/api/models/{self.server.name}"
        file = folder / path.removeprefix(f"/{self.server.name}/resolve/{COMMIT}/")
        if path == f"{api}/revision/main":
            self._json({"id": self.server.name, "sha": COMMIT, "siblings": []})
        elif path == f"{api}/tree/{COMMIT}":
            self._json([_entry(one) for one in sorted(folder.iterdir())])
        elif file.parent == folder and file.is_file():
            self._file(file)
        else:
            self._json({"error": "Repository not found"}, HTTPStatus.NOT_FOUND)

    def _file(self, file: Path) -> None:
        content = file.read_bytes()
        length = len(content)
        if self.server.breaks_off and file.suffix == ".safetensors" and self.command == "GET":
            content, self.close_connection = content[: length // 2], True
        etag = hashlib.sha256(file.read_bytes()).hexdigest()
        self._send(HTTPStatus.OK, {"etag": f'"{etag}"', "x-repo-commit": COMMIT}, length, content)

    def _json(self, value: object, status: HTTPStatus = HTTPStatus.OK) -> None:
        body = json.dumps(value).encode()
        # Without the code, a client may take 404 for any fault.
        code = {} if status == HTTPStatus.OK else {"x-error-code": "RepoNotFound"}
        self._send(status, {"content-type": "application/json", **code}, len(body), body)

    def _send(self, status: HTTPStatus, headers: dict[str, str], length: int, body: bytes) -> None:
        self.send_response(status)
        for key, value in {**headers, "content-length": str(length)}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _entry(file: Path) -> dict[str, object]:
    oid = hashlib.sha1(file.read_bytes(), usedforsecurity=False).hexdigest()
    return {"type": "file", "path": file.name, "size": file.stat().st_size, "oid": oid}
