"""The generated shop: the same customers, products and orders for the same seed, on any machine."""

from itertools import product as combinations
from typing import Any

from zava_mcp.catalogue import CATALOGUE, Model
from zava_mcp.dice import Dice
from zava_mcp.errors import GenerateError
from zava_mcp.names import CITIES, CLOSINGS, FIRST_NAMES, LAST_NAMES, OPENINGS, ROADS, STREETS, VOWELS
from zava_mcp.snapshot import parse_snapshot
from zava_mcp.store import RetailStore

MOST_ORDERS = 4
STATUSES = (("pending", 40), ("delivered", 40), ("processed", 12), ("cancelled", 8))
REASONS = ("no longer needed", "ordered by mistake")
UNITS = ("Apt", "Suite", "Unit")
BRANDS = ("visa", "mastercard", "amex")
HOSTS = (("example.com", 70), ("example.org", 15), ("example.net", 15))

Json = dict[str, Any]


def generate_shop(seed: int = 7, *, customers: int = 500, products: int = 50, orders: int = 1000) -> RetailStore:
    """Return a shop drawn by seed; Noah Brown of ZIP 80279 is always among the customers.

    Raises:
        GenerateError: If the numbers ask for more products than the catalogue has, or for orders without customers.
    """
    _check_size(customers, products, orders)
    dice = Dice(seed)
    catalogue = [_product(dice, model) for model in dice.sample(CATALOGUE, products)]
    users = [_noah(dice), *(_user(dice) for _ in range(customers - 1))]
    placed = [_order(dice, user, catalogue, status) for user, status in _plan(dice, users, orders)]
    content = {
        "products": {product["product_id"]: product for product in catalogue},
        "users": {user["user_id"]: user for user in users},
        "orders": {order["order_id"]: order for order in placed},
    }
    return parse_snapshot(content, source=f"the shop of seed {seed}")


def _check_size(customers: int, products: int, orders: int) -> None:
    if not 1 <= products <= len(CATALOGUE):
        raise GenerateError(f"products is {products}; the catalogue has 1 to {len(CATALOGUE)}.")
    if customers < 1:
        raise GenerateError(f"customers is {customers}; a shop has at least one.")
    # Two, for Noah Brown has a pending and a delivered order.
    if not 2 <= orders <= MOST_ORDERS * customers:
        raise GenerateError(f"orders is {orders}; {customers} customers have 2 to {MOST_ORDERS * customers}.")


def _plan(dice: Dice, users: list[Json], orders: int) -> list[tuple[Json, str]]:
    """Return who places each order and how it stands; everybody has one before others have two."""
    slots = [(users[0], "pending"), (users[0], "delivered")]
    firsts = users[1 : orders - 1]
    slots += [(user, dice.weighted(STATUSES)) for user in firsts]
    spare = [user for user in users for _ in range(MOST_ORDERS - (2 if user is users[0] else 1))]
    slots += [(user, dice.weighted(STATUSES)) for user in dice.sample(spare, orders - len(slots))]
    return dice.sample(slots, len(slots))


def _product(dice: Dice, model: Model) -> Json:
    choices = [dict(zip(model.options, values, strict=True)) for values in combinations(*model.options.values())]
    base = dice.between(model.low, model.high)
    variants = []
    for options in dice.sample(choices, min(len(choices), dice.between(4, 7))):
        price = dice.cents(max(model.low, base * 85 // 100), base * 115 // 100 + 1)
        item_id = dice.fresh(lambda: dice.digits(10))
        variants.append({"item_id": item_id, "options": options, "available": dice.chance(80), "price": price})
    # At least two can be had, or nothing of this product could be exchanged.
    for variant in variants[:2]:
        variant["available"] = True
    product_id = dice.fresh(lambda: dice.digits(10))
    return {"name": model.name, "product_id": product_id, "variants": {each["item_id"]: each for each in variants}}


def _name(dice: Dice, listed: tuple[str, ...]) -> str:
    """Return a listed name in half of the cases, else one composed from syllables."""
    if dice.chance(50):
        return dice.pick(listed)
    syllables = dice.weighted(((1, 15), (2, 65), (3, 20)))
    text = "".join(dice.pick(OPENINGS) + dice.pick(VOWELS) for _ in range(syllables))
    return (text + dice.pick(CLOSINGS)).capitalize()


def _address(dice: Dice) -> Json:
    city, state, area = dice.pick(CITIES)
    return {
        "address1": f"{dice.digits(dice.between(2, 4))} {dice.pick(STREETS)} {dice.pick(ROADS)}",
        "address2": f"{dice.pick(UNITS)} {dice.digits(dice.between(1, 3))}" if dice.chance(60) else "",
        "city": city,
        "country": "USA",
        "state": state,
        "zip": f"{area}{dice.below(100):02}",
    }


def _methods(dice: Dice, kinds: list[str]) -> Json:
    methods: Json = {}
    for kind in kinds:
        method_id = dice.fresh(lambda kind=kind: f"{kind}_{dice.digits(7)}")  # type: ignore[misc]
        methods[method_id] = {"source": kind, "id": method_id}
        if kind == "credit_card":
            methods[method_id] |= {"brand": dice.pick(BRANDS), "last_four": f"{dice.below(10000):04}"}
        if kind == "gift_card":
            methods[method_id]["balance"] = dice.cents(5, 400)
    return methods


def _customer(dice: Dice, first: str, last: str, user_id: str, address: Json, kinds: list[str]) -> Json:
    email = dice.fresh(lambda: f"{first}.{last}{dice.digits(4)}@{dice.weighted(HOSTS)}".lower())
    return {
        "user_id": user_id,
        "name": {"first_name": first, "last_name": last},
        "address": address,
        "email": email,
        "payment_methods": _methods(dice, kinds),
        "orders": [],
    }


def _noah(dice: Dice) -> Json:
    """Return the customer of the published story, whose zip an unfaithful model puts into his id."""
    dice.fresh(lambda: "noah brown")
    address = _address(dice) | {"city": "Denver", "state": "CO", "zip": "80279"}
    return _customer(dice, "Noah", "Brown", "noah_brown_6181", address, ["credit_card", "paypal"])


def _user(dice: Dice) -> Json:
    """Return a customer whose full name nobody else has, so that name and zip always name one."""
    names: list[str] = []

    def full_name() -> str:
        names[:] = [_name(dice, FIRST_NAMES), _name(dice, LAST_NAMES)]
        return " ".join(names).lower()

    dice.fresh(full_name)
    first, last = names
    user_id = dice.fresh(lambda: f"{first}_{last}_{dice.digits(4)}".lower())
    kinds = dice.sample(("credit_card", "paypal", "gift_card"), dice.weighted(((1, 35), (2, 45), (3, 20))))
    return _customer(dice, first, last, user_id, _address(dice), kinds)


def _order(dice: Dice, user: Json, catalogue: list[Json], status: str) -> Json:
    order_id = dice.fresh(lambda: f"#W{dice.digits(7)}")
    count = min(dice.weighted(((1, 40), (2, 40), (3, 20))), len(catalogue))
    items = [_item(dice, product) for product in dice.sample(catalogue, count)]
    if count > 1 and dice.chance(6):
        items[-1] = dict(items[0])
    total = sum(item["price"] for item in items)
    method_id = dice.pick(list(user["payment_methods"]))
    payment = {"transaction_type": "payment", "amount": total, "payment_method_id": method_id}
    order: Json = {
        "order_id": order_id,
        "user_id": user["user_id"],
        "address": user["address"],
        "items": items,
        "status": status,
        "payment_history": [payment],
    }
    if status == "cancelled":
        order["payment_history"].append(payment | {"transaction_type": "refund"})
        order["cancel_reason"] = dice.pick(REASONS)
    if status in ("processed", "delivered"):
        item_ids = [item["item_id"] for item in items]
        order["fulfillments"] = [{"tracking_id": [dice.digits(12)], "item_ids": item_ids}]
    user["orders"].append(order_id)
    return order


def _item(dice: Dice, product: Json) -> Json:
    variant = dice.pick(list(product["variants"].values()))
    return {
        "name": product["name"],
        "product_id": product["product_id"],
        "item_id": variant["item_id"],
        "price": variant["price"],
        "options": variant["options"],
    }
