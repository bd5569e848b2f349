"""The phrase grammar: what customers and the expert say, as templates in YAML.

Every fifth template of a customer act is held out. The training and validation splits speak only the others, the
held-out split speaks only the held-out ones; agent templates are the same for all. Beside the held-out split, its
errands are told once more in the words of training, so that what is due to the words can be told apart.
"""

import random
import re
import string
from pathlib import Path
from typing import NamedTuple

import yaml
from pydantic import ValidationError, field_validator

from tasks.core.errors import ConfigError
from tasks.core.record import Record
from tasks.core.scenario import Split

HELD_OUT_EVERY = 5
LEAD_SHARE = 0.4  # of requests that are said as a lead-in and a verb phrase, where the act has verb phrases

_SLOT_OR_WORD = re.compile(r"\{[^}]*\}|\b[a-z]{5,}\b")
_ORDER = frozenset({"order"})
_PAYMENT = frozenset({"payment"})
_NOTHING: frozenset[str] = frozenset()
_REQUEST_SLOTS: dict[str, frozenset[str]] = {
    "update_address": frozenset({"address"}),
    "order_status": _ORDER,
    "order_status_by_item": frozenset({"item"}),
    "cancel": _ORDER,
    "return": _ORDER | {"items"},
    "exchange": _ORDER | {"item", "options"},
    "modify_items": _ORDER | {"item", "options"},
    "modify_payment": _ORDER | _PAYMENT,
    "modify_order_address": _ORDER | {"address"},
    "list_products": _NOTHING,
    "human": _NOTHING,
}
# Wishes that are only said as a lead-in and a verb phrase: those of traps, and those that leave the order out.
_LED_SLOTS: dict[str, frozenset[str]] = {
    "unnamed.order_status": _NOTHING,
    "unnamed.cancel": _NOTHING,
    "unnamed.return": frozenset({"items"}),
    "other_person": frozenset({"person"}),
    "fixed_detail": frozenset({"detail"}),
    "other_product": _ORDER | {"item", "product"},
    "outside": _NOTHING,
    "advice": _NOTHING,
}
CUSTOMER_ACTS: dict[str, frozenset[str]] = {
    **dict.fromkeys(("greeting", "small_talk", "vague", "connector", "yes", "no", "goodbye"), _NOTHING),
    **dict.fromkeys(("reason.no_longer_needed", "reason.ordered_by_mistake", "reason.other"), _NOTHING),
    **dict.fromkeys(("refund_to", "pay_with", "answer.payment"), _PAYMENT),
    **dict.fromkeys(("no_email", "impatience", "persist"), _NOTHING),
    **dict.fromkeys(("answer.order", "correct.order"), _ORDER),
    "identity.corrected": frozenset({"zip"}),
    **{f"request.{intent}": slots for intent, slots in _REQUEST_SLOTS.items()},
    **{f"do.{act}": slots for act, slots in {**_REQUEST_SLOTS, **_LED_SLOTS}.items()},
    "request.modify_items.two": _ORDER | {"changes"},
    "identity.email": frozenset({"email"}),
    "identity.name_zip": frozenset({"first", "last", "zip"}),
    "lead": frozenset({"do"}),
    "address": frozenset({"street", "city", "state", "zip"}),
    "option": frozenset({"name", "value"}),
}
AGENT_ACTS: dict[str, frozenset[str]] = {
    **dict.fromkeys(("ask_identity", "ask_reason", "ask_refund", "ask_payment"), _NOTHING),
    **dict.fromkeys(("ask_name_zip", "ask_zip_again", "ask_order", "confirm.human"), _NOTHING),
    **dict.fromkeys(("refuse.other_person", "refuse.unknown_payment", "refuse.again", "refuse.advice"), _NOTHING),
    "refuse.fixed_detail": frozenset({"detail"}),
    "refuse.card_too_small": _ORDER | _PAYMENT,
    "refuse.wrong_refund": _ORDER,
    "refuse.not_available": frozenset({"item"}),
    "refuse.other_product": frozenset({"item"}),
    **dict.fromkeys(("refuse.reason", "kept", "transferred", "goodbye", "done.update_address"), _NOTHING),
    **{
        f"done.{intent}": _ORDER
        for intent in ("cancel", "return", "exchange", "modify_items", "modify_payment", "modify_order_address")
    },
    "ask_request": frozenset({"first"}),
    "confirm.update_address": frozenset({"address"}),
    "confirm.cancel": _ORDER | {"reason"},
    "confirm.return": _ORDER | {"items", "payment"},
    "confirm.exchange": _ORDER | {"changes", "payment"},
    "confirm.modify_items": _ORDER | {"changes", "payment"},
    "confirm.modify_payment": _ORDER | _PAYMENT | {"old"},
    "confirm.modify_order_address": _ORDER | {"address"},
    "status": _ORDER | {"status"},
    "status_by_item": _ORDER | {"item", "status"},
    "products": frozenset({"count", "examples"}),
    "refuse.foreign_order": _ORDER,
    "refuse.wrong_state": _ORDER | {"status"},
}
WORDS = ("payment.credit_card", "payment.paypal", "payment.gift_card", "payment.original")
# Slots that a template may also use, or leave out, without changing what is disclosed.
_OPTIONAL: dict[str, frozenset[str]] = {"address": frozenset({"country"}), "done.modify_payment": _PAYMENT}


class Spoken(NamedTuple):
    """A rendered text and the ids of the templates that made it."""

    text: str
    template_ids: tuple[str, ...]


class PhraseBook(Record):
    """All templates by act, checked: every act is there and every template fills exactly the slots of its act."""

    customer: dict[str, tuple[str, ...]]
    agent: dict[str, tuple[str, ...]]
    words: dict[str, tuple[str, ...]]

    @field_validator("customer")
    @classmethod
    def _check_customer(cls, acts: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        _check_acts(acts, CUSTOMER_ACTS, fewest=HELD_OUT_EVERY)
        return acts

    @field_validator("agent")
    @classmethod
    def _check_agent(cls, acts: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        _check_acts(acts, AGENT_ACTS, fewest=1)
        return acts

    @field_validator("words")
    @classmethod
    def _check_words(cls, acts: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        _check_acts(acts, dict.fromkeys(WORDS, _NOTHING), fewest=1)
        return acts

    def templates(self, act: str, split: Split) -> list[tuple[str, str]]:
        """Return the (id, template) pairs that customers of a split may speak."""
        numbered = [(f"{act}.{place}", template) for place, template in enumerate(self.customer[act], start=1)]
        return [(key, template) for key, template in numbered if is_held_out(key) == (split == "heldout")]

    def say(self, act: str, split: Split, rng: random.Random, typos: float = 0.0, **slots: str) -> Spoken:
        """Render one of the customer templates of an act that the split may speak.

        `typos` is the share of the template's longer words that are written with a slip; slots never are.
        """
        template_id, template = rng.choice(self.templates(act, split))
        written = mistyped(template, typos, rng) if typos else template
        return Spoken(written.format(**slots), (template_id,))

    def request(self, act: str, split: Split, rng: random.Random, typos: float = 0.0, **slots: str) -> Spoken:
        """Render the request of an intent or a trap: a whole sentence, or a lead-in with a verb phrase."""
        if "changes" in slots:
            return self.say(f"request.{act}.two", split, rng, typos, **slots)
        if act not in _LED_SLOTS and rng.random() >= LEAD_SHARE:
            return self.say(f"request.{act}", split, rng, typos, **slots)
        phrase = self.say(f"do.{act}", split, rng, typos, **slots)
        lead = self.say("lead", split, rng, typos, do=phrase.text)
        return Spoken(lead.text, lead.template_ids + phrase.template_ids)

    def reply(self, act: str, rng: random.Random, **slots: str) -> str:
        """Render one of the agent templates of an act."""
        return rng.choice(self.agent[act]).format(**slots)

    def word(self, kind: str, rng: random.Random) -> str:
        """Return one way to name a kind of thing, such as `payment.paypal`."""
        return rng.choice(self.words[kind])


def load_phrases(path: Path) -> PhraseBook:
    """Read and check a phrase grammar.

    Raises:
        ConfigError: The file is missing, not YAML, or lacks an act or a slot; the message names the template.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"Cannot read the phrases {str(path)!r}: {error}") from error
    try:
        return PhraseBook.model_validate(raw)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, p['loc'])) or 'file'}: {p['msg']}" for p in error.errors())
        raise ConfigError(f"Phrases {str(path)!r}: {problems}.") from error


def is_held_out(template_id: str) -> bool:
    """Whether a customer template is spoken in the held-out split alone."""
    return int(template_id.rpartition(".")[2]) % HELD_OUT_EVERY == 0


def mistyped(template: str, share: float, rng: random.Random) -> str:
    """Return a template in which this share of the words of five and more small letters has two letters swapped."""

    def slip(found: re.Match[str]) -> str:
        word = found[0]
        if not word[0].isalpha() or rng.random() >= share:
            return word
        place = rng.randrange(1, len(word) - 2)
        return f"{word[:place]}{word[place + 1]}{word[place]}{word[place + 2 :]}"

    return _SLOT_OR_WORD.sub(slip, template)


def slots_of(template: str) -> frozenset[str]:
    """Return the names of a template's slots."""
    return frozenset(name for _, name, _, _ in string.Formatter().parse(template) if name is not None)


def _check_acts(acts: dict[str, tuple[str, ...]], wanted: dict[str, frozenset[str]], fewest: int) -> None:
    if missing := sorted(set(wanted) - set(acts)):
        raise ValueError(f"no templates for {', '.join(missing)}")
    if unknown := sorted(set(acts) - set(wanted)):
        raise ValueError(f"unknown acts {', '.join(unknown)}; known: {', '.join(sorted(wanted))}")
    for act, templates in acts.items():
        if len(templates) < fewest:
            raise ValueError(f"{act} has {len(templates)} templates and needs at least {fewest}")
        if twice := sorted({text for text in templates if templates.count(text) > 1}):
            raise ValueError(f"{act} has the template {twice[0]!r} twice")
        for text in templates:
            _check_slots(act, text, wanted[act])


def _check_slots(act: str, text: str, wanted: frozenset[str]) -> None:
    optional = _OPTIONAL.get(act, _NOTHING)
    used = slots_of(text)
    if used - optional != wanted:
        raise ValueError(f"{act} template {text!r} has slots {sorted(used)}, not {sorted(wanted)}")
