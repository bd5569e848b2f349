"""Reports the end of each job to one address, signed as OpenAI signs its webhooks.

A report is queued in the transaction that ends the job, and leaves the queue when its receiver has answered with a
2xx status, so none is lost; one may come twice, with the same `webhook-id`.
"""

import json
import logging
import sqlite3
import threading
import time
from datetime import UTC, datetime

import httpx2
from standardwebhooks.webhooks import EmptyWebhookSecretError, Webhook

from infra.model_server.database import Database, new_id

log = logging.getLogger(__name__)

DELAYS = (5, 30, 120, 600, 3600, 4 * 3600, 12 * 3600, 24 * 3600)
"""Seconds before each further attempt; after the last one a report is given up."""
POLL_SECONDS = 0.5
TIMEOUT_SECONDS = 10.0


def is_secret(text: str) -> bool:
    """Tell whether a text can sign: `whsec_` and a key in base64."""
    try:
        Webhook(text)
    except (ValueError, EmptyWebhookSecretError):
        return False
    return True


def queue_delivery(connection: sqlite3.Connection, kind: str, job_id: str) -> None:
    """Queue a report within a transaction."""
    now = time.time()
    event = {"id": new_id("evt_"), "object": "event", "created_at": int(now), "type": kind, "data": {"id": job_id}}
    sql = "INSERT INTO deliveries (id, body, due_at) VALUES (?, ?, ?)"
    connection.execute(sql, (new_id("wh_"), json.dumps(event), now))


class Notifier(threading.Thread):
    """Delivers queued reports for as long as the server lives."""

    def __init__(self, database: Database, url: str, secret: str) -> None:
        """Deliver to `url`."""
        super().__init__(name="notifier", daemon=True)
        self._database = database
        self._url = url
        self._webhook = Webhook(secret)
        self._stopping = threading.Event()

    def stop(self) -> None:
        """End the thread; what is queued waits for the next start."""
        self._stopping.set()
        self.join()

    def run(self) -> None:
        """Deliver what is due until stopped; a database that is out of order is waited out."""
        with httpx2.Client(timeout=TIMEOUT_SECONDS) as client:
            while not self._stopping.wait(POLL_SECONDS):
                try:
                    for row in self._due():
                        self._deliver(client, row)
                except sqlite3.Error:
                    log.exception("The webhook's queue cannot be read; trying again.")

    def _due(self) -> list[sqlite3.Row]:
        return self._database.rows("SELECT * FROM deliveries WHERE due_at <= ? ORDER BY seq LIMIT 20", (time.time(),))

    def _deliver(self, client: httpx2.Client, row: sqlite3.Row) -> None:
        if self._stopping.is_set():
            return
        problem = self._send(client, row["id"], row["body"])
        with self._database.transaction() as connection:
            if problem is not None and row["attempts"] < len(DELAYS):
                due = time.time() + DELAYS[row["attempts"]]
                sql = "UPDATE deliveries SET attempts = attempts + 1, due_at = ? WHERE id = ?"
                connection.execute(sql, (due, row["id"]))
            else:
                connection.execute("DELETE FROM deliveries WHERE id = ?", (row["id"],))
        if problem is not None:
            log.warning("The webhook %s was not delivered (attempt %d): %s", row["id"], row["attempts"] + 1, problem)

    def _send(self, client: httpx2.Client, webhook_id: str, body: str) -> str | None:
        """Send a report; return why it did not arrive, or None."""
        now = datetime.now(UTC)
        headers = {
            "content-type": "application/json",
            "webhook-id": webhook_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": self._webhook.sign(webhook_id, now, body),
        }
        try:
            answer = client.post(self._url, content=body.encode(), headers=headers)
        except httpx2.HTTPError as error:
            return f"{type(error).__name__}: {error}"
        return None if answer.is_success else f"the receiver answered with status {answer.status_code}"
