"""What a person of a random domain wants: the words for it, and the call that serves it."""

import random
from dataclasses import dataclass, field
from typing import Any

from infra.model_server.base import corpus as c
from infra.model_server.base import lexicon as lx
from infra.model_server.base.domain import Domain

TWO_PARTS = 0.3
SOUGHT = 0.35  # share of wishes about a thing whose record must be sought, one record after another
TOLD_AT_ONCE = 0.75
FOREIGN = 0.15  # share of wishes about a record that is not the person's


@dataclass
class Wish:
    """One request of a person."""

    mode: str
    """Either `status` or the kind of action of the domain."""
    record: dict[str, Any]
    said: str
    tool: str = ""
    arguments: dict[str, Any] = field(default_factory=dict)
    told: bool = True
    """Whether the words name the record."""
    foreign: bool = False
    """Whether the record is somebody else's."""
    part: str = ""
    """The name of the thing whose record is sought."""
    groups: list[tuple[str, str, dict[str, dict[str, Any]]]] = field(default_factory=list)
    """What must be read before new parts can be chosen: id, name and variants."""
    pay: str | None = None
    pay_told: bool = False
    pay_words: str = ""
    to: str = ""
    """What the change leads to, as an agent repeats it."""


def draw_wish(r: random.Random, d: Domain) -> Wish:
    """Draw a wish about one of the person's records, about their profile, or about somebody else's record."""
    record = r.choice(d.records)
    if d.knows_profile and r.random() < SOUGHT:
        return _status(r, d, record)
    tool, parameters, mode = r.choice(d.actions)
    foreign = mode != "profile" and d.knows_profile and r.random() < FOREIGN
    if foreign:
        record = d.record()
    wish = Wish(mode=mode, record=record, said="", tool=tool, foreign=foreign)
    arguments = {d.entity_key: record[d.entity_key], d.person_key: d.id}
    extra = _parts(r, d, wish, parameters, arguments)
    extra += _address(r, d, wish, arguments)
    extra += _fields(r, parameters, arguments)
    extra += _payment(r, d, wish, parameters, arguments)
    wish.told = mode == "profile" or foreign or r.random() < TOLD_AT_ONCE
    ask = r.choice(lx.ASKS).format(w=tool.replace("_", " "))
    if wish.told and mode != "profile":
        ask += r.choice([" {}", ", {}", " number {}", " (it is {})"]).format(record[d.entity_key])
    if r.random() < 0.2:
        extra.append(ask)
    else:
        extra.insert(0, ask)
    wish.said = r.choice([", ", " ", ". "]).join(extra)
    wish.arguments = {p: arguments[p] for p in parameters}
    return wish


def _status(r: random.Random, d: Domain, record: dict[str, Any]) -> Wish:
    name = r.choice(record[f"{d.part}s"])["name"]
    said = r.choice(lx.WHERE).format(n=name)
    return Wish(mode="status", record=record, said=said, part=name)


def _parts(r: random.Random, d: Domain, wish: Wish, parameters: list[str], arguments: dict[str, Any]) -> list[str]:
    """Choose the parts that a wish is about, and what they are to become."""
    if f"{d.part}_ids" not in parameters:
        return []
    parts = wish.record[f"{d.part}s"]
    chosen = r.sample(parts, 2 if len(parts) > 1 and r.random() < TWO_PARTS else 1)
    arguments[f"{d.part}_ids"] = [part[d.part_key] for part in chosen]
    if wish.mode != "swap":
        said = " and the ".join(part["name"] for part in chosen)
        return [r.choice(["the {}", "it is the {}", "I mean the {}", "{}", "my {}"]).format(said)]
    news = []
    for part in chosen:
        group, variants = d.catalogue[part["name"]]
        news.append(r.choice([v for v in variants.values() if v["available"]] or list(variants.values())))
        wish.groups.append((group, part["name"], variants))
    arguments[f"new_{d.part}_ids"] = [new[d.part_key] for new in news]
    repeated = [(part["name"], ", ".join(new["options"].values())) for part, new in zip(chosen, news, strict=True)]
    wish.to = " and ".join(f"the {name} to {options}" for name, options in repeated)
    how = r.choice(["the {} to {}", "the {} for {}", "my {}, I want {}", "the {}: make it {}", "{} into {}"])
    pairs = zip(chosen, news, strict=True)
    return [
        r.choice([" and ", ", and ", "; "]).join(
            how.format(p["name"], c.said_options(r, n["options"])) for p, n in pairs
        )
    ]


def _address(r: random.Random, d: Domain, wish: Wish, arguments: dict[str, Any]) -> list[str]:
    if wish.mode not in ("address", "profile"):
        return []
    # A country that is not said is the one that the person lives in.
    new = c.address(r, d.address["country"] if d.knows_profile else None)
    arguments |= new
    street = ", ".join(part for part in (new["address1"], new["address2"]) if part)
    wish.to = f"{street}, {new['city']}, {new['state']} {new['zip']}"
    said = c.said_address(r, new, country=not d.knows_profile or r.random() < 0.2)
    return [r.choice(["{}", "to {}", "it is {}", "the new address is {}", "I live at {} now"]).format(said)]


def _fields(r: random.Random, parameters: list[str], arguments: dict[str, Any]) -> list[str]:
    extra = []
    for p in parameters:
        if p in lx.FREE_FIELDS + lx.ATTRIBUTES:
            arguments[p] = c.option_value(r)
            extra.append(r.choice(["{k} {v}", "the {k} is {v}", "{k}: {v}"]).format(k=p, v=arguments[p]))
    return extra


def _payment(r: random.Random, d: Domain, wish: Wish, parameters: list[str], arguments: dict[str, Any]) -> list[str]:
    """Choose how a wish is paid: by an id, by a kind, or as the record was paid before."""
    if d.payment_key not in parameters:
        return []
    paid = wish.record.get("payment_history")
    if paid and d.reads(wish.mode) and r.random() < 0.3:
        wish.pay = paid[0][d.payment_key]
        wish.pay_words = r.choice(lx.AS_BEFORE)
    else:
        wish.pay = r.choice(list(d.payments))
        kind = d.payments[wish.pay].replace("_", " ")
        kinds = [f"my {kind}", f"the {kind}", kind] if d.knows_profile else []
        wish.pay_words = r.choice([wish.pay, *kinds])
    arguments[d.payment_key] = wish.pay
    wish.pay_told = r.random() < 0.5
    return [r.choice(lx.PAY_WITH).format(wish.pay_words)] if wish.pay_told else []
