"""The scripted customer: speaks a scenario through the phrase grammar, and tells what its words disclosed."""

import random
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from tasks.core.phrases import PhraseBook, Spoken
from tasks.core.scenario import OWN_WORDS, REFUSED, Hurdle, Request, Scenario

Question = Literal["identity", "request", "order", "reason", "refund", "payment", "confirmation", "anything_else"]

GREETS = 0.7  # share of conversations that begin with a greeting
CONNECTS = 0.6  # share of further requests with a connecting phrase
TELLS_AT_ONCE = 0.5  # share of vague customers who name their request along with their identity
IMPATIENCE = 0.6  # share of turns in which an impatient customer says so
TYPOS = 0.12  # share of longer words that a hasty customer writes with a slip
_SPELT_WELL = frozenset({"yes", "no", "correct.order", "do.human", "request.human"})  # read by rules of the policy
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
        self._gave_wrong_zip = False
        self._slips = set(scenario.hurdles)  # each but haste and impatience happens once

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
            case "order":
                return self._next > 0 and "order_id" in self._current.facts
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
            case "order":
                order_id = self._current.facts["order_id"]
                return self._noisy(Said(self._say("answer.order", order=order_id), {"order_id": order_id}))
            case "reason":
                return self._noisy(self._reason(self._current))
            case "refund" | "payment":
                return self._payment(self._current, "answer.payment")
            case "confirmation":
                return self._decide()

    @property
    def _current(self) -> Request:
        return self._scenario.requests[self._next - 1]

    def _decide(self) -> Said:
        if self._current.first_named and self._slip("wrong_order"):
            meant = self._current.facts["order_id"]
            return Said(self._say("correct.order", order=meant), {"confirms": False, "meant": meant})
        confirms = self._current.trap != "changes_mind"
        return Said(self._say("yes" if confirms else "no"), {"confirms": confirms})

    def _slip(self, hurdle: Hurdle) -> bool:
        """Whether a difficulty comes now; it comes once."""
        comes = hurdle in self._slips
        self._slips.discard(hurdle)
        return comes

    def _identify(self) -> Said:
        if self._slip("no_email"):
            return self._noisy(Said(self._say("no_email"), {"no_email": True}))
        if self._next == 0 and self._rng.random() < TELLS_AT_ONCE:
            return _joined(self._identity(), self._request())
        return self._noisy(self._identity())

    def _go_on(self) -> Said:
        if self._current.trap in REFUSED and self._slip("persists"):
            return Said(self._say("persist"), {"persists": True})
        if self._next == len(self._scenario.requests):
            return Said(self._say("goodbye"), {"done": True})
        connector = [Said(self._say("connector"), {})] if self._rng.random() < CONNECTS else []
        return _joined(*connector, self._noisy(self._request()))

    def _identity(self) -> Said:
        if self._scenario.authenticate_by == "email":
            facts = {"email": self._user["email"]}
        else:
            name, right = self._user["name"], self._user["address"]["zip"]
            wrong, corrects = self._slip("wrong_zip"), self._gave_wrong_zip
            self._gave_wrong_zip = wrong
            zip_code = self._scenario.wrong_zip if wrong else right
            facts = {"first": name["first_name"], "last": name["last_name"], "zip": zip_code}
            if corrects:
                return Said(self._say("identity.corrected", zip=zip_code), {"identity": facts})
        return Said(self._say(f"identity.{self._scenario.authenticate_by}", **facts), {"identity": facts})

    def _request(self) -> Said:
        """Say the next request, with every fact that is not kept until asked for."""
        request = self._scenario.requests[self._next]
        self._next += 1
        told = {key: value for key, value in request.facts.items() if key not in request.late}
        if request.intent == "modify_payment":
            told["payment"] = _mention(request.facts["payment"])
        if request.first_named and "wrong_order" in self._slips:
            told["order_id"] = request.first_named
        parts = [Said(self._wish(request, self._slots(request, told)), {})]
        if "reason" in told:
            parts.append(self._reason(request))
            if self._rng.random() < REASON_FIRST:
                parts.reverse()
        elif "payment" in told and request.intent != "modify_payment":
            act = "refund_to" if request.intent == "return" else "pay_with"
            parts.append(self._payment(request, act))
            told["payment"] = _mention(request.facts["payment"])
        return Said(_joined(*parts).text, {"request": {"intent": request.intent, **told}})

    def _wish(self, request: Request, slots: Mapping[str, str]) -> str:
        """Say what is wanted, by the templates of the intent or, where they say something else, of the trap."""
        act: str = str(request.trap) if request.trap in OWN_WORDS else request.intent
        if "order_id" in request.late:
            act = f"unnamed.{act}"
        spoken = self._phrases.request(act, self._scenario.speaks_as, self._rng, self._typos(f"request.{act}"), **slots)
        return self._heard(spoken)

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

    def _slots(self, request: Request, told: Mapping[str, Any]) -> dict[str, str]:
        """Return the words for the slots of a request's templates."""
        facts = request.facts
        slots: dict[str, str] = {key: facts[key] for key in ("item", "person", "detail", "product") if key in facts}
        if "order_id" in told:
            slots["order"] = told["order_id"]
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
        template_id, template = self._rng.choice(self._phrases.templates("option", self._scenario.speaks_as))
        self._spoken.append(template_id)
        *said, last = [template.format(name=name, value=value) for name, value in options.items()]
        return f"{', '.join(said)} and {last}" if said else last

    def _address(self, address: Mapping[str, str]) -> str:
        street = ", ".join(part for part in (address["address1"], address["address2"]) if part)
        rest = {key: address[key] for key in ("city", "state", "zip", "country")}
        return self._say("address", street=street, **rest)

    def _noisy(self, said: Said) -> Said:
        """Put small talk before or after some turns."""
        impatient = "impatient" in self._slips
        if self._rng.random() >= (IMPATIENCE if impatient else self._scenario.noise_rate):
            return said
        parts = [said, Said(self._say("impatience" if impatient else "small_talk"), {})]
        self._rng.shuffle(parts)
        return _joined(*parts)

    def _say(self, act: str, **slots: str) -> str:
        return self._heard(self._phrases.say(act, self._scenario.speaks_as, self._rng, self._typos(act), **slots))

    def _typos(self, act: str) -> float:
        return TYPOS if "typos" in self._slips and act not in _SPELT_WELL else 0.0

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
