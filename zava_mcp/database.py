"""The shared shop in a database: SQLite or PostgreSQL, every change in one transaction."""

import json
from collections.abc import Iterable
from typing import Any

from sqlalchemy import Engine, Integer, String, Text, create_engine, func, insert, select, update
from sqlalchemy.exc import ArgumentError as UrlError
from sqlalchemy.exc import NoSuchModuleError, SQLAlchemyError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from zava_mcp.entities import Order, Record, User, compact_json
from zava_mcp.errors import StorageError
from zava_mcp.snapshot import SECTIONS, dump_snapshot, parse_snapshot
from zava_mcp.state import Journal
from zava_mcp.store import RetailStore


class _Table(DeclarativeBase):
    """The tables of the shop."""


class _Row(_Table):
    """One record as JSON; `version` counts its changes, `place` keeps the order of the shop."""

    __tablename__ = "zava_records"

    section: Mapped[str] = mapped_column(String(16), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    place: Mapped[int] = mapped_column(Integer)
    version: Mapped[int] = mapped_column(Integer)
    body: Mapped[str] = mapped_column(Text)


def open_engine(url: str) -> Engine:
    """Connect to a database and make its table if there is none.

    Raises:
        StorageError: If the URL is wrong, its driver is not installed or the database cannot be reached.
    """
    try:
        engine = create_engine(url)
        _Table.metadata.create_all(engine)
    except (UrlError, NoSuchModuleError) as error:
        raise StorageError(f"{url!r} is no database URL such as 'sqlite:///shop.db': {error}.") from error
    except ModuleNotFoundError as error:
        raise StorageError(f"The driver {error.name!r} of the database is not installed.") from error
    except SQLAlchemyError as error:
        raise StorageError(f"Cannot open the database: {_reason(error)}.") from error
    return engine


def holds_shop(engine: Engine) -> bool:
    """Whether a shop was put into the database before."""
    try:
        with Session(engine) as session:
            return bool(session.scalar(select(func.count()).select_from(_Row)))
    except SQLAlchemyError as error:
        raise StorageError(f"Cannot read the database: {_reason(error)}.") from error


def put_shop(engine: Engine, shop: RetailStore) -> None:
    """Write a whole shop into an empty database, all of it or nothing.

    Raises:
        StorageError: If the database cannot be written or holds a shop already.
    """
    try:
        with Session(engine) as session, session.begin():
            session.execute(insert(_Row), list(_rows(shop)))
    except SQLAlchemyError as error:
        raise StorageError(f"Cannot write the shop into the database: {_reason(error)}.") from error


def load_shop(engine: Engine) -> RetailStore:
    """Return the shop that the database holds; each later change is written there first.

    Raises:
        StorageError: If the database cannot be read.
        SnapshotError: If a record in it is broken.
    """
    try:
        with Session(engine) as session:
            rows = list(session.scalars(select(_Row).order_by(_Row.section, _Row.place)))
    except SQLAlchemyError as error:
        raise StorageError(f"Cannot read the database: {_reason(error)}.") from error
    content: dict[str, Any] = {section: {} for section in SECTIONS}
    for row in rows:
        (content if row.section == "" else content[row.section])[row.key] = json.loads(row.body)
    versions = {(row.section, row.key): row.version for row in rows}
    loaded = parse_snapshot(content, source="the database")
    return loaded.journalled(_journal(engine, versions))


def _rows(shop: RetailStore) -> Iterable[dict[str, Any]]:
    for section, records in dump_snapshot(shop).items():
        # Whatever a snapshot held beside its three sections lies in a section without a name.
        known = section in SECTIONS
        entries = records.items() if known else [(section, records)]
        for place, (key, value) in enumerate(entries):
            yield {
                "section": section if known else "",
                "key": key,
                "place": place,
                "version": 1,
                "body": compact_json(value),
            }


def _journal(engine: Engine, versions: dict[tuple[str, str], int]) -> Journal:
    def write(records: tuple[User | Order, ...]) -> None:
        places = [_place(record) for record in records]
        try:
            with Session(engine) as session, session.begin():
                for (section, key), record in zip(places, records, strict=True):
                    _replace(session, section, key, versions[section, key], record)
        except SQLAlchemyError as error:
            raise StorageError(f"The change was not saved and not made: {_reason(error)}.") from error
        for place in places:
            versions[place] += 1

    return write


def _replace(session: Session, section: str, key: str, version: int, record: Record) -> None:
    """Write a record over the version that this shop has read, and over no newer one."""
    statement = (
        update(_Row)
        .where(_Row.section == section, _Row.key == key, _Row.version == version)
        .values(version=version + 1, body=record.compact())
        .returning(_Row.key)
    )
    if session.scalar(statement) is None:
        raise StorageError(
            f"The change was not made: {section} {key!r} was changed in the database by another server. "
            "Run one server on a database, and restart this one."
        )


def _place(record: User | Order) -> tuple[str, str]:
    return ("users", record.user_id) if isinstance(record, User) else ("orders", record.order_id)


def _reason(error: SQLAlchemyError) -> str:
    cause = getattr(error, "orig", None) or error
    return " ".join(str(cause).split())
