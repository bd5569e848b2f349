"""Text and JSON as tokens in which every uncommon word and every identifier is one *slot*.

A slot stands for one exact string of one conversation, numbered by first appearance. To copy an order id the model
copies one token, and it cannot misspell it; the server maps the slot back. Everything that the model may write is
reversible byte for byte. A slot tells the *kind* of its string (an e-mail address, five digits, a name ...): which of
"Noah", "Brown" and "80279" is the ZIP must not hang on the words between them.

An *anchor* stands for one record of a list or table, before and after each field of the record. An identifier that
the model takes from a record is written as a *reference*: what the record is (a name, the options of a variant), its
anchor, the field, the anchor again, the identifier. So "the item id of the Phone Case" is a chain of short steps,
from the words to the anchor and from field and anchor to the id; and of several words ("blue, large") each votes for
the anchors beside it. What stands before the identifier in a reference vanishes when tokens are read back.
"""

import json
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

SPECIALS = (
    *("<pad>", "<end>", "<tools>", "<user>", "<assistant>", "<call>", "<tool>", "<{>", "<}>", "<[>", "<]>"),
    *("<:>", "<=>", "<,>", "<(>", "<)>", "<text>", "<cap>", "<up>", "<join>", "<space>", "<spell>", "</spell>"),
)
# How many slots there are for the strings of each kind, in the order of their tokens.
KINDS = {"email": 4, "five": 12, "short": 20, "decimal": 28, "long": 64, "mixed": 24, "lower": 16, "name": 104}
SLOTS = sum(KINDS.values())
ANCHORS = 96
BYTES = 256

SHORT = 64
"""Characters of a text that may be remembered: names, words and values come again with every turn of a conversation."""

WHITESPACE = frozenset(" \t\n\r\f\v")
_CHUNK = re.compile(r"[ \t\n\r\f\v]+|[^ \t\n\r\f\v\"'(),;!?{}\[\]<>=*|`]+|.", re.DOTALL)
_LEAD = re.compile(r"[#$]+")
_TAIL = re.compile(r"[.:]+$")
_WORD = re.compile(r"[^\W\d_]+|.", re.DOTALL)
_SNAKE = re.compile(r"[a-z][a-z0-9]*(?:_[a-z][a-z0-9]*)*")
_OPENERS = frozenset("#$('\"-_/@[{")
_SPACED = frozenset("#$(")
_SENTENCE_ENDS = frozenset(("", ".", "!", "?"))


class Vocabulary:
    """The token ids: specials, then bytes, slots, anchors, the mark that opens a reference, and words."""

    def __init__(self, words: Sequence[str]) -> None:
        """Number the tokens; `words` are surfaces, lower-case but for exceptions such as "I"."""
        self.special = {name: i for i, name in enumerate(SPECIALS)}
        self.first_byte = len(SPECIALS)
        self.first_slot = self.first_byte + BYTES
        self.first_anchor = self.first_slot + SLOTS
        self.reference = self.first_anchor + ANCHORS
        self.first_word = self.reference + 1
        self.words = list(words)
        self.word = {w: self.first_word + i for i, w in enumerate(words)}
        self.size = self.first_word + len(words)

    def is_byte(self, token: int) -> bool:
        """Tell whether the token is one raw byte."""
        return self.first_byte <= token < self.first_slot

    def is_slot(self, token: int) -> bool:
        """Tell whether the token is a slot."""
        return self.first_slot <= token < self.first_anchor

    def is_anchor(self, token: int) -> bool:
        """Tell whether the token is an anchor."""
        return self.first_anchor <= token < self.reference


class Slots:
    """The slots of one conversation: string to slot number and back; and the anchors of its records."""

    def __init__(self, rng: random.Random | None = None) -> None:
        """Number by first appearance; with `rng` (training) in a random order, so that no number means anything."""
        self._free: dict[str, list[int]] = {}
        first = 0
        for kind, count in KINDS.items():
            self._free[kind] = list(range(first, first + count))
            first += count
        self._anchor_order = list(range(ANCHORS))
        if rng is not None:
            for numbers in self._free.values():
                rng.shuffle(numbers)
            rng.shuffle(self._anchor_order)
        self._slot: dict[str, int] = {}
        self._string: dict[int, str] = {}
        self._records: dict[frozenset[str], int] = {}
        self._reference: dict[str, Reference] = {}

    def find(self, string: str) -> int | None:
        """Return the string's slot, or None where it has none."""
        return self._slot.get(string)

    def assign(self, string: str) -> int | None:
        """Return the string's slot, giving it one of its kind, or of the kind that has most left, where any is left."""
        slot = self._slot.get(string)
        if slot is None and len(self._slot) < SLOTS:
            free = self._free[kind_of(string)] or max(self._free.values(), key=len)
            slot = free.pop(0)
            self._slot[string] = slot
            self._string[slot] = string
        return slot

    def string(self, slot: int) -> str:
        """Return what a slot stands for; an unassigned one is visibly nobody's value."""
        return self._string.get(slot, f"unknown_{slot}")

    def in_use(self) -> tuple[set[int], set[int]]:
        """Return the slots that stand for a string, and the anchors that stand for a record."""
        return set(self._string), set(self._anchor_order[: len(self._records)])

    def record(self, identifiers: Mapping[str, str], description: Sequence[str]) -> int | None:
        """Return the anchor of the record with these identifiers (by field), giving it one where any is left.

        The same record has the same anchor when it is shown again, also in part. An identifier belongs to the record
        that showed it first; one that was known before (the customer named it, say) belongs to none.
        """
        strings = frozenset(identifiers.values())
        if strings:
            for known, anchor in self._records.items():
                if strings <= known:
                    return anchor
        if len(self._records) == ANCHORS:
            return None
        number = len(self._records)
        anchor = self._anchor_order[number]
        self._records[strings or frozenset((f"record {number}",))] = anchor
        for field, string in identifiers.items():
            if string not in self._slot:
                self._reference.setdefault(string, Reference(tuple(description), anchor, field))
        return anchor

    def referable(self) -> list[str]:
        """Return the identifiers that were taken from records."""
        return list(self._reference)

    def reference(self, string: str) -> "Reference | None":
        """Return where an identifier was taken from, or None where it belongs to no record."""
        return self._reference.get(string)


class Reference(NamedTuple):
    """A field of a record, as the model refers to it."""

    description: tuple[str, ...]
    anchor: int
    field: str


class Encoder:
    """Turns text and JSON into tokens; `copying` (the model's own turns) uses slots but never makes one."""

    def __init__(self, vocabulary: Vocabulary, slots: Slots) -> None:
        """Encode with this vocabulary for the conversation of these slots."""
        self.v = vocabulary
        self.slots = slots
        self.copying = False
        self._describing = False

    def text(self, text: str, *, prose: bool = True) -> list[int]:
        """Encode free text. Spaces that a reader would expect cost nothing.

        A capital letter at the start of a sentence says nothing; elsewhere, and always where `prose` is false, it
        makes a name of a word, and a name is a slot: what is copied must be one token.
        """
        out: list[int] = []
        before = ""
        gap = ""
        for piece, is_entity in _pieces(text):
            if piece[0] in WHITESPACE:
                gap = piece
                continue
            out += self._gap(before, piece, gap)
            starts = prose and before in _SENTENCE_ENDS
            out += self._slot(piece) if is_entity else self._plain(piece, starts)
            before, gap = piece, ""
        return out + self._whitespace(gap)

    def references(self) -> list[list[int]]:
        """Return each identifier of a record as the model writes it, from the mark of a reference to its slot."""
        copying, self.copying = self.copying, True
        references = [self.text(string, prose=False) for string in self.slots.referable()]
        self.copying = copying
        return references

    def name(self, name: str) -> list[int]:
        """Encode an identifier: snake_case words cost one token each, anything else is marked as text."""
        words = name.split("_")
        if _SNAKE.fullmatch(name) and all(w in self.v.word for w in words):
            return [self.v.word[w] for w in words]
        return [self.v.special["<text>"], *self.text(name, prose=False)]

    def value(self, value: Any) -> list[int]:
        """Encode a JSON value."""
        s = self.v.special
        if isinstance(value, str):
            return [s["<:>"], *self.text(value, prose=False)]
        if isinstance(value, list):
            return [s["<[>"], *(t for item in value for t in self._item(item)), s["<]>"]]
        if isinstance(value, dict):
            return self._table(value) if self._is_table(value) else self._object(value)
        return [s["<=>"], *self.text(json.dumps(value))]

    def _object(self, value: dict[str, Any]) -> list[int]:
        s = self.v.special
        out = [s["<{>"]]
        comma = False
        for key, item in value.items():
            if comma:
                out.append(s["<,>"])
            out += self.name(key)
            out += self.value(item)
            comma = not isinstance(item, (dict, list))
        return [*out, s["<}>"]]

    def _item(self, item: Any) -> list[int]:
        return self._record(item) if isinstance(item, dict) and not self.copying else self.value(item)

    def _is_table(self, value: dict[str, Any]) -> bool:
        return not self.copying and bool(value) and all(isinstance(item, dict) for item in value.values())

    def _table(self, value: dict[str, Any]) -> list[int]:
        """Encode records by key; a key that its record holds as well is not written twice."""
        out = [self.v.special["<{>"]]
        for key, record in value.items():
            if key not in record.values():
                out += self.name(key)
            out += self._record(record, key)
        return [*out, self.v.special["<}>"]]

    def _record(self, record: dict[str, Any], key: str = "") -> list[int]:
        """Encode an object of a list or table; what is nested in it is not set apart."""
        fields = {**record, "": key}
        identifiers = {name: value for name, value in fields.items() if _is_identifier(value)}
        anchor = self.slots.record(identifiers, _description(record))
        if anchor is None:
            return self._object(record)
        mark = [self.v.first_anchor + anchor]
        return [self.v.special["<{>"], *mark, *self._fields(record, mark), self.v.special["<}>"]]

    def _fields(self, record: dict[str, Any], mark: list[int]) -> list[int]:
        out: list[int] = []
        for key, item in record.items():
            if isinstance(item, dict) and not self._is_table(item):
                out += self._fields(item, mark)
            elif _is_identifier(item):
                out += [*self.name(_field(key)), *mark, *self.text(item), *mark]
            else:
                out += [*self.name(key), *self.value(item), *mark]
        return out

    def _gap(self, before: str, piece: str, gap: str) -> list[int]:
        if gap == expected_gap(before, piece):
            return []
        if gap == "":
            return [self.v.special["<join>"]]
        return self._whitespace(gap)

    def _whitespace(self, gap: str) -> list[int]:
        return [self.v.special["<space>"] if c == " " else self.v.first_byte + ord(c) for c in gap]

    def _plain(self, piece: str, starts: bool) -> list[int]:
        if piece in self.v.word:
            return [self.v.word[piece]]
        if len(piece) == 1 and not piece.isalpha():
            return [self.v.first_byte + b for b in piece.encode()]
        known = self.v.word.get(piece.lower())
        mark = _case_mark(piece)
        if known is None or mark is None or self.slots.find(piece) is not None or not (starts or self.copying):
            return self._slot(piece)
        return [self.v.special[mark], known]

    def _taken_from(self, string: str) -> list[int]:
        """Encode what stands before an identifier that the model takes from a record."""
        reference = self.slots.reference(string) if self.copying and not self._describing else None
        if reference is None:
            return []
        self._describing = True
        words = [token for part in reference.description for token in self.text(part, prose=False)]
        self._describing = False
        anchor = self.v.first_anchor + reference.anchor
        field = [*self.name(_field(reference.field)), anchor] if reference.field else []
        return [self.v.reference, *words, anchor, *field]

    def _slot(self, string: str) -> list[int]:
        slot = self.slots.find(string) if self.copying else self.slots.assign(string)
        if slot is not None:
            return [*self._taken_from(string), self.v.first_slot + slot]
        spelled = [self.v.first_byte + b for b in string.encode()]
        return [self.v.special["<spell>"], *spelled, self.v.special["</spell>"]]


def kind_of(string: str) -> str:
    """Return which of `KINDS` a string is, by its look alone."""
    if "@" in string:
        return "email"
    if string.isdecimal():
        return "five" if len(string) == 5 else "short" if len(string) < 5 else "long"
    if any(c.isdigit() for c in string):
        return "mixed" if any(c.isalpha() for c in string) else "decimal"
    return "name" if string[:1].isupper() else "lower"


def _field(key: str) -> str:
    """Return the name of an identifier's field without "id", which says nothing there.

    What tells the fields of a record apart ("item", "product") then stands two tokens before the identifier, within
    the reach of one convolution.
    """
    return key.removesuffix("_id")


def _description(record: dict[str, Any]) -> list[str]:
    """Return the words of the first field of a record that is not an identifier; of an object, all its words."""
    for value in record.values():
        if isinstance(value, str) and value and not _is_identifier(value):
            return [value]
        if isinstance(value, dict) and value and all(isinstance(part, str) for part in value.values()):
            return list(value.values())
    return []


def _is_identifier(value: Any) -> bool:
    return isinstance(value, str) and _pieces(value) == ((value, True),)


def _pieces(text: str) -> tuple[tuple[str, bool], ...]:
    """Split text into whitespace, words, single marks, and entities (anything with a digit or an @ in it)."""
    return _known_pieces(text) if len(text) <= SHORT else tuple(_split(text))


@lru_cache(maxsize=1 << 12)
def _known_pieces(text: str) -> tuple[tuple[str, bool], ...]:
    return tuple(_split(text))


def _split(text: str) -> Iterator[tuple[str, bool]]:
    for chunk in _CHUNK.findall(text):
        if chunk[0] in WHITESPACE:
            yield chunk, False
            continue
        lead = _LEAD.match(chunk)
        start = lead.end() if lead else 0
        tail = _TAIL.search(chunk, start)
        end = tail.start() if tail else len(chunk)
        yield from ((c, False) for c in chunk[:start])
        body = chunk[start:end]
        if len(body) > 1 and (any(c.isdigit() for c in body) or "@" in body):
            yield body, True
        else:
            yield from ((p, False) for p in _WORD.findall(body))
        yield from ((c, False) for c in chunk[end:])


def expected_gap(before: str, piece: str) -> str:
    """Return the white space that usually stands between two pieces and therefore needs no token."""
    wordlike = piece[0].isalnum() or piece in _SPACED
    return " " if before and wordlike and before not in _OPENERS else ""


def _case_mark(piece: str) -> str | None:
    """Return the mark that gives the surface back from the lower-case word, or None where there is none."""
    lower = piece.lower()
    if piece == lower.capitalize():
        return "<cap>"
    return "<up>" if piece == lower.upper() else None
