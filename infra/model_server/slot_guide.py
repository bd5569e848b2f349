"""Constrained decoding for slots: an answer can only name what its conversation has shown."""

from collections.abc import Iterable, Sequence

import torch

from infra.model_server.slot_text import Encoder, Slots, Vocabulary


class SlotGuide:
    """Keeps an answer to what its conversation has shown.

    Only offered tools can be called. A slot or anchor that stands for nothing cannot be written. A reference ("the
    blue, large one: its item id") can only be one that holds: the model says what it means, and gets the identifier of
    a record that is so described. A small model often writes the right words and then looks the wrong record up.
    """

    def __init__(
        self, vocabulary: Vocabulary, slots: Slots, tools: Sequence[str] = (), written: Sequence[int] = ()
    ) -> None:
        """Guide an answer that began with `written`, to a conversation that gave `slots` away and offers `tools`."""
        self._call, self._reference = vocabulary.special["<call>"], vocabulary.reference
        encoder = Encoder(vocabulary, slots)
        encoder.copying = True
        self._calls = [[*encoder.name(tool), vocabulary.special["<{>"]] for tool in tools]
        written_as = encoder.references()
        # One that found no slot free is spelled, and no reference.
        self._references = [tokens[1:] for tokens in written_as if tokens[0] == self._reference]
        self._open: list[list[int]] = []
        used_slots, used_anchors = slots.in_use()
        self._shown = torch.ones(vocabulary.size, dtype=torch.bool)
        self._shown[vocabulary.first_slot : vocabulary.first_word] = False
        self._allow(self._shown, (vocabulary.first_slot + slot for slot in used_slots))
        self._allow(self._shown, (vocabulary.first_anchor + anchor for anchor in used_anchors))
        self._shown[self._reference] = bool(self._references)
        self._shown[self._call] = bool(self._calls)
        for token in written:
            self.take(token)

    def allowed(self, vocabulary: int) -> torch.Tensor:
        """Return for each token whether it may come next."""
        if not self._open:
            return self._shown[:vocabulary]
        following = torch.zeros(vocabulary, dtype=torch.bool)
        self._allow(following, (left[0] for left in self._open))
        return following

    def take(self, token: int) -> None:
        """Note the token that was picked."""
        if token in (self._call, self._reference):
            self._open = self._calls if token == self._call else self._references
        else:
            self._open = [left[1:] for left in self._open if left[0] == token and len(left) > 1]

    @staticmethod
    def _allow(flags: torch.Tensor, tokens: Iterable[int]) -> None:
        flags[list(tokens)] = True
