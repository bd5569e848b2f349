"""Tokens back to text and JSON: the inverse of `slot_text`, forgiving of anything that a model may emit."""

import json
from collections.abc import Sequence
from typing import Any

from infra.model_server.slot_text import WHITESPACE, Slots, Vocabulary, expected_gap

REFERENCE = "<from>"
"""How a reference shows that breaks off before its anchor."""


class MalformedError(ValueError):
    """The tokens are not a well-formed call."""


class Decoder:
    """Reads tokens of one conversation."""

    def __init__(self, vocabulary: Vocabulary, slots: Slots) -> None:
        """Decode with this vocabulary for the conversation of these slots."""
        self.v = vocabulary
        self.slots = slots
        self._names = {i: n for n, i in vocabulary.special.items()} | {vocabulary.reference: REFERENCE}

    def text(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens; structure tokens that have no place in text appear by name."""
        out: list[str] = []
        before = mark = ""
        explicit = False
        at = 0
        while at < len(tokens):
            token = tokens[at]
            name = self._names.get(token, "")
            at += 1
            if name in ("<cap>", "<up>"):
                mark = name
                continue
            if (gap := self._gap(token, name)) is not None:
                out.append(gap)
                explicit = True
                continue
            piece, at = self._piece(tokens, at - 1)
            piece = {"<cap>": piece.capitalize(), "<up>": piece.upper()}.get(mark, piece)
            out.append(piece if explicit or not piece else expected_gap(before, piece) + piece)
            before, mark, explicit = piece, "", False
        return "".join(out)

    def _gap(self, token: int, name: str) -> str | None:
        """Return the white space that a token stands for, or None where it stands for something else."""
        if name in ("<join>", "<space>"):
            return "" if name == "<join>" else " "
        if self.v.is_byte(token) and chr(token - self.v.first_byte) in WHITESPACE:
            return chr(token - self.v.first_byte)
        return None

    def _piece(self, tokens: Sequence[int], at: int) -> tuple[str, int]:
        token = tokens[at]
        if self.v.is_slot(token):
            return self.slots.string(token - self.v.first_slot), at + 1
        if token >= self.v.first_word:
            return self.v.words[token - self.v.first_word], at + 1
        if self.v.is_byte(token):
            return self._bytes(tokens, at, one_character=True)
        if self._names[token] == "<spell>":
            text, end = self._bytes(tokens, at + 1, one_character=False)
            closed = end < len(tokens) and tokens[end] == self.v.special["</spell>"]
            return text, end + closed
        return self._names[token], at + 1

    def _bytes(self, tokens: Sequence[int], at: int, *, one_character: bool) -> tuple[str, int]:
        raw = bytearray()
        while at < len(tokens) and self.v.is_byte(tokens[at]):
            raw.append(tokens[at] - self.v.first_byte)
            at += 1
            if one_character and (raw[0] < 0x80 or _complete(raw)):
                break
        return raw.decode("utf-8", errors="replace"), at

    def call(self, tokens: Sequence[int]) -> tuple[str, dict[str, Any]]:
        """Return the tool's name and arguments.

        Raises:
            MalformedError: The tokens are not a name followed by exactly one object.
        """
        opening = self.v.special["<{>"]
        if opening not in tokens:
            raise MalformedError("no arguments")
        start = list(tokens).index(opening)
        value, end = self._value(tokens, start)
        if end != len(tokens):
            raise MalformedError("something follows the arguments")
        return self._name(tokens[:start]), value

    def call_text(self, tokens: Sequence[int]) -> tuple[str, str]:
        """Return name and arguments text of a call, or what the model wrote where it is malformed."""
        try:
            name, arguments = self.call(tokens)
        except (MalformedError, RecursionError):
            opening = self.v.special["<{>"]
            start = list(tokens).index(opening) if opening in tokens else len(tokens)
            return self._name(tokens[:start]), self.text(tokens[start:])
        return name, json.dumps(arguments, separators=(",", ":"), ensure_ascii=False)

    def _name(self, tokens: Sequence[int]) -> str:
        if tokens and tokens[0] == self.v.special["<text>"]:
            return self.text(tokens[1:])
        return "_".join(self.text([t]) for t in tokens)

    def _value(self, tokens: Sequence[int], at: int) -> tuple[Any, int]:
        kind = self._name_at(tokens, at)
        if kind == "<{>":
            return self._object(tokens, at + 1)
        if kind == "<[>":
            return self._list(tokens, at + 1)
        if kind not in ("<:>", "<=>"):
            raise MalformedError(f"a value cannot start with {kind!r}")
        end = self._until(tokens, at + 1)
        text = self.text(tokens[at + 1 : end])
        if kind == "<:>":
            return text, end
        try:
            return json.loads(text), end
        except json.JSONDecodeError as error:
            raise MalformedError(f"{text!r} is not a JSON literal") from error

    def _object(self, tokens: Sequence[int], at: int) -> tuple[dict[str, Any], int]:
        out: dict[str, Any] = {}
        while self._name_at(tokens, at) != "<}>":
            if self._name_at(tokens, at) == "<,>":
                at += 1
            end = self._until(tokens, at)
            key = self._name(tokens[at:end])
            out[key], at = self._value(tokens, end)
        return out, at + 1

    def _list(self, tokens: Sequence[int], at: int) -> tuple[list[Any], int]:
        out: list[Any] = []
        while self._name_at(tokens, at) != "<]>":
            value, at = self._value(tokens, at)
            out.append(value)
        return out, at + 1

    def _until(self, tokens: Sequence[int], at: int) -> int:
        """Return where the next structure token stands."""
        structure = ("<{>", "<}>", "<[>", "<]>", "<:>", "<=>", "<,>")
        while self._name_at(tokens, at) not in structure:
            at += 1
        return at

    def _name_at(self, tokens: Sequence[int], at: int) -> str:
        if at >= len(tokens):
            raise MalformedError("the call breaks off")
        return self._names.get(tokens[at], "")


def _complete(raw: bytearray) -> bool:
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return len(raw) >= 4
    return True
