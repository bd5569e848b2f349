"""Generic multi-turn workflows in a random domain: identify, read, choose, confirm, act."""

import random
from typing import Any

from infra.model_server.base import corpus as c
from infra.model_server.base import lexicon as lx
from infra.model_server.base.domain import Domain
from infra.model_server.base.wishes import Wish, draw_wish

# A record in one of these states cannot be changed, in any domain.
FROZEN_STATES = frozenset({"closed", "cancelled", "blocked"})
AMID_WORDS = 0.5  # share of persons who say who they are in no words that another one would use
RETAIL_TOOLS = frozenset(
    "find_user_id_by_email find_user_id_by_name_zip get_user_details update_address list_products search_products "
    "get_product_details get_item_details list_user_orders get_order_details cancel_pending_order "
    "modify_pending_order_address modify_pending_order_items modify_pending_order_payment "
    "return_delivered_order_items exchange_delivered_order_items calculate transfer_to_human_agents".split()
)


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
        wish = draw_wish(r, d)
        self._identify(wish)
        self._serve(wish)
        for _ in range(r.choice([0, 1, 1, 2])):
            wish = draw_wish(r, d)
            talk.user(f"{r.choice(lx.MORE)} {c.noisy(r, wish.said)}".strip())
            self._serve(wish)
        if r.random() < 0.6:
            talk.user(r.choice(lx.THANKS))
            talk.agent(r.choice(lx.BYE))
        return {"tools": d.tools, "messages": talk.messages}

    def _identify(self, wish: Wish) -> None:
        r, d, talk = self.r, self.d, self.talk
        hello = f"{r.choice(lx.GREETINGS)}{r.choice([', ', '! ', '. '])}" if r.random() < 0.6 else ""
        who, how, told = self._said_identity(), r.choice(["all", "request", "identity"]), True
        if how == "all":
            talk.user(hello + " ".join(r.sample([f"{who}.", f"{wish.said}."], 2)))
        elif how == "request":
            talk.user(hello + c.noisy(r, wish.said))
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
        if d.knows_profile:
            talk.call(d.get_person[0], {d.person_key: d.id}, d.profile())
        if not told:
            talk.agent(r.choice(lx.OFFER))
            talk.user(wish.said)

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
                *(f"{z}. {full}", f"first name {d.first}, last name {d.last}, {z}", f"zip: {z}, {full} is my name"),
            ),
            "phone": (f"my phone is {d.phone}", d.phone, f"call me at {d.phone}"),
            "direct": (f"my {d.person} id is {d.id}", f"I am {d.id}", d.id),
        }
        told = {"email": (d.email,), "name_zip": (full, z), "phone": (d.phone,), "direct": (d.id,)}
        if self.r.random() < AMID_WORDS:
            return c.amid_words(self.r, *told[d.identify])
        return self.r.choice(ways[d.identify])

    def _read(self, record: dict[str, Any]) -> None:
        key = record[self.d.entity_key]
        if key not in self.read:
            self.read.add(key)
            self.talk.call(self.d.get_entity[0], {self.d.entity_key: key}, record)

    def _scan(self, wish: Wish) -> None:
        """Read the person's records one after another until the wanted thing is found; what was read is known."""
        known = [record for record in self.d.records if record[self.d.entity_key] in self.read]
        unread = [record for record in self.d.records if record[self.d.entity_key] not in self.read]
        for record in known + unread:
            self._read(record)
            if any(part["name"] == wish.part for part in record[f"{self.d.part}s"]):
                wish.record = record
                return

    def _serve(self, wish: Wish) -> None:
        r, d, talk = self.r, self.d, self.talk
        if wish.mode == "status":
            self._scan(wish)
            record = wish.record
            talk.agent(f"Your {wish.part} is in {d.entity} {record[d.entity_key]}, its status is {record['status']}.")
            return
        if wish.mode != "profile" and not self._settle(wish):
            return
        if wish.pay and not wish.pay_told:
            talk.agent(r.choice(lx.WAYS))
            talk.user(c.noisy(r, r.choice(lx.PAY_ANSWERS).format(wish.pay_words)))
        self._act(wish)

    def _settle(self, wish: Wish) -> bool:
        """Find out which record is meant and what it holds; False where it cannot be changed."""
        r, d, talk = self.r, self.d, self.talk
        record_id = wish.record[d.entity_key]
        if not wish.told:
            talk.agent(f"Which {d.entity} do you mean?")
            talk.user(r.choice(["{}", "it is {}", "number {}"]).format(record_id))
        if wish.foreign:
            talk.agent(r.choice(lx.NOT_YOURS).format(n=d.entity, i=record_id))
            return False
        if d.reads(wish.mode):
            self._read(wish.record)
            if wish.record["status"] in FROZEN_STATES:
                talk.agent(f"I am sorry, {d.entity} {record_id} is {wish.record['status']}, so I cannot do that.")
                return False
        for group, name, records in wish.groups:
            if name not in self.read:
                self.read.add(name)
                talk.call(d.get_group[0], {d.group_key: group}, {"name": name, d.group_key: group, "variants": records})
        return True

    def _act(self, wish: Wish) -> None:
        r, d, talk = self.r, self.d, self.talk
        if d.confirms:
            what = d.person if wish.mode == "profile" else wish.record[d.entity_key]
            to = f" to {wish.to}" if wish.to else ""
            paid = f" with {wish.pay}" if wish.pay else ""
            talk.agent(f"I will {wish.tool.replace('_', ' ')} {what}{to}{paid}. Do you confirm (yes/no)?")
            if r.random() < 0.15:
                talk.user(r.choice(lx.NO))
                talk.agent(r.choice(lx.KEPT))
                return
            talk.user(r.choice(lx.YES))
        result: Any = {"status": "ok"} if r.random() < 0.6 else "ok" if wish.mode == "profile" else wish.record
        talk.call(wish.tool, wish.arguments, result)
        talk.agent(r.choice(lx.DONE))


def workflow(r: random.Random) -> c.Dialogue:
    """Return a workflow that shares no tool name with the shop."""
    while True:
        dialogue = Workflow(r).play()
        if not RETAIL_TOOLS & {t["function"]["name"] for t in dialogue["tools"]}:
            return dialogue
