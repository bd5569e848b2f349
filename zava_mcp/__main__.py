"""Serve the shop: `python -m zava_mcp --transport http --port 8765`."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from zava_mcp import database
from zava_mcp.errors import RetailError, StorageError
from zava_mcp.http import bound_socket, build_app, in_url, is_loopback, serve
from zava_mcp.sandboxes import Sandboxes
from zava_mcp.seed import generate_shop
from zava_mcp.server import build_server
from zava_mcp.snapshot import load_snapshot
from zava_mcp.store import RetailStore
from zava_mcp.tools import KEY_VARIABLE

DEFAULT_SEED = 7


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until the client goes or an interrupt comes; return 2 for a request that cannot be served."""
    options = _parser().parse_args(arguments)
    try:
        shop = _shop(options.snapshot, options.seed, options.database)
        if options.transport == "stdio":
            build_server(shop).run("stdio")
            return 0
        key = os.environ.get(options.api_key_env) or None
        if key is None and not is_loopback(options.host):
            raise RetailError(
                f"--host {options.host} can be reached from other machines, and no key is set. Set "
                f"{options.api_key_env}, or stay on 127.0.0.1."
            )
        listener = bound_socket(options.host, options.port)
    except RetailError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    address = f"http://{in_url(options.host)}:{listener.getsockname()[1]}/mcp"
    sys.stderr.write(f"The shop of {len(shop.users)} customers listens on {address}\n")
    serve(build_app(Sandboxes(shop), host=options.host, allowed_hosts=options.allowed_host, key=key), listener)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m zava_mcp", description="Serve the Zava retail shop over MCP.")
    parser.add_argument("--transport", choices=("stdio", "http"), default="stdio", help="default: stdio")
    parser.add_argument("--host", default="127.0.0.1", help="default: 127.0.0.1; another one than loopback needs a key")
    parser.add_argument("--port", type=int, default=8765, help="port to listen on, 0 for a free one, default: 8765")
    parser.add_argument(
        "--allowed-host",
        action="append",
        default=[],
        metavar="NAME",
        help="a further host name by which clients may call the server; repeat for several",
    )
    parser.add_argument(
        "--api-key-env", default=KEY_VARIABLE, metavar="NAME", help="the variable that holds the bearer key, if any"
    )
    content = parser.add_mutually_exclusive_group()
    content.add_argument("--snapshot", type=Path, metavar="FILE", help="import the shop from a snapshot")
    content.add_argument("--seed", type=int, metavar="N", help=f"generate the shop, default seed: {DEFAULT_SEED}")
    parser.add_argument(
        "--database",
        metavar="URL",
        help="keep the shared shop there, such as sqlite:///shop.db; default: in memory",
    )
    return parser


def _shop(snapshot: Path | None, seed: int | None, url: str | None) -> RetailStore:
    """Return the shop to serve; a database that holds one is never overwritten."""
    if url is None:
        return _fresh(snapshot, seed)
    engine = database.open_engine(url)
    if not database.holds_shop(engine):
        database.put_shop(engine, _fresh(snapshot, seed))
    elif snapshot is not None or seed is not None:
        raise StorageError("The database holds a shop already: leave out --snapshot and --seed, or use another one.")
    return database.load_shop(engine)


def _fresh(snapshot: Path | None, seed: int | None) -> RetailStore:
    return generate_shop(DEFAULT_SEED if seed is None else seed) if snapshot is None else load_snapshot(snapshot)


if __name__ == "__main__":
    sys.exit(main())
