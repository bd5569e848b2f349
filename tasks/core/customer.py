"""The scripted customer: speaks a scenario through the phrase grammar, and tells what its words disclosed."""

import random
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from tasks.core.phrases import PhraseBook, Spoken
from tasks.core.scenario import Request, Scenario

Question = Literal["identity", "request", "reason", "refund", "payment", "confirmation", "anything_else"]

GREETS = 0.7  # share of conversations that begin with a greeting
CONNECTS = 0.6  # share of further requests with a connecting phrase
TELLS_AT_ONCE = 0.5  # share of vague customers who name their request along with their identity
REASON_FIRST = 0.3  # share of cancellations whose reason comes before the request


class Said(NamedTuple):
    """A customer turn: the words, and exactly the facts that they disclose."""

    text: str
    facts: dict[str, Any]


class ScriptedCustomer:
    """A customer with a scenario. What they say next depends on the scenario and on what they are asked."""

    def __init__(self, scenario: Scenario, user: Mapping[str, Any], phrases: PhraseBook, rng: random.Random) -> None:
        """Play `scenario` as the customer whose profile `user` is."""
        self._scenario = scenario
        self._user = user
        self._phrases = phrases
        self._rng = rng
        self._next = 0
        self._spoken: list[str] = []

    @property
    def template_ids(self) -> tuple[str, ...]:
        """The templates spoken so far, each once, in order of first use."""
        return tuple(dict.fromkeys(self._spoken))

    def open(self) -> Said:
        """Say the first words of the conversation."""
        greeting = [self._say("greeting")] if self._rng.random() < GREETS else []
        match self._scenario.opening:
            case "all":
                parts = [self._identity(), self._request()]
                self._rng.shuffle(parts)
            case "request_first":
                parts = [self._noisy(self._request())]
            case "identity_first":
                parts = [self._identity()]
            case "vague":
                parts = [self._noisy(Said(self._say("vague"), {}))]
        return _joined(*(Said(text, {}) for text in greeting), *parts)

    def can_answer(self, question: Question) -> bool:
        """Whether the scenario says anything about a question at this point."""
        match question:
            case "request":
                return self._next < len(self._scenario.requests)
            case "reason":
                return self._next > 0 and "reason" in self._current.facts
            case "refund" | "payment":
                return self._next > 0 and "payment" in self._current.facts
            case "confirmation":
                return self._next > 0
            case _:
                return True

    def answer(self, question: Question) -> Said:
        """Answer what the agent asked."""
        match question:
            case "identity":
                return self._identify()
            case "request":
                return self._noisy(self._request())
            case "anything_else":
                return self._go_on()
            case "reason":
                return self._noisy(self._reason(self._current))
            case "refund" | "payment":
                return self._payment(self._current, "answer.payment")
            case "confirmation":
                confirms = self._current.trap != "changes_mind"
                return Said(self._say("yes" if confirms else "no"), {"confirms": confirms})

    @property
    def _current(self) -> Request:
        return self._scenario.requests[self._next - 1]

    def _identify(self) -> Said:
        if self._next == 0 and self._rng.random() < TELLS_AT_ONCE:
            return _joined(self._identity(), self._request())
        return self._noisy(self._identity())

    def _go_on(self) -> Said:
        if self._next == len(self._scenario.requests):
            return Said(self._say("goodbye"), {"done": True})
        connector = [Said(self._say("connector"), {})] if self._rng.random() < CONNECTS else []
        return _joined(*connector, self._noisy(self._request()))

    def _identity(self) -> Said:
        if self._scenario.authenticate_by == "email":
            facts = {"email": self._user["email"]}
        else:
            name = self._user["name"]
            facts = {"first": name["first_name"], "last": name["last_name"], "zip": self._user["address"]["zip"]}
        return Said(self._say(f"identity.{self._scenario.authenticate_by}", **facts), {"identity": facts})

    def _request(self) -> Said:
        """Say the next request, with every fact that is not kept until asked for."""
        request = self._scenario.requests[self._next]
        self._next += 1
        told = {key: value for key, value in request.facts.items() if key not in request.late}
        if request.intent == "modify_payment":
            told["payment"] = _mention(request.facts["payment"])
        spoken = self._phrases.request(request.intent, self._scenario.split, self._rng, **self._slots(request))
        parts = [Said(self._heard(spoken), {})]
        if "reason" in told:
            parts.append(self._reason(request))
            if self._rng.random() < REASON_FIRST:
                parts.reverse()
        elif "payment" in told and request.intent != "modify_payment":
            act = "refund_to" if request.intent == "return" else "pay_with"
            parts.append(self._payment(request, act))
            told["payment"] = _mention(request.facts["payment"])
        return Said(_joined(*parts).text, {"request": {"intent": request.intent, **told}})

    def _reason(self, request: Request) -> Said:
        reason = request.facts["reason"]
        return Said(self._say(f"reason.{reason.replace(' ', '_')}"), {"reason": reason})

    def _payment(self, request: Request, act: str) -> Said:
        payment = request.facts["payment"]
        return Said(self._say(act, payment=self._payment_words(payment)), {"payment": _mention(payment)})

    def _payment_words(self, payment: Mapping[str, str]) -> str:
        match payment["said_as"]:
            case "original":
                return self._phrases.word("payment.original", self._rng)
            case "kind":
                return self._phrases.word(f"payment.{payment['source']}", self._rng)
            case _:
                return payment["id"]

    def _slots(self, request: Request) -> dict[str, str]:
        """Return the words for the slots of a request's templates."""
        facts = request.facts
        slots: dict[str, str] = {}
        if "order_id" in facts:
            slots["order"] = facts["order_id"]
        if "item" in facts:
            slots["item"] = facts["item"]
        if "items" in facts:
            slots["items"] = " and ".join(f"the {name}" for name in facts["items"])
        if "address" in facts:
            slots["address"] = self._address(facts["address"])
        if request.intent == "modify_payment":
            slots["payment"] = self._payment_words(facts["payment"])
        return slots | self._change_slots(facts.get("changes", ()))

    def _change_slots(self, changes: Any) -> dict[str, str]:
        if not changes:
            return {}
        if len(changes) == 1:
            return {"item": changes[0]["item"], "options": self._options(changes[0]["options"])}
        said = [f"the {change['item']} to {self._options(change['options'])}" for change in changes]
        return {"changes": ", and ".join(said)}

    def _options(self, options: Mapping[str, str]) -> str:
        """Say all options of a variant, each in the same form."""
        template_id, template = self._rng.choice(self._phrases.templates("option", self._scenario.split))
        self._spoken.append(template_id)
        *said, last = [template.format(name=name, value=value) for name, value in options.items()]
        return f"{', '.join(said)} and {last}" if said else last

    def _address(self, address: Mapping[str, str]) -> str:
        street = ", ".join(part for part in (address["address1"], address["address2"]) if part)
        rest = {key: address[key] for key in ("city", "state", "zip", "country")}
        return self._say("address", street=street, **rest)

    def _noisy(self, said: Said) -> Said:
        """Put small talk before or after some turns."""
        if self._rng.random() >= self._scenario.noise_rate:
            return said
        parts = [said, Said(self._say("small_talk"), {})]
        self._rng.shuffle(parts)
        return _joined(*parts)

    def _say(self, act: str, **slots: str) -> str:
        return self._heard(self._phrases.say(act, self._scenario.split, self._rng, **slots))

    def _heard(self, spoken: Spoken) -> str:
        self._spoken += spoken.template_ids
        return spoken.text


def _mention(payment: Mapping[str, str]) -> dict[str, str]:
    """Return what the customer's words say of a payment method: its id, its kind, or that it is the original one."""
    match payment["said_as"]:
        case "original":
            return {"original": payment["said_as"]}
        case "kind":
            return {"kind": payment["source"]}
        case _:
            return {"id": payment["id"]}


def _joined(*parts: Said) -> Said:
    facts: dict[str, Any] = {}
    for part in parts:
        facts |= part.facts
    return Said(" ".join(part.text for part in parts), facts)
