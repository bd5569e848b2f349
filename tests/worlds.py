"""A small shop and profile, made once for all tests of synthesis and preparation."""

from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tasks import simulate
from tasks.core.config import Profile, SynthesisConfig, ValidationConfig
from tasks.core.dataset import DatasetSplit
from tasks.core.phrases import PhraseBook, load_phrases
from tasks.core.scenario import ShopView
from tasks.prepare import prepare_dataset
from tasks.world import served_tools, shop_view
from zava_mcp.seed import generate_shop
from zava_mcp.store import RetailStore

ROOT = Path(__file__).parent.parent
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


def prepared(folder: Path, *, train: int, heldout: int) -> DatasetSplit:
    """Return a real dataset of the small shop: so many conversations to train on, and held out."""
    counts = {"train_conversations": train, "valid_conversations": 1, "heldout_conversations": heldout}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        patch.setattr(simulate, "open_shop", lambda _world: small_shop())
        shards = simulate.simulate(a_profile(**counts, shard_size=40), folder / "shards")
    return prepare_dataset(shards, small_shop(), ValidationConfig(), folder)
