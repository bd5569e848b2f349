"""Which state of the shop a call works on: the shared one, or the named sandbox of a client."""

import re
from collections import OrderedDict

from zava_mcp.errors import SandboxError
from zava_mcp.store import RetailStore

MAX_SANDBOXES = 1024

_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")


class Sandboxes:
    """The shared shop and its named sandboxes; each of these starts as the shop was when serving began."""

    def __init__(self, shop: RetailStore, *, limit: int = MAX_SANDBOXES) -> None:
        """Serve `shop` to calls without a sandbox; beyond `limit` sandboxes the one unused for longest goes."""
        self.shared = shop
        self._start = shop.fork()
        self._limit = limit
        self._named: OrderedDict[str, RetailStore] = OrderedDict()

    def store(self, name: str | None) -> RetailStore:
        """Return the store of a sandbox, made on its first use, or the shared shop when none is named.

        Raises:
            SandboxError: If the name is too long or holds other characters than letters, digits, '.', '_' and '-'.
        """
        if name is None:
            return self.shared
        checked = checked_name(name)
        if checked not in self._named:
            self._named[checked] = self._start.fork()
            if len(self._named) > self._limit:
                self._named.popitem(last=False)
        self._named.move_to_end(checked)
        return self._named[checked]

    def peek(self, name: str) -> RetailStore:
        """Return the store of a sandbox without making one: before its first use, the shop as it started."""
        return self._named.get(checked_name(name), self._start)

    @property
    def start(self) -> RetailStore:
        """The shop as it was when serving began; not to be changed."""
        return self._start

    def drop(self, name: str) -> bool:
        """Forget a sandbox, so that its next use starts afresh; return whether there was one."""
        return self._named.pop(checked_name(name), None) is not None

    def __len__(self) -> int:
        """Return the number of sandboxes."""
        return len(self._named)


def checked_name(name: str) -> str:
    """Return a sandbox name that may be used, or raise SandboxError."""
    if not _NAME.fullmatch(name):
        raise SandboxError(f"Sandbox name {name[:80]!r} must be 1 to 64 letters, digits, '.', '_' or '-'.")
    return name
