"""How varied the words of a dataset are: distinct utterances, and the shares of distinct runs of words."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from tasks.core.record import Record

MOST_CONVERSATIONS = 1000  # what is counted over, so that datasets of any size compare, and memory does not grow
LONGEST_RUN = 3

_WORD = re.compile(r"\S+")
_VALUE = re.compile(r"[\d@#_]")  # of an id, an email, an amount, a zip code
_EDGES = ".,:;!?()\"'"

Speaker = Literal["customer", "agent"]
_SPEAKERS: Mapping[str, Speaker] = {"user": "customer", "assistant": "agent"}


class SpokenVariety(Record):
    """What one side of the conversations says. A wording is an utterance with ids, emails and numbers left out.

    `distinct_n` is the share of different runs of n words among all such runs, also with those values left out.
    """

    speaker: Speaker
    utterances: int
    distinct: int
    wordings: int
    distinct_1: float
    distinct_2: float
    distinct_3: float


class VarietyMeter:
    """Takes conversations one after another, and counts over the first thousand of them."""

    def __init__(self) -> None:
        """Start with nothing said."""
        self._conversations = 0
        self._voices = {speaker: _Voice() for speaker in _SPEAKERS.values()}

    def add(self, messages: Sequence[Mapping[str, Any]]) -> None:
        """Take in the words of a conversation."""
        self._conversations += 1
        if self._conversations > MOST_CONVERSATIONS:
            return
        for message in messages:
            speaker = _SPEAKERS.get(message["role"])
            if speaker is not None and message["content"]:
                self._voices[speaker].add(message["content"])

    def figures(self) -> tuple[SpokenVariety, ...]:
        """Return what was counted, for each side."""
        return tuple(voice.figures(speaker) for speaker, voice in self._voices.items())


class _Voice:
    def __init__(self) -> None:
        self._utterances = 0
        self._distinct: set[str] = set()
        self._wordings: set[tuple[str, ...]] = set()
        self._runs: tuple[set[tuple[str, ...]], ...] = tuple(set() for _ in range(LONGEST_RUN))
        self._all_runs = [0] * LONGEST_RUN

    def add(self, text: str) -> None:
        words = tuple(word_of(found) for found in _WORD.findall(text))
        self._utterances += 1
        self._distinct.add(text)
        self._wordings.add(words)
        for place, known in enumerate(self._runs):
            runs = [words[start : start + place + 1] for start in range(len(words) - place)]
            known.update(runs)
            self._all_runs[place] += len(runs)

    def figures(self, speaker: Speaker) -> SpokenVariety:
        shares = [len(known) / total if total else 0.0 for known, total in zip(self._runs, self._all_runs, strict=True)]
        return SpokenVariety(
            speaker=speaker,
            utterances=self._utterances,
            distinct=len(self._distinct),
            wordings=len(self._wordings),
            distinct_1=shares[0],
            distinct_2=shares[1],
            distinct_3=shares[2],
        )


def word_of(text: str) -> str:
    """Return a word as it is counted: in small letters, without its punctuation, and as a blank where it is a value."""
    return "" if _VALUE.search(text) else text.casefold().strip(_EDGES)
