"""Look-ups in records: from a name, options or a kind to the id that stands with them. Many questions a record.

To find the id of "the desk lamp" or of "the blue one, large" is what a workflow asks once and a small network learns
last; here it is most of what is trained.
"""

import random
from typing import Any

from infra.model_server.base import corpus as c
from infra.model_server.base import lexicon as lx

FIELDS = ("group_id", "item_id", "part_id", "code", "serial_number", "price")


def lookups(r: random.Random) -> c.Dialogue:
    """Return a record or two, and up to ten questions about what is in them."""
    talk = c.Talk()
    ask = r.choice([order, order, order, variants, variants, variants, names, kinds])
    questions = ask(r, talk)
    r.shuffle(questions)
    for question, answer in questions[: r.randint(3, 10)]:
        talk.user(question)
        talk.agent(answer)
    return {"tools": [], "messages": talk.messages}


def order(r: random.Random, talk: c.Talk) -> list[tuple[str, str]]:
    """A record that lists things: the id of a thing by its name."""
    fields = r.sample([*FIELDS, *(f"{e}_id" for e in r.sample(lx.ENTITIES, 4))], r.choice([1, 2, 2, 3]))
    titles = list(dict.fromkeys(c.title(r) for _ in range(r.randint(2, 6))))
    things: list[dict[str, Any]] = []
    for name in titles:
        thing: dict[str, Any] = {"name": name} | {f: _value(r, f) for f in fields}
        if r.random() < 0.7:
            thing["options"] = {a: c.option_value(r) for a in r.sample(lx.ATTRIBUTES, r.choice([1, 2, 2]))}
        things.append(thing)
    listed = "items" if r.random() < 0.5 else f"{r.choice(lx.ENTITIES)}s"
    record = {"id": c.identifier(r, r.choice(c.ID_KINDS)), listed: things, "status": r.choice(lx.STATUSES)}
    talk.tool(c.compact(record))
    forms = ("{f} of the {n}", "the {n}, its {f}", "{n}, {f}", "I mean the {n}: {f}")
    out = []
    for thing in things:
        for f in fields:
            asked = r.choice(forms).format(f=f.replace("_", " "), n=thing["name"])
            out.append((asked, str(thing[f])))
    return out


def _value(r: random.Random, field: str) -> Any:
    return r.randint(500, 90000) / 100 if field == "price" else c.identifier(r, "number")


def variants(r: random.Random, talk: c.Talk) -> list[tuple[str, str]]:
    """A thing that comes in variants: the id by the options."""
    key = r.choice(["item_id", "id", "code", "part_id"])
    _, records = c.variants(r, key, r.randint(2, 7))
    talk.tool(c.compact({"name": c.title(r), "variants": records} if r.random() < 0.7 else list(records.values())))
    said = [(c.said_options(r, v["options"]), v[key]) for v in records.values()]
    return said + [(", ".join(v["options"].values()), v[key]) for v in records.values()]


def names(r: random.Random, talk: c.Talk) -> list[tuple[str, str]]:
    """A table from names to ids."""
    table = {c.title(r): c.identifier(r, "number") for _ in range(r.randint(3, 12))}
    talk.tool(c.compact(table))
    return [(r.choice(["{}", "the {}", "I want the {}"]).format(name), table[name]) for name in table]


def kinds(r: random.Random, talk: c.Talk) -> list[tuple[str, str]]:
    """A person's means of payment: the id by the kind."""
    ways = {f"{w}_{c.digits(r, 7)}": w for w in r.sample(lx.PAYMENTS, r.randint(2, 5))}
    first, last = c.first_name(r), c.last_name(r)
    profile = {"name": {"first_name": first, "last_name": last}, "email": c.email(r, first, last)}
    talk.tool(c.compact(profile | {"payment_methods": {i: {"source": w, "id": i} for i, w in ways.items()}}))
    return [
        (r.choice(["my {}", "the {} please", "use {}", "{}"]).format(w.replace("_", " ")), i) for i, w in ways.items()
    ]
