"""The shared shop in SQLite, and in a real PostgreSQL where its server is installed."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from tests.postgres import running
from tests.zava_mcp import tour
from zava_mcp.database import holds_shop, load_shop, open_engine, put_shop
from zava_mcp.errors import PolicyError, StorageError
from zava_mcp.snapshot import dump_snapshot, parse_snapshot
from zava_mcp.store import RetailStore

CANCEL = ("#W8955613", "no longer needed")


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    pytest.importorskip("psycopg", reason="psycopg is not installed: pip install 'psycopg[binary]'")
    with running() as server:
        yield f"postgresql+psycopg://{server}/postgres"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/shop.db"
        return
    address: str = request.getfixturevalue("postgres")
    yield address
    engine = open_engine(address)
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE zava_records"))
    engine.dispose()


class Stored:
    """A shop in a database, and others read from the same one; all connections are closed at the end."""

    def __init__(self, url: str, content: RetailStore) -> None:
        self.url = url
        self.engines: list[Engine] = []
        put_shop(self.engine(), content)
        self.shop = self.reopened()

    def engine(self) -> Engine:
        self.engines.append(open_engine(self.url))
        return self.engines[-1]

    def reopened(self) -> RetailStore:
        return load_shop(self.engine())


@pytest.fixture
def stored(url: str, imported: RetailStore) -> Iterator[Stored]:
    kept = Stored(url, parse_snapshot(dump_snapshot(imported) | {"season": ["spring"]}, source="test"))
    yield kept
    for engine in kept.engines:
        engine.dispose()


def test_a_shop_comes_out_as_it_went_in(stored: Stored, imported: RetailStore) -> None:
    shop = stored.shop
    assert dump_snapshot(shop) == dump_snapshot(imported) | {"season": ["spring"]}
    assert list(shop.users) == list(imported.users)


def test_every_change_is_there_after_a_restart(stored: Stored) -> None:
    shop = stored.shop
    for tool, arguments in tour.calls(shop):
        tour.expected(shop, tool, arguments)
    assert shop.orders["#W4923227"].status == "cancelled"
    assert stored.reopened().digest() == shop.digest()


def test_a_refused_call_writes_nothing(stored: Stored) -> None:
    shop = stored.shop
    shop.cancel_pending_order(*CANCEL)
    before = shop.digest()
    with pytest.raises(PolicyError):
        shop.cancel_pending_order(*CANCEL)
    assert stored.reopened().digest() == shop.digest() == before


def test_a_change_that_cannot_be_saved_is_not_made(stored: Stored) -> None:
    shop = stored.shop
    before = shop.digest()
    engine = stored.engine()
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE zava_records RENAME TO elsewhere"))
    with pytest.raises(StorageError, match=r"The change was not saved and not made: .*zava_records"):
        shop.cancel_pending_order(*CANCEL)
    assert shop.digest() == before
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE elsewhere RENAME TO zava_records"))
    shop.cancel_pending_order(*CANCEL)
    assert stored.reopened().digest() == shop.digest()


def test_a_change_of_two_records_is_saved_whole_or_not_at_all(stored: Stored) -> None:
    shop = stored.shop
    other = stored.reopened()
    user_id = shop.orders[CANCEL[0]].user_id
    other.update_address(user_id, "1", "", "c", "s", "USA", "1")
    with pytest.raises(StorageError, match=f"users '{user_id}' was changed in the database by another server"):
        shop.cancel_pending_order(*CANCEL)
    # The order comes before its customer in that change, and must not have been written.
    assert stored.reopened().orders[CANCEL[0]].status == shop.orders[CANCEL[0]].status == "pending"


def test_sandboxes_of_a_stored_shop_write_nothing(stored: Stored) -> None:
    shop = stored.shop
    shop.fork().cancel_pending_order(*CANCEL)
    assert stored.reopened().orders[CANCEL[0]].status == "pending"


def test_a_database_holds_one_shop(url: str, imported: RetailStore) -> None:
    engine = open_engine(url)
    assert not holds_shop(engine)
    put_shop(engine, imported)
    assert holds_shop(engine)
    with pytest.raises(StorageError, match="Cannot write the shop into the database"):
        put_shop(engine, imported)
    engine.dispose()


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("shop.db", "'shop.db' is no database URL such as 'sqlite:///shop.db'"),
        ("nosuch://x", "is no database URL"),
        ("mysql+pymysql://x/y", "The driver 'pymysql' of the database is not installed"),
        ("sqlite:////nowhere/at/all/shop.db", "Cannot open the database: unable to open database file"),
    ],
)
def test_a_database_that_cannot_be_opened_is_told(url: str, problem: str) -> None:
    with pytest.raises(StorageError, match=problem):
        open_engine(url)
