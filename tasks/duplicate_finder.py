"""Duplicates among any number of conversations: what was kept is remembered on disk, so that memory stays the same."""

from collections.abc import Iterator
from hashlib import blake2b

from tasks.core.duplicates import Fingerprint, Likeness
from tasks.scratch import open_scratch

_TABLES = """
CREATE TABLE decisions (digest BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE kept (number INTEGER PRIMARY KEY, deeds BLOB, name TEXT, words BLOB, has_keys INTEGER DEFAULT 0);
CREATE INDEX kept_deeds ON kept (deeds, has_keys);
CREATE TABLE keys (key BLOB, number INTEGER, PRIMARY KEY (key, number)) WITHOUT ROWID;
"""


class DuplicateFinder:
    """Remembers the conversations that were kept, and says of the next one whether it adds nothing to them."""

    def __init__(self, similarity: float) -> None:
        """`similarity` is the share of word triples (Jaccard) at which two conversations say nearly the same."""
        self._likeness = Likeness(similarity)
        self._store = open_scratch(self, _TABLES)

    def repeats(self, found: Fingerprint) -> bool:
        """Whether every decision of a conversation was there before."""
        # The last decision comes after all the others, so where it is known they are.
        last = found.decisions[-1:]
        return not last or self._has("SELECT 1 FROM decisions WHERE digest = ?", *last)

    def nearest(self, found: Fingerprint) -> str | None:
        """Return the first kept conversation with the same calls and results and nearly the same words, or None."""
        # Most conversations are alone with what they did, and need no keys.
        if not self._has("SELECT 1 FROM kept WHERE deeds = ?", found.deeds):
            return None
        self._add_keys(found.deeds)
        near = (name for name, words in self._candidates(found) if self._likeness.alike(words, found.words))
        return next(near, None)

    def keep(self, name: str, found: Fingerprint) -> None:
        """Remember a conversation under a name of its own."""
        self._store.executemany("INSERT OR IGNORE INTO decisions VALUES (?)", [(key,) for key in found.decisions])
        kept = (found.deeds, name, found.words.encode(errors="surrogatepass"))
        self._store.execute("INSERT INTO kept (deeds, name, words) VALUES (?, ?, ?)", kept)

    def _has(self, query: str, key: bytes) -> bool:
        return self._store.execute(query, (key,)).fetchone() is not None

    def _add_keys(self, deeds: bytes) -> None:
        """Give keys to the kept conversations with these calls and results that have none yet."""
        query = "SELECT number, words FROM kept WHERE deeds = ? AND has_keys = 0"
        for number, words in self._store.execute(query, (deeds,)).fetchall():
            keys = ((key, number) for key in self._keys(deeds, _text(words)))
            self._store.executemany("INSERT INTO keys VALUES (?, ?)", keys)
            self._store.execute("UPDATE kept SET has_keys = 1 WHERE number = ?", (number,))

    def _candidates(self, found: Fingerprint) -> Iterator[tuple[str, str]]:
        keys = self._keys(found.deeds, found.words)
        query = (
            "SELECT name, words FROM kept WHERE number IN "
            f"(SELECT number FROM keys WHERE key IN ({', '.join('?' * len(keys))})) ORDER BY number"
        )
        for name, words in self._store.execute(query, keys):
            yield name, _text(words)

    def _keys(self, deeds: bytes, words: str) -> list[bytes]:
        return [blake2b(deeds + key, digest_size=16).digest() for key in self._likeness.keys(words)]


def _text(words: bytes) -> str:
    return words.decode(errors="surrogatepass")
