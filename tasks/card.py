"""The card of a dataset: what is in it, what was left out and why, how it was made, in Markdown, HTML and pictures."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from markupsafe import Markup

from tasks.artifacts import Dataset
from tasks.core.config import Profile
from tasks.core.coverage import table
from tasks.core.dataset import RowMeta
from tasks.files import write_atomically
from tasks.pictures import bar_chart, heat_map
from tasks.prepare import read_rows
from tasks.templating import template_environment

LICENCE = (
    "Made by Zava's programs from a generated shop: no text of people and no text of a model is in it. MIT, like Zava."
)
TAUGHT = (
    "Written by {models}, with results of the tools of {world}: the terms of the models' provider and of these records "
    "hold for it."
)
SAMPLES = 2  # conversations that are shown
_SHOWN = 400  # characters of a message
START, END = "(customer)", "(answer)"


class Card(NamedTuple):
    """The files of a card."""

    html: Path
    markdown: Path
    pictures: tuple[Path, ...]

    @property
    def files(self) -> tuple[Path, ...]:
        """All of them."""
        return (self.html, self.markdown, *self.pictures)


class _Counts:
    """What is counted over the training rows."""

    def __init__(self) -> None:
        self.messages: Counter[int] = Counter()
        self.calls: Counter[int] = Counter()
        self.tools: Counter[str] = Counter()
        self.intents: Counter[str] = Counter()
        self.transitions: Counter[tuple[str, str]] = Counter()
        self.samples: list[list[tuple[str, str]]] = []

    def add(self, row: Mapping[str, Any], meta: RowMeta) -> None:
        steps = list(_steps(row["messages"]))
        called = [step for step in steps if step not in {START, END}]
        self.messages[len(row["messages"])] += 1
        self.calls[len(called)] += 1
        self.tools.update(called)
        self.intents.update(meta.intents)
        self.transitions.update(pairwise(steps))
        if len(self.samples) < SAMPLES:
            self.samples.append(list(_shown(row["messages"])))


def write_card(dataset: Dataset, profile: Profile, folder: Path) -> Card:
    """Write `card.html`, `card.md` and the pictures of a dataset into its folder.

    Raises:
        DataError: The rows cannot be read, or the folder not written.
    """
    counts = _Counts()
    for row, meta in read_rows(dataset.split.train):
        counts.add(row, meta)
    card, pictures = card_in(folder), _pictures(counts)
    facts = _facts(dataset, profile, counts) | {"pictures": pictures}
    for path in (card.html, card.markdown):
        template = template_environment(html=path.suffix == ".html").get_template(f"{path.name}.j2")
        write_atomically(path, template.render(facts).encode())
    for path, picture in zip(card.pictures, pictures.values(), strict=True):
        write_atomically(path, str(picture).encode())
    return card


def card_in(folder: Path) -> Card:
    """Return the files of the card of the dataset in a folder."""
    names = ("messages", "calls", "tools", "intents", "transitions")
    return Card(folder / "card.html", folder / "card.md", tuple(folder / f"card-{name}.svg" for name in names))


def _facts(dataset: Dataset, profile: Profile, counts: _Counts) -> dict[str, Any]:
    split = dataset.split
    return {
        "profile": profile,
        "split": split,
        "files": split.files,
        "decisions": dataset.decisions,
        "coverage": table(split.coverage, profile.synthesis.coverage),
        "samples": counts.samples,
        "licence": _licence(profile),
        "again": "the models write anew where this workspace does not keep their answers"
        if profile.teacher
        else "the same settings give the same bytes",
        "settings": yaml.safe_dump(
            profile.model_dump(mode="json", include={"seed", "world", "synthesis", "teacher", "validation"})
        ),
    }


def _licence(profile: Profile) -> str:
    if profile.teacher is None:
        return LICENCE
    models = dict.fromkeys([profile.teacher.agent.model, profile.teacher.speaks_for_customer.model])
    return TAUGHT.format(models=" and ".join(models), world="a server" if profile.world.has_server else "the shop")


def _pictures(counts: _Counts) -> dict[str, Markup]:
    steps = [START, *(name for name, _ in counts.tools.most_common()), END]
    return {
        "card-messages.svg": bar_chart("Messages in a conversation", _banded(counts.messages, 4)),
        "card-calls.svg": bar_chart("Calls in a conversation", _banded(counts.calls, 1)),
        "card-tools.svg": bar_chart("Calls of each tool", dict(counts.tools.most_common())),
        "card-intents.svg": bar_chart("Requests of each kind", dict(counts.intents.most_common())),
        "card-transitions.svg": heat_map("What follows what: from row to column", steps, counts.transitions),
    }


def _banded(counts: Mapping[int, int], width: int) -> dict[str, int]:
    """Return counts by bands of numbers, also the empty ones in between."""
    bands: Counter[int] = Counter()
    for number, count in counts.items():
        bands[number // width] += count
    every = range(min(bands), max(bands) + 1) if bands else ()
    return {str(b) if width == 1 else f"{b * width} to {b * width + width - 1}": bands[b] for b in every}


def _steps(messages: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for message in messages:
        if message["role"] == "user":
            yield START
        elif message["role"] == "assistant":
            yield from [call["function"]["name"] for call in message.get("tool_calls") or ()] or [END]


def _shown(messages: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """Yield who speaks and what, without the system prompt, long results cut."""
    for message in messages:
        if message["role"] == "system":
            continue
        if message["content"]:
            text = message["content"]
            yield message["role"], text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
        for call in message.get("tool_calls") or ():
            yield "call", f"{call['function']['name']}({call['function']['arguments']})"
