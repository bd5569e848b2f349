"""The records of the shop, in the layout of a snapshot: products, customers and orders."""

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal, NoReturn, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, Strict

K = TypeVar("K")
V = TypeVar("V")

CENT = Decimal("0.01")

OrderStatus = Literal[
    "pending",
    "pending (item modified)",
    "processed",
    "delivered",
    "cancelled",
    "return requested",
    "exchange requested",
]
CancelReason = Literal["no longer needed", "ordered by mistake"]


class FrozenDict(dict[K, V]):
    """A dict that refuses change: forks of a shop share their records."""

    def _refuse(self, *_args: object, **_kwargs: object) -> NoReturn:
        raise TypeError("The records of a shop are frozen; change them through the store.")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __reduce__(self) -> tuple[type["FrozenDict[K, V]"], tuple[dict[K, V]]]:
        """Pickle by value, since unpickling a dict item by item would be a change."""
        return FrozenDict, (dict(self),)


def _whole_cents(value: object) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise ValueError("an amount of money must be a number")
    amount = Decimal(str(value))
    if not amount.is_finite() or abs(amount) >= 10**12 or amount != amount.quantize(CENT):
        raise ValueError(f"{value} is not an amount in whole cents")
    return amount.quantize(CENT)


# Exact inside, a JSON number outside.
Money = Annotated[Decimal, BeforeValidator(_whole_cents), PlainSerializer(float, return_type=float, when_used="json")]
PositiveMoney = Annotated[Money, Field(ge=0)]
FrozenMap = Annotated[Mapping[K, V], Strict(False), AfterValidator(FrozenDict)]
# JSON has arrays only, which a strict tuple would not take.
Listed = Annotated[tuple[V, ...], Strict(False)]


class Record(BaseModel):
    """A frozen record; fields that the shop does not know are kept, for a snapshot is written back whole."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True)

    def to_json(self) -> dict[str, Any]:
        """Return the record as JSON values, with exactly the fields that were given or changed."""
        return self.model_dump(mode="json", exclude_unset=True)

    def compact(self) -> str:
        """Return the record as one line of compact JSON."""
        return compact_json(self.to_json())


def compact_json(value: object) -> str:
    """Return JSON without blanks, in UTF-8 rather than escapes."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


class Address(Record):
    """A postal address; `address2` may be empty."""

    address1: str
    address2: str
    city: str
    country: str
    state: str
    zip: str


class Name(Record):
    """A customer's name."""

    first_name: str
    last_name: str


class CreditCard(Record):
    """A credit card on file."""

    source: Literal["credit_card"]
    id: str
    brand: str
    last_four: str


class PayPal(Record):
    """A PayPal account on file."""

    source: Literal["paypal"]
    id: str


class GiftCard(Record):
    """A gift card with what is left on it."""

    source: Literal["gift_card"]
    id: str
    balance: PositiveMoney


PaymentMethod = Annotated[CreditCard | PayPal | GiftCard, Field(discriminator="source")]


class User(Record):
    """A customer."""

    user_id: str
    name: Name
    address: Address
    email: str
    payment_methods: FrozenMap[str, PaymentMethod]
    orders: Listed[str]


class Variant(Record):
    """One item that can be bought: a product with its options chosen."""

    item_id: str
    options: FrozenMap[str, str]
    available: bool
    price: PositiveMoney


class Product(Record):
    """A product and its variants by item id."""

    name: str
    product_id: str
    variants: FrozenMap[str, Variant]


class Item(Record):
    """One item of an order, at the price that was paid for it."""

    name: str
    product_id: str
    item_id: str
    price: PositiveMoney
    options: FrozenMap[str, str]


class Fulfillment(Record):
    """Which items travel under which tracking ids."""

    tracking_id: Listed[str]
    item_ids: Listed[str]


class Payment(Record):
    """Money that moved for an order."""

    transaction_type: Literal["payment", "refund"]
    amount: PositiveMoney
    payment_method_id: str


class Order(Record):
    """An order; the fields with a default appear when an action or a shipment adds them."""

    order_id: str
    user_id: str
    address: Address
    items: Listed[Item]
    status: OrderStatus
    fulfillments: Listed[Fulfillment] = ()
    payment_history: Listed[Payment]
    cancel_reason: str | None = None
    return_items: Listed[str] | None = None
    return_payment_method_id: str | None = None
    exchange_items: Listed[str] | None = None
    exchange_new_items: Listed[str] | None = None
    exchange_payment_method_id: str | None = None
    exchange_price_difference: Money | None = None
