"""The split that each customer and each id was first seen in, remembered on disk, so that memory stays the same."""

from tasks.core.dataset import Split
from tasks.scratch import open_scratch

_TABLES = "CREATE TABLE homes (what TEXT, value BLOB, split TEXT, PRIMARY KEY (what, value)) WITHOUT ROWID;"


class Homes:
    """Remembers where each thing belongs."""

    def __init__(self) -> None:
        """Start with nothing seen."""
        self._store = open_scratch(self, _TABLES)

    def settle(self, thing: tuple[str, str], split: Split) -> Split:
        """Return the split in which a thing, by its kind and its value, was seen first: this one where it is new."""
        # Half of a surrogate pair is no text to SQLite.
        what, value = thing[0], thing[1].encode(errors="surrogatepass")
        query = "SELECT split FROM homes WHERE what = ? AND value = ?"
        found: tuple[Split] | None = self._store.execute(query, (what, value)).fetchone()
        if found is None:
            self._store.execute("INSERT INTO homes VALUES (?, ?, ?)", (what, value, split))
            return split
        return found[0]
