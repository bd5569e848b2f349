"""The end of a job is reported to a real HTTP receiver, in a form that the openai client accepts."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import openai
import pytest
from openai import OpenAI

from infra.model_server import webhooks
from infra.model_server.__main__ import main
from infra.model_server.database import Database
from infra.model_server.jobs import JobStore, NewJob
from infra.model_server.progress import Hyperparameters
from infra.model_server.webhooks import Notifier, is_secret
from tests.infra.model_server import live
from tests.ports import free_port

SECRET = "whsec_" + "c2VjcmV0IG9mIHRoaXMgdGVzdA=="


class Receiver:
    """A web server that keeps what it is sent, and answers with the statuses that it is told to."""

    def __init__(self, *statuses: int) -> None:
        self.received: list[tuple[dict[str, str], bytes]] = []
        statuses_left = list(statuses)
        received = self.received

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                received.append((dict(self.headers), body))
                self.send_response(statuses_left.pop(0) if statuses_left else 200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"

    @contextmanager
    def running(self) -> Iterator[None]:
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()


@contextmanager
def notifying(database: Database, url: str) -> Iterator[None]:
    notifier = Notifier(database, url, SECRET)
    notifier.start()
    try:
        yield
    finally:
        notifier.stop()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "state.sqlite3")
    yield database
    database.close()


@pytest.fixture(autouse=True)
def _no_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "DELAYS", (0, 0))
    monkeypatch.setattr(webhooks, "POLL_SECONDS", 0.02)


def ended_jobs(jobs: JobStore) -> None:
    """End one job in each way, and each of them once more, which has no effect."""
    new = NewJob("tiny", "file-a", None, None, 1, Hyperparameters(), None)
    for name in ("good", "bad", "stopped"):
        jobs.create(new, job_id=f"ftjob-{name}", most_waiting=9)
    for _ in range(2):
        jobs.succeed("ftjob-good", model_id="ft:a", folder="a", base="tiny", tokens=1, result_file="file-b")
        jobs.fail("ftjob-bad", "odd", "It is odd.")
        jobs.cancel("ftjob-stopped")


def queued(database: Database) -> int:
    return len(database.rows("SELECT id FROM deliveries"))


def test_each_end_is_reported_once_and_the_client_unwraps_it(database: Database) -> None:
    receiver = Receiver()
    with receiver.running(), notifying(database, receiver.url):
        ended_jobs(JobStore(database, notifies=True))
        live.wait_until(lambda: queued(database) == 0, "the reports to be delivered")
    client = OpenAI(api_key="unused", webhook_secret=SECRET)
    events = [client.webhooks.unwrap(body, headers) for headers, body in receiver.received]
    assert [(event.type, event.data.id) for event in events] == [  # type: ignore[union-attr]
        ("fine_tuning.job.succeeded", "ftjob-good"),
        ("fine_tuning.job.failed", "ftjob-bad"),
        ("fine_tuning.job.cancelled", "ftjob-stopped"),
    ]
    assert len({event.id for event in events}) == 3
    headers, body = receiver.received[0]
    with pytest.raises(openai.InvalidWebhookSignatureError):
        client.webhooks.unwrap(body.replace(b"good", b"evil"), headers)
    client.close()


def test_a_report_is_repeated_under_its_id_until_it_is_accepted(database: Database) -> None:
    receiver = Receiver(500, 302)
    jobs = JobStore(database, notifies=True)
    with receiver.running(), notifying(database, receiver.url):
        jobs.create(NewJob("tiny", "file-a", None, None, 1, Hyperparameters(), None), job_id="ftjob-a", most_waiting=9)
        jobs.cancel("ftjob-a")
        live.wait_until(lambda: queued(database) == 0, "the report to be accepted")
    assert len(receiver.received) == 3
    assert len({headers["webhook-id"] for headers, _ in receiver.received}) == 1
    assert len({body for _, body in receiver.received}) == 1


def test_what_could_not_be_delivered_waits_for_the_next_start_and_is_given_up_in_the_end(database: Database) -> None:
    receiver = Receiver()
    ended_jobs(JobStore(database, notifies=True))
    assert queued(database) == 3
    with notifying(database, f"http://127.0.0.1:{free_port()}/nobody"):
        live.wait_until(
            lambda: bool(database.rows("SELECT id FROM deliveries WHERE attempts > 0")) or not queued(database),
            "a first attempt",
        )
    left = queued(database)
    with receiver.running(), notifying(database, receiver.url):
        live.wait_until(lambda: queued(database) == 0, "the rest to be delivered")
    assert len(receiver.received) == left
    ended_jobs_again = JobStore(database, notifies=True)
    new = NewJob("tiny", "file-a", None, None, 1, Hyperparameters(), None)
    ended_jobs_again.create(new, job_id="ftjob-last", most_waiting=9)
    ended_jobs_again.cancel("ftjob-last")
    with notifying(database, f"http://127.0.0.1:{free_port()}/nobody"):
        live.wait_until(lambda: queued(database) == 0, "the report to be given up")


def test_without_an_address_nothing_is_queued(database: Database) -> None:
    ended_jobs(JobStore(database))
    assert queued(database) == 0


def test_only_a_key_in_base64_is_a_secret() -> None:
    assert is_secret(SECRET)
    assert not any(map(is_secret, ("", "whsec_", "whsec_a", "whsec_é")))


@pytest.mark.parametrize(("url", "says"), [("http://127.0.0.1:9/", "needs a secret"), ("ftp://x", "no http or https")])
def test_an_address_without_a_secret_and_one_that_is_none_are_refused(
    url: str, says: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("OPENAI_WEBHOOK_SECRET", raising=False)
    with pytest.raises(SystemExit) as refusal:
        main(["--data", str(tmp_path), "--webhook-url", url])
    assert says in f"{refusal.value.code}{capsys.readouterr().err}"
