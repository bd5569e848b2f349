"""The shop's tools as methods: check everything, then change, then return the record as it is now."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from zava_mcp import arithmetic, policy, search
from zava_mcp.entities import (
    Address,
    CreditCard,
    FrozenDict,
    GiftCard,
    Item,
    Order,
    Payment,
    PayPal,
    Product,
    User,
    Variant,
)
from zava_mcp.errors import ArgumentError, NotFoundError, PolicyError
from zava_mcp.lookup import Lookup, dollars, positions
from zava_mcp.state import Journal, folded

MAX_HITS = 20


class RetailStore(Lookup):
    """A shop in memory. Fork it for each conversation; a call that raises has changed nothing."""

    def fork(self) -> "RetailStore":
        """Return a private sandbox in the same state; it costs as much as the changes made so far."""
        sandbox = RetailStore(self._base)
        sandbox._users, sandbox._orders, sandbox._digest = self._users.fork(), self._orders.fork(), self._digest
        return sandbox

    def journalled(self, journal: Journal) -> "RetailStore":
        """Return this shop with a journal, which hears of each change before it is made and can prevent it."""
        shop = RetailStore(self._base, journal=journal)
        shop._users, shop._orders = self._users.fork(), self._orders.fork()
        return shop

    def find_user_id_by_email(self, email: str) -> str:
        """Return the id of the customer with this email."""
        user_id = self._base.user_by_email.get(folded(email))
        if user_id is None:
            raise NotFoundError(f"No customer has the email {email!r}. Ask for the name and zip code instead.")
        return user_id

    def find_user_id_by_name_zip(self, first_name: str, last_name: str, zip: str) -> str:
        """Return the id of the one customer with this name who lives at this zip."""
        namesakes = self._base.users_by_name.get((folded(first_name), folded(last_name)), [])
        found = [user_id for user_id in namesakes if self._users[user_id].address.zip == zip.strip()]
        if not found:
            raise NotFoundError(
                f"No customer {first_name!r} {last_name!r} with zip {zip!r}. Ask for the email instead."
            )
        if len(found) > 1:
            raise NotFoundError(
                f"{len(found)} customers are called {first_name!r} {last_name!r} with zip {zip!r}. Ask for the email."
            )
        return found[0]

    def get_user_details(self, user_id: str) -> User:
        """Return a customer's profile."""
        return self.user(user_id)

    def get_order_details(self, order_id: str) -> Order:
        """Return an order."""
        return self.order(order_id)

    def get_product_details(self, product_id: str) -> Product:
        """Return a product with all its variants."""
        return self.product(product_id)

    def get_item_details(self, item_id: str) -> Variant:
        """Return one item of the catalogue."""
        return self.item(item_id)

    def list_products(self) -> dict[str, str]:
        """Return the product ids by product name, in the order of the names."""
        return dict(sorted((product.name, product.product_id) for product in self.products.values()))

    def search_products(self, query: str, limit: int = 5) -> list[dict[str, Any]]:
        """Return up to `limit` items that match words of a product's name or options, best first."""
        if not 1 <= limit <= MAX_HITS:
            raise ArgumentError(f"limit is {limit}; it must be from 1 to {MAX_HITS}.")
        return search.search(self.products.values(), query, limit)

    def list_user_orders(self, user_id: str) -> list[dict[str, Any]]:
        """Return a customer's orders in short: id, status and the names of the items."""
        return [
            {"order_id": order.order_id, "status": order.status, "items": [item.name for item in order.items]}
            for order in map(self.order, self.user(user_id).orders)
        ]

    def calculate(self, expression: str) -> str:
        """Return the value of a plain arithmetic expression."""
        return arithmetic.calculate(expression)

    def transfer_to_human_agents(self, summary: str) -> str:
        """Hand the conversation to a human; the shop does not change."""
        if not summary.strip():
            raise ArgumentError("summary is empty; say what the customer wants.")
        return "Transfer successful"

    def update_address(
        self, user_id: str, address1: str, address2: str, city: str, state: str, country: str, zip: str
    ) -> User:
        """Set a customer's default address; their orders keep theirs."""
        address = Address(address1=address1, address2=address2, city=city, country=country, state=state, zip=zip)
        user = self.user(user_id).model_copy(update={"address": address})
        self._commit(user)
        return user

    def modify_pending_order_address(
        self, order_id: str, address1: str, address2: str, city: str, state: str, country: str, zip: str
    ) -> Order:
        """Set the shipping address of a pending order."""
        order = self._pending(order_id, "its address can be changed")
        address = Address(address1=address1, address2=address2, city=city, country=country, state=state, zip=zip)
        return self._save(order.model_copy(update={"address": address}))

    def cancel_pending_order(self, order_id: str, reason: str) -> Order:
        """Cancel a pending order and refund each of its payments; gift cards are credited at once."""
        order = self._pending(order_id, "it can be cancelled")
        if reason not in policy.CANCEL_REASONS:
            raise PolicyError(f"{reason!r} is no reason to cancel; the reasons are {_either(policy.CANCEL_REASONS)}.")
        due = policy.open_payments(order)
        refunds = [_payment("refund", payment.amount, payment.payment_method_id) for payment in due]
        user = self.user(order.user_id)
        for payment in due:
            user = _credited(user, self.payment_method(user.user_id, payment.payment_method_id).id, payment.amount)
        return self._save(
            order.model_copy(
                update={
                    "status": "cancelled",
                    "cancel_reason": reason,
                    "payment_history": (*order.payment_history, *refunds),
                }
            ),
            user,
        )

    def modify_pending_order_payment(self, order_id: str, payment_method_id: str) -> Order:
        """Pay a pending order with another method and refund the old one."""
        order = self._pending(order_id, "its payment method can be changed")
        method = self.payment_method(order.user_id, payment_method_id)
        if not policy.has_single_payment(order):
            raise PolicyError(f"The payment of order {order_id!r} was changed before; it can be changed once.")
        [paid] = order.payment_history
        if paid.payment_method_id == payment_method_id:
            raise PolicyError(f"Order {order_id!r} is paid with {payment_method_id!r} already; choose another method.")
        self._check_covers(method, paid.amount)
        user = _credited(self.user(order.user_id), payment_method_id, -paid.amount)
        user = _credited(user, paid.payment_method_id, paid.amount)
        changes = (
            _payment("payment", paid.amount, payment_method_id),
            _payment("refund", paid.amount, paid.payment_method_id),
        )
        return self._save(order.model_copy(update={"payment_history": (paid, *changes)}), user)

    def modify_pending_order_items(
        self, order_id: str, item_ids: Sequence[str], new_item_ids: Sequence[str], payment_method_id: str
    ) -> Order:
        """Replace items of a pending order by others of the same product, once; the difference is paid or refunded."""
        order = self._pending(order_id, "its items can be modified, and once only")
        places, variants, difference = self._replacements(order, item_ids, new_item_ids)
        method = self.payment_method(order.user_id, payment_method_id)
        self._check_covers(method, difference)
        items = list(order.items)
        for place, new in zip(places, variants, strict=True):
            update = {"item_id": new.item_id, "price": new.price, "options": new.options}
            items[place] = items[place].model_copy(update=update)
        entry = _payment("payment" if difference > 0 else "refund", abs(difference), payment_method_id)
        modified = order.model_copy(
            update={
                "items": tuple(items),
                "status": "pending (item modified)",
                "payment_history": (*order.payment_history, entry),
            }
        )
        return self._save(modified, _credited(self.user(order.user_id), payment_method_id, -difference))

    def return_delivered_order_items(self, order_id: str, item_ids: Sequence[str], payment_method_id: str) -> Order:
        """Record the request to return items of a delivered order."""
        order = self._delivered(order_id, "returned")
        method = self.payment_method(order.user_id, payment_method_id)
        if not policy.may_receive_refund(order, method):
            raise PolicyError(
                f"A return of order {order_id!r} cannot be refunded to {payment_method_id!r}; "
                "refunds go to the original payment method or to a gift card."
            )
        positions(order, item_ids)
        return self._save(
            order.model_copy(
                update={
                    "status": "return requested",
                    "return_items": tuple(sorted(item_ids)),
                    "return_payment_method_id": payment_method_id,
                }
            )
        )

    def exchange_delivered_order_items(
        self, order_id: str, item_ids: Sequence[str], new_item_ids: Sequence[str], payment_method_id: str
    ) -> Order:
        """Record the request to exchange items of a delivered order for others of the same product."""
        order = self._delivered(order_id, "exchanged")
        _, _, difference = self._replacements(order, item_ids, new_item_ids)
        self._check_covers(self.payment_method(order.user_id, payment_method_id), difference)
        return self._save(
            order.model_copy(
                update={
                    "status": "exchange requested",
                    "exchange_items": tuple(sorted(item_ids)),
                    "exchange_new_items": tuple(sorted(new_item_ids)),
                    "exchange_payment_method_id": payment_method_id,
                    "exchange_price_difference": difference,
                }
            )
        )

    def _save(self, order: Order, user: User | None = None) -> Order:
        self._commit(*([order] if user is None else [order, user]))
        return order

    def _pending(self, order_id: str, what: str) -> Order:
        order = self.order(order_id)
        if not policy.is_pending(order):
            raise PolicyError(f"Order {order_id!r} is {order.status!r}; only while an order is 'pending' {what}.")
        return order

    def _delivered(self, order_id: str, action: str) -> Order:
        order = self.order(order_id)
        if not policy.is_delivered(order):
            raise PolicyError(
                f"Order {order_id!r} is {order.status!r}; only items of a 'delivered' order can be {action}, once."
            )
        return order

    def _replacements(
        self, order: Order, item_ids: Sequence[str], new_item_ids: Sequence[str]
    ) -> tuple[list[int], list[Variant], Decimal]:
        """Return the places in the order, the variant for each, and what they cost more in all."""
        if len(item_ids) != len(new_item_ids):
            raise ArgumentError(
                f"item_ids has {len(item_ids)} entries and new_item_ids has {len(new_item_ids)}; "
                "each item needs its new item at the same position."
            )
        places = positions(order, item_ids)
        olds = [order.items[place] for place in places]
        news = [self.variant_for(old, new_id) for old, new_id in zip(olds, new_item_ids, strict=True)]
        for old, new in zip(olds, news, strict=True):
            _check_replaceable(old, new)
        difference = sum((new.price - old.price for old, new in zip(olds, news, strict=True)), Decimal("0.00"))
        return places, news, difference

    def _check_covers(self, method: CreditCard | PayPal | GiftCard, amount: Decimal) -> None:
        if isinstance(method, GiftCard) and not policy.covers(method, amount):
            raise PolicyError(
                f"Gift card {method.id!r} holds {dollars(method.balance)}, which does not cover {dollars(amount)}."
            )


def _check_replaceable(old: Item, new: Variant) -> None:
    if policy.may_replace(old, new):
        return
    if not new.available:
        raise PolicyError(f"Item {new.item_id!r} is not available; choose an available item of the same product.")
    raise PolicyError(f"Item {new.item_id!r} is the item that was ordered; choose one with other options.")


def _payment(kind: str, amount: Decimal, payment_method_id: str) -> Payment:
    return Payment.model_validate({"transaction_type": kind, "amount": amount, "payment_method_id": payment_method_id})


def _credited(user: User, payment_method_id: str, amount: Decimal) -> User:
    """Return the customer with an amount added to a gift card; other methods hold no money here."""
    method = user.payment_methods[payment_method_id]
    if not isinstance(method, GiftCard):
        return user
    card = method.model_copy(update={"balance": method.balance + amount})
    methods = FrozenDict({**user.payment_methods, card.id: card})
    return user.model_copy(update={"payment_methods": methods})


def _either(choices: Sequence[str]) -> str:
    return " or ".join(repr(choice) for choice in choices)
