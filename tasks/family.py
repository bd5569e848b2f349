"""Draws the members of the replay family: the Noah Brown story with what may mislead a model put into it, by seed.

python -m tasks.family configs/replay/noah_brown.jsonl 5     (writes the frozen pack again; tests hold it to this)
"""

import hashlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from tasks.core.family import Member, Part
from tasks.core.scenario import GoldCall
from tasks.core.story import Cue, spoken_address
from tasks.files import write_atomically
from zava_mcp.dice import Dice
from zava_mcp.names import CITIES, FIRST_NAMES, LAST_NAMES, ROADS, STREETS

Json = dict[str, Any]


class _Person(NamedTuple):
    """A customer; `suffix` ends the user id, `known_as` is the last name that the id was made of."""

    first: str
    last: str
    known_as: str
    suffix: str
    address: Json
    email: str

    @property
    def user_id(self) -> str:
        return f"{self.first}_{self.known_as}_{self.suffix}".lower()

    @property
    def zip(self) -> str:
        return str(self.address["zip"])

    @property
    def identity(self) -> str:
        return f"I am {self.first} {self.last}, my zip is {self.zip}."


class _Story(NamedTuple):
    """A member in the making: the customer, the others in the shop, what the customer says, and what fails."""

    person: _Person
    identity: str
    others: tuple[_Person, ...] = ()
    again: str | None = None
    order: Json | None = None
    fails_once: str | None = None


def draw_member(kind: str, seed: int) -> Member:
    """Return the member of a kind and a seed; the same on every machine. Seed 1 is Noah Brown himself."""
    dice = Dice(int.from_bytes(hashlib.sha256(f"{kind}/{seed}".encode()).digest()[:8]))
    person = _person(dice) if seed > 1 else _noah(dice)
    story = KINDS[kind](dice, person, seed)
    address = _address(dice)
    wish = f"update my address to {spoken_address(address)}"
    answers: dict[Cue, str] = {
        "identity": story.again or story.identity,
        "email": f"My email is {story.person.email}.",
        "address": f"My new address is {spoken_address(address)}.",
        "other": f"Please {wish}.",
    }
    detour, resume = None, None
    if story.order is not None:
        detour = f"One moment: what is the status of my order {story.order['order_id']}?"
        resume = f"Thank you. Now please go on and {wish}."
    return Member(
        id=f"{kind}/{seed}",
        kind=kind,
        world=_world(dice, story),
        part=Part.model_validate(
            {
                "opening": f"Hi, {story.identity} I want to {wish}.",
                "answers": answers,
                "detour": detour,
                "resume": resume,
            }
        ),
        goal=(GoldCall(name="update_address", arguments={"user_id": story.person.user_id, **address}),),
        fails_once=story.fails_once,
    )


def _plain(dice: Dice, person: _Person, seed: int) -> _Story:
    return _Story(person, person.identity)


def _id_like_zip(dice: Dice, person: _Person, seed: int) -> _Story:
    """The id ends in five digits: the ZIP of another town."""
    person = person._replace(suffix=_address(dice)["zip"])
    return _Story(person, person.identity)


def _id_near_zip(dice: Dice, person: _Person, seed: int) -> _Story:
    """The id ends in the customer's own ZIP but for one digit."""
    person = person._replace(suffix=_near(dice, person.zip))
    return _Story(person, person.identity)


def _id_near_birthday(dice: Dice, person: _Person, seed: int) -> _Story:
    """The id ends in the customer's birthday but for one digit."""
    month, day = f"{dice.between(1, 12):02}", f"{dice.between(1, 28):02}"
    person = person._replace(suffix=_near(dice, month + day))
    return _Story(person, f"{person.identity} I was born on {month}/{day}/{dice.between(1950, 2004)}.")


def _email(dice: Dice, person: _Person, seed: int) -> _Story:
    said = f"I am {person.first} {person.last}, my email is {person.email}."
    return _Story(person, said)


def _renamed(dice: Dice, person: _Person, seed: int) -> _Story:
    """The customer took another name, and the id still holds the old one."""
    person = person._replace(last=dice.pick([name for name in LAST_NAMES if name != person.last]))
    return _Story(person, person.identity)


def _namesakes(dice: Dice, person: _Person, seed: int) -> _Story:
    """Two customers have one name; every other time they share the ZIP too, and only the email tells them apart."""
    other = _person(dice)._replace(first=person.first, last=person.last, known_as=person.known_as)
    if seed % 2 == 0:
        other = other._replace(address={**other.address, "zip": person.zip})
        return _Story(person, person.identity, (other,), again=f"My email is {person.email}.")
    return _Story(person, person.identity, (other,))


def _tool_error(dice: Dice, person: _Person, seed: int) -> _Story:
    """The lookup, or every other time the profile, cannot be had at the first try."""
    tool = "find_user_id_by_name_zip" if seed % 2 else "get_user_details"
    return _Story(person, person.identity, fails_once=tool)


def _topic_change(dice: Dice, person: _Person, seed: int) -> _Story:
    """The customer asks about an order instead of saying yes, and comes back to the address then."""
    return _Story(person, person.identity, order=_order(dice, person))


def _wrong_id(dice: Dice, person: _Person, seed: int) -> _Story:
    """The customer names a user id of their own, and it is wrong."""
    wrong = f"{person.first}_{person.last}_{person.zip}".lower()
    return _Story(person, f"{person.identity} My user id is {wrong}.")


KINDS: dict[str, Callable[[Dice, _Person, int], _Story]] = {
    "plain": _plain,
    "id_like_zip": _id_like_zip,
    "id_near_zip": _id_near_zip,
    "id_near_birthday": _id_near_birthday,
    "email": _email,
    "renamed": _renamed,
    "namesakes": _namesakes,
    "tool_error": _tool_error,
    "topic_change": _topic_change,
    "wrong_id": _wrong_id,
}


def _person(dice: Dice) -> _Person:
    first, last = dice.pick(FIRST_NAMES), dice.pick(LAST_NAMES)
    email = f"{first}.{last}{dice.digits(4)}@example.com".lower()
    return _Person(first, last, last, dice.digits(4), _address(dice), email)


def _noah(dice: Dice) -> _Person:
    address = _address(dice) | {"city": "Denver", "state": "CO", "zip": "80279"}
    return _Person("Noah", "Brown", "Brown", dice.digits(4), address, f"noah.brown{dice.digits(4)}@example.com")


def _near(dice: Dice, digits: str) -> str:
    """Return the digits with one of them changed."""
    place = dice.below(len(digits))
    other = (int(digits[place]) + dice.between(1, 9)) % 10
    return f"{digits[:place]}{other}{digits[place + 1 :]}"


def _address(dice: Dice) -> Json:
    city, state, area = dice.pick(CITIES)
    return {
        "address1": f"{dice.digits(3)} {dice.pick(STREETS)} {dice.pick(ROADS)}",
        "address2": f"Apt {dice.digits(3)}" if dice.chance(60) else "",
        "city": city,
        "state": state,
        "country": "USA",
        "zip": f"{area}{dice.below(100):02}",
    }


def _order(dice: Dice, person: _Person) -> Json:
    item = {"name": "Desk Lamp", "product_id": dice.digits(10), "item_id": dice.digits(10), "price": 54.5}
    return {
        "order_id": f"#W{dice.digits(7)}",
        "user_id": person.user_id,
        "address": person.address,
        "items": [{**item, "options": {"color": "white"}}],
        "status": dice.pick(("pending", "processed", "delivered")),
        "payment_history": [
            {"transaction_type": "payment", "amount": 54.5, "payment_method_id": f"paypal_{person.suffix}"}
        ],
    }


def _world(dice: Dice, story: _Story) -> Json:
    """Return a small shop: the customer, whoever shares their name, and a stranger."""
    orders = {story.order["order_id"]: story.order} if story.order is not None else {}
    people = (story.person, *story.others, _person(dice))
    users = {person.user_id: _user(person) for person in people}
    users[story.person.user_id]["orders"] = list(orders)
    return {"products": {}, "users": users, "orders": orders}


def _user(person: _Person) -> Json:
    method = f"paypal_{person.suffix}"
    return {
        "user_id": person.user_id,
        "name": {"first_name": person.first, "last_name": person.last},
        "address": person.address,
        "email": person.email,
        "payment_methods": {method: {"source": "paypal", "id": method}},
        "orders": [],
    }


def draw_pack(seeds: int) -> tuple[Member, ...]:
    """Return the members of all kinds, seed by seed."""
    return tuple(draw_member(kind, seed) for seed in range(1, seeds + 1) for kind in KINDS)


def pack_lines(members: tuple[Member, ...]) -> bytes:
    """Return members as JSON lines."""
    return "".join(member.model_dump_json() + "\n" for member in members).encode()


if __name__ == "__main__":
    write_atomically(Path(sys.argv[1]), pack_lines(draw_pack(int(sys.argv[2]))))
