"""Generic multi-turn workflows in a random domain: identify, read, choose, confirm, act."""

import random
from typing import Any

from infra.model_server.base import corpus as c
from infra.model_server.base import lexicon as lx

# A record in one of these states cannot be changed, in any domain.
FROZEN_STATES = frozenset({"closed", "cancelled", "blocked"})
RETAIL_TOOLS = frozenset(
    "find_user_id_by_email find_user_id_by_name_zip get_user_details update_address list_products search_products "
    "get_product_details get_item_details list_user_orders get_order_details cancel_pending_order "
    "modify_pending_order_address modify_pending_order_items modify_pending_order_payment "
    "return_delivered_order_items exchange_delivered_order_items calculate transfer_to_human_agents".split()
)


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
        self.payment_key = r.choice(["payment_method_id", "payment_id", "payment_method"])
        self.confirms = r.random() < 0.7
        self.reads_first = r.random() < 0.75
        self.reads_profile = r.random() < 0.65
        self._draw_person()
        self._draw_records()
        self._draw_tools()

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
        self.records = [self._record() for _ in range(r.randint(1, 4))]

    def _record(self) -> dict[str, Any]:
        r = self.r
        parts = []
        for name in r.sample(list(self.catalogue), min(len(self.catalogue), r.choice([1, 1, 2, 3]))):
            group, records = self.catalogue[name]
            chosen = r.choice(list(records.values()))
            part = {"name": name, "group_id": group, self.part_key: chosen[self.part_key], "price": chosen["price"]}
            parts.append(part | {"options": chosen["options"]})
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
        self.get_group = (f"{read}_{self.part}_{r.choice(lx.SUFFIXES)}", ["group_id"])
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


class Workflow:
    """One conversation in a domain."""

    def __init__(self, r: random.Random) -> None:
        """Draw the domain."""
        self.r = r
        self.d = Domain(r)
        self.talk = c.Talk()
        self.read: set[str] = set()

    def play(self) -> c.Dialogue:
        """Return the whole conversation."""
        r, d, talk = self.r, self.d, self.talk
        request = self._request()
        self._identify(request)
        self._serve(request)
        for _ in range(r.choice([0, 0, 1, 1, 2])):
            request = self._request()
            talk.user(f"{r.choice(lx.MORE)} {request['said']}".strip())
            self._serve(request)
        if r.random() < 0.6:
            talk.user(r.choice(lx.THANKS))
            talk.agent(r.choice(lx.BYE))
        return {"tools": d.tools, "messages": talk.messages}

    def _identify(self, request: dict[str, Any]) -> None:
        r, d, talk = self.r, self.d, self.talk
        hello = f"{r.choice(lx.GREETINGS)}{r.choice([', ', '! ', '. '])}" if r.random() < 0.6 else ""
        who, how, told = self._said_identity(), r.choice(["all", "request", "identity"]), True
        if how == "all":
            talk.user(hello + " ".join(r.sample([f"{who}.", f"{request['said']}."], 2)))
        elif how == "request":
            talk.user(hello + c.noisy(r, request["said"]))
            talk.agent(r.choice(lx.ASK_IDENTITY))
            talk.user(c.noisy(r, who))
        else:
            talk.user(hello + c.noisy(r, who))
            told = False
        if d.find:
            arguments = {
                "email": d.email,
                "phone": d.phone,
                "first_name": d.first,
                "last_name": d.last,
                "zip": d.address["zip"],
            }
            found: Any = d.id if r.random() < 0.7 else {d.person_key: d.id}
            talk.call(d.find[0], {p: arguments[p] for p in d.find[1]}, found)
        if d.reads_profile or not d.find:
            talk.call(d.get_person[0], {d.person_key: d.id}, d.profile())
        if not told:
            talk.agent(r.choice(lx.OFFER))
            talk.user(request["said"])

    def _said_identity(self) -> str:
        d = self.d
        z = d.address["zip"]
        full = f"{d.first} {d.last}"
        ways = {
            "email": (
                f"my email is {d.email}",
                d.email,
                f"I use {d.email}",
                f"email {d.email}",
                f"find me with {d.email}",
            ),
            "name_zip": (
                *(f"I am {full}, {z}", f"my name is {full} and my zip is {z}", f"{full} {z}", f"zip {z}, name {full}"),
                *(f"this is {full} from {z}", f"{full} here, zip code {z}", f"I live in {z} and am called {full}"),
            ),
            "phone": (f"my phone is {d.phone}", d.phone, f"call me at {d.phone}"),
            "direct": (f"my {d.person} id is {d.id}", f"I am {d.id}", d.id),
        }
        return self.r.choice(ways[d.identify])

    def _request(self) -> dict[str, Any]:
        """Draw what the person wants next, with the words for it and the call that serves it."""
        r, d = self.r, self.d
        record = r.choice(d.records)
        if r.random() < 0.2:
            part = r.choice(record[f"{d.part}s"])
            forms = ("where is my {n}", "what is the status of my {n}", "I lost the number, it is the one with the {n}")
            return {
                "kind": "status",
                "record": record,
                "name": part["name"],
                "said": r.choice(forms).format(n=part["name"]),
            }
        name, parameters, mode = r.choice(d.actions)
        arguments: dict[str, Any] = {d.entity_key: record[d.entity_key], d.person_key: d.id}
        extra: list[str] = []
        request = {"kind": "act", "mode": mode, "name": name, "record": record, "group": None, "pay": None}
        self._fill(request, parameters, arguments, extra)
        told = mode != "profile" and r.random() < 0.75
        ask = r.choice(lx.ASKS).format(w=name.replace("_", " "))
        if told:
            ask += r.choice([" {}", ", {}", " number {}", " (it is {})"]).format(record[d.entity_key])
        said = r.choice([", ", " ", ". "]).join([ask, *extra])
        return request | {
            "arguments": {p: arguments[p] for p in parameters},
            "said": said,
            "told": told or mode == "profile",
        }

    def _fill(
        self, request: dict[str, Any], parameters: list[str], arguments: dict[str, Any], extra: list[str]
    ) -> None:
        r, d = self.r, self.d
        parts = request["record"][f"{d.part}s"]
        part = r.choice(parts)
        several = request["mode"] == "parts" and len(parts) > 1 and r.random() < 0.3
        chosen = r.sample(parts, 2) if several else [part]
        for p in parameters:
            if p == f"{d.part}_ids":
                arguments[p] = [x[d.part_key] for x in chosen]
                extra.append(
                    r.choice(["the {}", "it is the {}", "I mean the {}", "{}"]).format(
                        " and the ".join(x["name"] for x in chosen)
                    )
                )
            elif p == f"new_{d.part}_ids":
                group, records = d.catalogue[part["name"]]
                new = r.choice(list(records.values()))
                arguments[p] = [new[d.part_key]]
                request["to"] = ", ".join(new["options"].values())
                request["group"] = (group, part["name"], records)
                extra.append(
                    r.choice(["to {}", "for {}", "I want {}", "make it {}"]).format(c.said_options(r, new["options"]))
                )
            elif p == d.payment_key:
                arguments[p] = request["pay"] = r.choice(list(d.payments))
            elif p in lx.FREE_FIELDS + lx.ATTRIBUTES:
                arguments[p] = c.option_value(r)
                extra.append(r.choice(["{k} {v}", "the {k} is {v}", "{k}: {v}"]).format(k=p, v=arguments[p]))
        if request["mode"] in ("address", "profile"):
            new_address = c.address(r)
            arguments |= new_address
            extra.append(c.said_address(new_address))

    def _read(self, record: dict[str, Any]) -> None:
        key = record[self.d.entity_key]
        if key not in self.read:
            self.read.add(key)
            self.talk.call(self.d.get_entity[0], {self.d.entity_key: key}, record)

    def _scan(self, request: dict[str, Any]) -> None:
        """Read the person's records one after another until the wanted one is found."""
        for record in self.d.records:
            self._read(record)
            if record is request["record"]:
                return

    def _serve(self, request: dict[str, Any]) -> None:
        r, d, talk = self.r, self.d, self.talk
        record = request["record"]
        if request["kind"] == "status":
            self._scan(request)
            talk.agent(
                f"Your {request['name']} is in {d.entity} {record[d.entity_key]}, its status is {record['status']}."
            )
            return
        if request["mode"] != "profile" and not self._settle(request):
            return
        if request["pay"]:
            talk.agent(r.choice(lx.WAYS))
            way = d.payments[request["pay"]].replace("_", " ")
            talk.user(
                r.choice(["{}", "use {}", "with {} please", "my {}", "the {} please"]).format(
                    r.choice([request["pay"], way, way])
                )
            )
        self._act(request)

    def _settle(self, request: dict[str, Any]) -> bool:
        """Find out which record is meant and what it holds; False where it cannot be changed."""
        r, d, talk = self.r, self.d, self.talk
        record = request["record"]
        if not request["told"]:
            talk.agent(f"Which {d.entity} do you mean?")
            talk.user(r.choice(["{}", "it is {}", "number {}"]).format(record[d.entity_key]))
        if d.reads_first or request["mode"] in ("parts", "swap"):
            self._read(record)
            if record["status"] in FROZEN_STATES:
                talk.agent(f"I am sorry, {d.entity} {record[d.entity_key]} is {record['status']}, so I cannot do that.")
                return False
        if request["group"] and request["group"][1] not in self.read:
            group, name, records = request["group"]
            self.read.add(name)
            talk.call(d.get_group[0], {"group_id": group}, {"name": name, "group_id": group, "variants": records})
        return True

    def _act(self, request: dict[str, Any]) -> None:
        r, d, talk = self.r, self.d, self.talk
        if d.confirms:
            with_pay = f" with {request['pay']}" if request["pay"] else ""
            subject = self.d.person if request["mode"] == "profile" else request["record"][d.entity_key]
            to = f" to {request['to']}" if "to" in request else ""
            talk.agent(f"I will {request['name'].replace('_', ' ')} {subject}{to}{with_pay}. Do you confirm (yes/no)?")
            if r.random() < 0.15:
                talk.user(r.choice(lx.NO))
                talk.agent(r.choice(lx.KEPT))
                return
            talk.user(r.choice(lx.YES))
        result: Any = (
            {"status": "ok"} if r.random() < 0.6 else request["record"] if request["mode"] != "profile" else "ok"
        )
        talk.call(request["name"], request["arguments"], result)
        talk.agent(r.choice(lx.DONE))


def workflow(r: random.Random) -> c.Dialogue:
    """Return a workflow that shares no tool name with the shop."""
    while True:
        dialogue = Workflow(r).play()
        if not RETAIL_TOOLS & {t["function"]["name"] for t in dialogue["tools"]}:
            return dialogue
