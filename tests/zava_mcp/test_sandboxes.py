import pytest

from zava_mcp.errors import SandboxError
from zava_mcp.sandboxes import Sandboxes
from zava_mcp.store import RetailStore


def move(store: RetailStore, zip_code: str) -> None:
    store.update_address("noah_brown_6181", "1", "", "c", "s", "USA", zip_code)


def zip_of(store: RetailStore) -> str:
    return store.users["noah_brown_6181"].address.zip


def test_a_sandbox_starts_as_the_shop_was_when_serving_began(shop: RetailStore) -> None:
    sandboxes = Sandboxes(shop)
    move(sandboxes.store(None), "1")
    assert zip_of(sandboxes.store("new")) == "80279"
    assert zip_of(sandboxes.store(None)) == "1"


def test_a_sandbox_keeps_its_state_until_it_is_dropped(shop: RetailStore) -> None:
    sandboxes = Sandboxes(shop)
    move(sandboxes.store("a"), "1")
    assert zip_of(sandboxes.store("a")) == "1"
    assert zip_of(sandboxes.store("b")) == "80279"
    assert sandboxes.drop("a")
    assert not sandboxes.drop("a")
    assert zip_of(sandboxes.store("a")) == "80279"


def test_looking_at_a_sandbox_does_not_make_one(shop: RetailStore) -> None:
    sandboxes = Sandboxes(shop)
    assert zip_of(sandboxes.peek("a")) == "80279"
    assert len(sandboxes) == 0


def test_the_sandbox_unused_for_longest_goes_first(shop: RetailStore) -> None:
    sandboxes = Sandboxes(shop, limit=2)
    for name in ("a", "b"):
        move(sandboxes.store(name), name)
    sandboxes.store("a")
    sandboxes.store("c")
    assert len(sandboxes) == 2
    assert zip_of(sandboxes.peek("a")) == "a"
    assert zip_of(sandboxes.peek("b")) == "80279"


@pytest.mark.parametrize("name", ["", "a b", "x" * 65, "../a", "ä", "a\n"])
def test_a_name_that_cannot_be_used_is_refused(shop: RetailStore, name: str) -> None:
    with pytest.raises(SandboxError, match="must be 1 to 64 letters"):
        Sandboxes(shop).store(name)
