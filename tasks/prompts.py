"""How the arms of an evaluation ask: with the recorded prompt, a short one, or examples from the training rows."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from tasks.core import grader
from tasks.core.config import ArmConfig, EvaluationConfig
from tasks.core.dataset import DatasetFile
from tasks.core.evaluation import EvalItem
from tasks.prepare import read_rows

Message = Mapping[str, Any]
Prompt = Callable[[EvalItem], list[Message]]

# An example is the end of its history: what the next move mostly follows from, short enough for several.
_MESSAGES, _CHARS = 3, 500
_SPEAKERS = frozenset({"user", "assistant"})


def as_recorded(item: EvalItem) -> list[Message]:
    """Return the messages of an item as they are."""
    return list(item.item["messages"])


def prompt_of(arm: ArmConfig, config: EvaluationConfig, rows: DatasetFile) -> Prompt:
    """Return how an arm asks; `rows` are the training rows that it may take examples from.

    Raises:
        DataError: The rows are missing or broken.
    """
    if arm.examples:
        return Examples(rows, arm.examples, config.short_prompt if arm.prompt == "short" else None)
    return short(config.short_prompt) if arm.prompt == "short" else as_recorded


def short(text: str) -> Prompt:
    """Return a prompt with these words in place of the policy."""
    return lambda item: _with_system(item, text)


class _Point(NamedTuple):
    """A point of a conversation: who spoke last and after which tool, and the tools so far with the last words."""

    after: tuple[str, ...]
    words: str


class _Example(NamedTuple):
    conversation_id: str
    before: str
    point: _Point
    move: str


class Examples:
    """Adds the most similar moves of the training rows to the system prompt, at most one of a conversation.

    As text in the system prompt they cannot be mistaken for this conversation, and their ids are no source for it.
    """

    def __init__(self, rows: DatasetFile, count: int, system: str | None = None) -> None:
        """Index the rows; `system` takes the place of the item's own system prompt."""
        # Takes a second to import, and only this arm needs it.
        from sklearn.feature_extraction.text import TfidfVectorizer  # type: ignore[import-untyped]

        self._count, self._system = count, system
        self._examples = [example for row, meta in read_rows(rows) for example in _moves(row, meta.conversation_id)]
        self._vectorizer = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2))
        self._index = self._vectorizer.fit_transform([example.point.words for example in self._examples])

    def __call__(self, item: EvalItem) -> list[Message]:
        """Return the messages of an item with its examples in the system prompt."""
        messages = item.item["messages"]
        system = self._system if self._system is not None else _system_of(messages)
        shown = (
            f"## Example {number}\n{example.before}\nnext move of the agent: {example.move}"
            for number, example in enumerate(self.similar(messages), start=1)
        )
        heading = "# Examples\nRight next moves in other conversations. None of their ids is of this one."
        return _with_system(item, "\n\n".join([system, heading, *shown]).lstrip())

    def similar(self, messages: Sequence[Message]) -> list[_Example]:
        """Return the examples from the same point of a conversation, then others; those with the likest words first."""
        point = _point_of(messages)
        likeness = (self._index @ self._vectorizer.transform([point.words]).T).toarray().ravel()
        found: dict[str, _Example] = {}
        # A likeness is at most 1, so that the same point comes before any likeness of words.
        near = [
            score + 2 * (example.point.after == point.after)
            for score, example in zip(likeness, self._examples, strict=True)
        ]
        for place in sorted(range(len(near)), key=near.__getitem__, reverse=True):
            example = self._examples[place]
            found.setdefault(example.conversation_id, example)
            if len(found) == self._count:
                break
        return list(found.values())


def _moves(row: Mapping[str, Any], conversation_id: str) -> Iterator[_Example]:
    messages = row["messages"]
    for turn, message in enumerate(messages):
        if message["role"] == "assistant":
            before = messages[:turn]
            yield _Example(conversation_id, _end_of(before), _point_of(before), _told(message))


def _end_of(messages: Sequence[Message]) -> str:
    return "\n".join(f"{message['role']}: {_cut(_told(message))}" for message in _spoken(messages)[-_MESSAGES:])


def _point_of(messages: Sequence[Message]) -> _Point:
    """Return where in a conversation a move is due. What a tool answered says more of the record than of the move."""
    spoken = _spoken(messages)
    steps = [call["function"]["name"] for message in spoken for call in message.get("tool_calls") or ()]
    words = [_cut(str(message["content"])) for message in spoken if message["role"] in _SPEAKERS and message["content"]]
    return _Point((spoken[-1]["role"], *steps[-1:]), "\n".join([" ".join(steps), *words[-2:]]))


def _spoken(messages: Sequence[Message]) -> list[Message]:
    return [message for message in messages if message["role"] != "system"]


def _told(message: Message) -> str:
    calls = [grader.read_call(call) for call in message.get("tool_calls") or ()]
    if calls:
        return "; ".join(f"call {name} {json.dumps(arguments, ensure_ascii=False)}" for name, arguments in calls)
    return str(message.get("content") or "")


def _cut(text: str) -> str:
    return text if len(text) <= _CHARS else f"{text[:_CHARS]} ..."


def _system_of(messages: Sequence[Message]) -> str:
    return "\n\n".join(str(message["content"]) for message in messages if message["role"] == "system")


def _with_system(item: EvalItem, text: str) -> list[Message]:
    return [{"role": "system", "content": text}, *_spoken(item.item["messages"])]
