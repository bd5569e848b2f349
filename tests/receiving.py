"""A receiver of webhooks on a real port, and messages for it: signed as the specification says, or not."""

import base64
import contextvars
import hashlib
import hmac
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.applications import Starlette

from tests.ports import free_port

KEY = b"the key of the endpoint, 32 bytes"
SECRET = f"whsec_{base64.b64encode(KEY).decode()}"


def signed(body: bytes, message_id: str = "msg-1", *, age_s: float = 0.0, key: bytes = KEY) -> dict[str, str]:
    """Sign as the Standard Webhooks specification says."""
    stamp = str(int(time.time() - age_s))
    digest = hmac.new(key, f"{message_id}.{stamp}.".encode() + body, hashlib.sha256).digest()
    signature = f"v1,{base64.b64encode(digest).decode()}"
    return {"webhook-id": message_id, "webhook-timestamp": stamp, "webhook-signature": signature}


@contextmanager
def receiving(app: Starlette, port: int | None = None) -> Iterator[str]:
    """Serve an application in a thread of this process, on a free port where none is named; yield its address."""
    port = port or free_port()
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning"))
    thread = threading.Thread(target=contextvars.copy_context().run, args=(server.run,))
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the receiver ended while starting"
            time.sleep(0.02)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()
