"""The policy gate: was a conversation led as the shop's policy asks, whatever the tools let pass.

The shop refuses what its rules forbid, but it cannot see whether the customer was known, was asked and said yes, or
whether the words to the customer are covered by what was read. These rules look at the conversation alone.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tasks.core.conversation import Fault
from tasks.core.record import Record
from tasks.core.tool_schema import read_arguments

Message = Mapping[str, Any]

_YES = re.compile(
    r"\b(yes|yeah|yep|yup|sure|ok|okay|correct|right|confirm(ed)?|agreed?|absolutely|certainly|definitely|of course|"
    r"exactly|perfect|fine|works|sounds good|go (ahead|for it|on)|proceed|continue|do (it|so|that)|please do)\b"
)
_FIRM_YES = re.compile(r"\W*(yes|yeah|yep|yup|sure|correct|absolutely|certainly|i confirm)\b")
_NO = re.compile(
    r"\b(no|not|nope|don'?t|never mind|wait|stop|hold on|rather|nothing|forget|leave|keep|chang(e|ed) my mind)\b"
)
_FIRM_NO = re.compile(r"\b(don'?t|do not|wait|stop|hold on|never mind|changed my mind)\b")
_ASKS_FOR_A_HUMAN = re.compile(
    r"\b(humans?|persons?|people|agents?|staff|team|representatives?|managers?|supervisors?|operators?|someone|"
    r"somebody|colleagues?|real)\b"
)
_REFUSES = re.compile(r"\b(sorry|cannot|can'?t|unable|not possible|not allowed|unfortunately)\b")
_DENIES = re.compile(r"\b(cannot|can'?t|can only|unable|not possible|not allowed|does not cover|too small)\b")
_OFFERS = re.compile(
    r"\b(confirm|yes/no|yes or no|is (that|this|it) (right|correct|ok|okay)|shall i|should i|proceed)\b"
)
_STATUS = re.compile(r"\b(pending|processed|delivered|cancelled|canceled|requested|modified)\b")


class Procedure(Record):
    """What the rules need to know of a world: which tool does what, and how a record is named."""

    lookups: frozenset[str]
    profile: str
    writes: frozenset[str]
    hand_over: str
    person: str  # the argument that names the customer
    record: str  # the argument that names a record of theirs
    record_pattern: str


RETAIL = Procedure(
    lookups=frozenset({"find_user_id_by_email", "find_user_id_by_name_zip"}),
    profile="get_user_details",
    writes=frozenset(
        {
            "update_address",
            "cancel_pending_order",
            "modify_pending_order_address",
            "modify_pending_order_items",
            "modify_pending_order_payment",
            "return_delivered_order_items",
            "exchange_delivered_order_items",
        }
    ),
    hand_over="transfer_to_human_agents",
    person="user_id",
    record="order_id",
    record_pattern=r"#W\d+",
)


def is_yes(text: str) -> bool:
    """Whether a customer's words are an explicit yes; anything but a yes is a no."""
    words = text.casefold()
    if _FIRM_YES.match(words):
        return not _FIRM_NO.search(words)
    return bool(_YES.search(words)) and not _NO.search(words)


def asks_for_a_human(text: str) -> bool:
    """Whether a customer's words ask for a person."""
    return bool(_ASKS_FOR_A_HUMAN.search(text.casefold()))


def breaches(
    messages: Sequence[Message], procedure: Procedure = RETAIL, customer_id: str | None = None
) -> Iterator[Fault]:
    """Yield where a well-formed conversation breaks the policy, turn by turn.

    `customer_id` names the customer whose conversation it is, where that is known.
    """
    log = _Log(procedure, customer_id)
    for turn, message in enumerate(messages):
        for fault in log.take(message):
            yield fault._replace(turn=turn)
    if ignored := log.ignored():
        yield Fault("a record that the customer named was never taken up", ", ".join(ignored))


class _Log:
    """What is known at one point of a conversation: who was found, what was read, what was asked and answered."""

    def __init__(self, procedure: Procedure, customer_id: str | None) -> None:
        self._procedure = procedure
        self._expected = customer_id
        self._record_pattern = re.compile(procedure.record_pattern)
        self._found: str | None = None
        self._profile_due = False
        self._profile = ""
        self._read: set[str] = set()
        self._asked_for: dict[str, None] = {}
        self._taken_up: set[str] = set()
        self._question = ""  # the agent's words right before the customer's last ones
        self._answer = ""
        self._words: list[tuple[str, str]] = []  # what was said so far, by whom
        self._handed_over = False
        self._calls: dict[str, tuple[str, Mapping[str, Any]]] = {}

    def take(self, message: Message) -> list[Fault]:
        """Take in a message and return what is wrong with it."""
        match message["role"]:
            case "user":
                self._hear(message["content"])
            case "tool":
                self._be_told(message)
            case "assistant" if message.get("tool_calls"):
                return [fault for call in message["tool_calls"] for fault in self._call(call)]
            case "assistant":
                return list(self._speak(message["content"]))
        return []

    def ignored(self) -> list[str]:
        """Return the records that the customer named and no turn of the agent took up."""
        return [record for record in self._asked_for if record not in self._taken_up]

    def _hear(self, text: str) -> None:
        self._answer = text
        self._asked_for |= dict.fromkeys(self._record_pattern.findall(text))
        self._words.append(("user", text))

    def _be_told(self, message: Message) -> None:
        name, arguments = self._calls.get(message["tool_call_id"], ("", {}))
        result = message["content"]
        if name in self._procedure.lookups and " " not in result:  # a bare id; a refusal is a sentence
            self._profile_due, self._found = True, result
        elif name == self._procedure.profile:
            self._profile = result
        if isinstance(record := arguments.get(self._procedure.record), str):
            self._read.add(record)

    def _speak(self, text: str) -> Iterator[Fault]:
        if self._profile_due:
            yield Fault("the profile was not fetched right after the lookup")
        self._question = text
        self._words.append(("assistant", text))
        named = self._record_pattern.findall(text)
        self._taken_up.update(named)
        unread = ", ".join(record for record in named if self._is_theirs(record) and record not in self._read)
        if unread and _STATUS.search(text):
            yield Fault("the state of a record that was not read", unread)
        elif unread and _DENIES.search(text.casefold()):
            yield Fault("a refusal about a record that was not read", unread)
        elif unread and "?" in text and _OFFERS.search(text.casefold()):
            yield Fault("a change offered before the record was read", unread)

    def _call(self, call: Mapping[str, Any]) -> Iterator[Fault]:
        name, arguments = call["function"]["name"], read_arguments(call["function"]["arguments"])
        self._calls[call["id"]] = (name, arguments)
        if self._handed_over:
            yield Fault("a call after the hand-over", name)
        yield from self._identity_faults(name, arguments)
        record = arguments.get(self._procedure.record)
        if isinstance(record, str):
            self._taken_up.add(record)
            if self._profile and not self._is_theirs(record):
                yield Fault("another customer's record", record)
        if name in self._procedure.writes:
            yield from self._write_faults(name, arguments, record)
        if name == self._procedure.hand_over:
            self._handed_over = True
            if not self._may_hand_over():
                yield Fault("handed over though nobody asked and nothing was refused")

    def _identity_faults(self, name: str, arguments: Mapping[str, Any]) -> Iterator[Fault]:
        due, self._profile_due = self._profile_due, False
        person = arguments.get(self._procedure.person)
        if due and name != self._procedure.profile:
            yield Fault("the profile was not fetched right after the lookup", f"{name} came instead")
        if name in self._procedure.lookups:
            if self._found is not None:
                yield Fault("a second customer was looked up")
        elif self._found is None and name != self._procedure.hand_over:
            yield Fault("acted before the customer was found", name)
        elif person is not None and person != self._found:
            yield Fault("another customer's profile", f"{person!r} is not {self._found!r}")
        if self._expected is not None and person not in {None, self._expected}:
            yield Fault("not the customer of the scenario", f"{person!r} is not {self._expected!r}")

    def _write_faults(self, name: str, arguments: Mapping[str, Any], record: Any) -> Iterator[Fault]:
        if record is not None and record not in self._read:
            yield Fault("changed a record without reading it first", f"{name} {record}")
        details = [record] if isinstance(record, str) else [v for v in arguments.values() if _is_detail(v)]
        asked = "?" in self._question and any(detail in self._question for detail in details)
        if not asked or not is_yes(self._answer):
            yield Fault("changed without an explicit yes to its details", name)
        self._answer = ""  # a yes is good for one change

    def _may_hand_over(self) -> bool:
        """Whether the customer asked for a person, or was refused something."""
        return any(
            asks_for_a_human(text) if role == "user" else _REFUSES.search(text.casefold()) for role, text in self._words
        )

    def _is_theirs(self, record: str) -> bool:
        return f'"{record}"' in self._profile


def _is_detail(value: Any) -> bool:
    return isinstance(value, str) and len(value) > 3
