"""A random domain of service work: who, what, the tools' names and shapes, and one person's records."""

import random
from typing import Any

from infra.model_server.base import corpus as c
from infra.model_server.base import lexicon as lx


class Domain:
    """A random domain: who, what, the tools' names and shapes, and one person's records."""

    def __init__(self, r: random.Random) -> None:
        """Draw everything from `r`."""
        self.r = r
        self.person = r.choice(lx.PERSONS)
        self.entity = r.choice([e for e in lx.ENTITIES if e != self.person])
        self.part = r.choice([e for e in lx.ENTITIES if e not in (self.person, self.entity)])
        self.kinds = {
            "person": r.choice(["name", "name", "number", "snake", "prefix", "dash"]),
            "entity": r.choice(["hash", "hash", "prefix", "number", "upper", "snake"]),
            "part": r.choice(["number", "number", "upper", "hex", "snake"]),
        }
        self.person_key = f"{self.person}_id"
        self.entity_key = f"{self.entity}_{r.choice(['id', 'id', 'number'])}"
        self.part_key = f"{self.part}_{r.choice(['id', 'id', 'code'])}"
        group = r.choice([e for e in lx.ENTITIES if e not in (self.person, self.entity, self.part)])
        self.group_key = r.choice(["group_id", f"{group}_id"])
        self.part_before_group = r.random() < 0.3
        self.payment_key = r.choice(["payment_method_id", "payment_id", "payment_method"])
        self.confirms = r.random() < 0.7
        self.reads_first = r.random() < 0.75
        self.reads_profile = r.random() < 0.8
        self._draw_person()
        self._draw_records()
        self._draw_tools()

    @property
    def knows_profile(self) -> bool:
        """Whether the agent has read the person's profile before it serves."""
        return self.reads_profile or self.find is None

    def reads(self, mode: str) -> bool:
        """Tell whether the agent reads a record before it serves a wish of this mode."""
        return self.reads_first or mode in ("parts", "swap")

    def _draw_person(self) -> None:
        r = self.r
        self.first, self.last = c.first_name(r), c.last_name(r)
        self.email = c.email(r, self.first, self.last)
        self.phone = c.digits(r, 10)
        self.address = c.address(r)
        named = f"{self.first}_{self.last}_{c.digits(r, 4)}".lower()
        kind = self.kinds["person"]
        self.id = named if kind == "name" else c.identifier(r, kind, self.person)
        ways = r.sample(lx.PAYMENTS, r.randint(1, 3))
        self.payments = {f"{w}_{c.digits(r, r.choice([4, 7, 7]))}": w for w in ways}

    def _draw_records(self) -> None:
        r = self.r
        names = list(dict.fromkeys(c.title(r) for _ in range(5)))
        self.catalogue: dict[str, tuple[str, dict[str, dict[str, Any]]]] = {}
        for name in names:
            _, records = c.variants(r, self.part_key, r.randint(2, 6))
            self.catalogue[name] = (c.identifier(r, self.kinds["part"]), records)
        self.records = [self.record() for _ in range(r.choice([1, 2, 3, 3, 4, 5]))]

    def record(self) -> dict[str, Any]:
        """Draw a record."""
        r = self.r
        parts = []
        for name in r.sample(list(self.catalogue), min(len(self.catalogue), r.choice([1, 1, 2, 3]))):
            group, records = self.catalogue[name]
            chosen = r.choice(list(records.values()))
            keys = [(self.group_key, group), (self.part_key, chosen[self.part_key])]
            both = dict(reversed(keys) if self.part_before_group else keys)
            parts.append({"name": name, **both, "price": chosen["price"], "options": chosen["options"]})
        record: dict[str, Any] = {self.entity_key: c.identifier(r, self.kinds["entity"], self.entity)}
        if r.random() < 0.7:
            record[self.person_key] = self.id
        if r.random() < 0.4:
            record["address"] = c.address(r)
        record |= {f"{self.part}s": parts, "status": r.choice(lx.STATUSES)}
        if r.random() < 0.6:
            way = r.choice(list(self.payments))
            record["payment_history"] = [
                {"type": "payment", "amount": r.randint(900, 90000) / 100, self.payment_key: way}
            ]
        return record

    def _draw_tools(self) -> None:
        r = self.r
        read = r.choice(lx.READS)
        find = r.choice(["find", "search", "lookup", "identify"])
        self.identify = r.choice(["email", "name_zip", "name_zip", "phone", "direct"])
        ways = {
            "email": (f"{find}_{self.person}_id_by_email", ["email"]),
            "name_zip": (
                f"{find}_{self.person}_id_by_name_{r.choice(['zip', 'postcode'])}",
                ["first_name", "last_name", "zip"],
            ),
            "phone": (f"{find}_{self.person}_by_phone", ["phone"]),
        }
        self.find = ways.get(self.identify)
        suffix = r.choice(lx.SUFFIXES)
        self.get_person = (f"{read}_{self.person}_{suffix}", [self.person_key])
        self.get_entity = (f"{read}_{self.entity}_{suffix}", [self.entity_key])
        self.get_group = (f"{read}_{self.part}_{r.choice(lx.SUFFIXES)}", [self.group_key])
        self.actions = [self._action(a) for a in r.sample(lx.ACTS, r.randint(2, 6))]
        tools = [t for k, t in ways.items() if k == self.identify or r.random() < 0.5]
        tools += [self.get_person, self.get_entity, self.get_group, *((n, p) for n, p, _ in self.actions)]
        tools += [(c.tool_name(r), [f"{r.choice(lx.ENTITIES)}_id"]) for _ in range(r.randint(0, 8))]
        r.shuffle(tools)
        self.tools = [c.tool(n, p) for n, p in dict(tools).items()]

    def _action(self, act: str) -> tuple[str, list[str], str]:
        r = self.r
        mode = r.choice(
            ["plain", "field", "parts", "parts", "swap", "swap", "swap", "address", "address", "payment", "profile"]
        )
        name = (
            f"{act}_{r.choice(lx.ADJECTIVES + lx.STATUSES)}_{self.entity}"
            if r.random() < 0.5
            else f"{act}_{self.entity}"
        )
        own = [self.entity_key]
        shapes = {
            "plain": (name, own),
            "field": (name, [*own, r.choice(lx.FREE_FIELDS + lx.ATTRIBUTES)]),
            "parts": (
                f"{name}_{self.part}s",
                [*own, f"{self.part}_ids", *([self.payment_key] if r.random() < 0.6 else [])],
            ),
            "swap": (f"{name}_{self.part}s", [*own, f"{self.part}_ids", f"new_{self.part}_ids", self.payment_key]),
            "address": (f"{name}_address", [*own, *c.address(r)]),
            "payment": (f"{name}_payment", [*own, self.payment_key]),
            "profile": (f"{act}_{self.person}_address", [self.person_key, *c.address(r)]),
        }
        return (*shapes[mode], mode)

    def profile(self) -> dict[str, Any]:
        """Return the person's record as the profile tool gives it."""
        r = self.r
        ways: Any = (
            {i: {"source": w, "id": i} for i, w in self.payments.items()} if r.random() < 0.7 else list(self.payments)
        )
        name: Any = (
            {"first_name": self.first, "last_name": self.last} if r.random() < 0.7 else f"{self.first} {self.last}"
        )
        out = {self.person_key: self.id, "name": name, "address": self.address, "email": self.email}
        return out | {"payment_methods": ways, f"{self.entity}s": [e[self.entity_key] for e in self.records]}
