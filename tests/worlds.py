"""A small shop and profile, made once for all tests of synthesis and preparation."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.types import ASGIApp

from tasks import simulate
from tasks.core.config import Profile, SynthesisConfig, ValidationConfig
from tasks.core.dataset import DatasetSplit
from tasks.core.phrases import PhraseBook, load_phrases
from tasks.core.scenario import ShopView
from tasks.prepare import prepare_dataset
from tasks.world import RetailWorld, served_tools, shop_view
from tests.clinic.server import build_server
from zava_mcp.seed import generate_shop
from zava_mcp.store import RetailStore

ROOT = Path(__file__).parent.parent
CLINIC = ROOT / "tests" / "clinic"
INTENTS = {
    "update_address": 1.0,
    "order_status": 1.0,
    "order_status_by_item": 1.0,
    "cancel": 1.0,
    "return": 1.0,
    "exchange": 1.0,
    "modify_items": 1.0,
    "modify_payment": 1.0,
    "modify_order_address": 1.0,
    "list_products": 1.0,
    "human": 1.0,
}


@cache
def small_shop() -> RetailStore:
    return generate_shop(3, customers=200, products=20, orders=420)


@cache
def small_view() -> ShopView:
    return shop_view(small_shop())


@cache
def shop_tools() -> list[dict[str, Any]]:
    return served_tools(small_shop())


@cache
def phrases() -> PhraseBook:
    return load_phrases(ROOT / "configs" / "scenarios" / "retail.yaml")


def synthesis(**changes: Any) -> SynthesisConfig:
    return SynthesisConfig.model_validate({"intents": INTENTS, **changes})


def a_profile(**synthesis_changes: Any) -> Profile:
    counts = {"train_conversations": 7, "valid_conversations": 2, "heldout_conversations": 3, "shard_size": 4}
    return Profile.model_validate(
        {
            "name": "test",
            "synthesis": {"intents": INTENTS, **counts, **synthesis_changes},
            "provider": {"kind": "local"},
            "training": {"base_model": "base"},
        }
    )


@contextmanager
def clinic_served() -> Iterator[tuple[str, Callable[[], None]]]:
    """Serve the clinic over HTTP in a thread; return its address, and what ends it at once."""
    with served(build_server().streamable_http_app(json_response=True)) as served_app:
        yield served_app


@contextmanager
def served(app: ASGIApp) -> Iterator[tuple[str, Callable[[], None]]]:
    """Serve an MCP application in a thread; return the address of its `/mcp`, and what ends it at once."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", ws="none"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})

        def end() -> None:
            server.should_exit = server.force_exit = True
            thread.join()

        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/mcp", end
        finally:
            end()


def prepared(folder: Path, *, train: int, heldout: int) -> DatasetSplit:
    """Return a real dataset of the small shop: so many conversations to train on, and held out."""
    counts = {"train_conversations": train, "valid_conversations": 1, "heldout_conversations": heldout}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        patch.setattr(simulate, "open_shop", lambda _world: small_shop())
        shards = simulate.simulate(a_profile(**counts, shard_size=40), folder / "shards")
    return prepare_dataset(shards, RetailWorld(small_shop()), ValidationConfig(), folder)
