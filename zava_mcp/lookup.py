"""Finding records by the ids that a caller gives; a miss says what the id should look like."""

from collections.abc import Iterable, Sequence
from decimal import Decimal

from zava_mcp.entities import CreditCard, GiftCard, Item, Order, PayPal, Product, User, Variant
from zava_mcp.errors import ArgumentError, NotFoundError
from zava_mcp.state import ShopState


class Lookup(ShopState):
    """The state of a shop with checked access to its records."""

    def user(self, user_id: str) -> User:
        """Return a customer, or raise NotFoundError."""
        if user_id not in self._users:
            raise NotFoundError(
                f"No customer {user_id!r}. User ids look like 'noah_brown_6181'; "
                "find the id with find_user_id_by_email or find_user_id_by_name_zip."
            )
        return self._users[user_id]

    def order(self, order_id: str) -> Order:
        """Return an order, or raise NotFoundError."""
        if order_id not in self._orders:
            raise NotFoundError(f"No order {order_id!r}. Order ids look like '#W0000000'.")
        return self._orders[order_id]

    def product(self, product_id: str) -> Product:
        """Return a product, or raise NotFoundError."""
        if product_id in self.products:
            return self.products[product_id]
        owner = self._base.product_by_item.get(product_id)
        if owner is not None:
            raise NotFoundError(f"{product_id!r} is an item id, not a product id; its product is {owner!r}.")
        raise NotFoundError(f"No product {product_id!r}. Product ids come from list_products or from an order's items.")

    def item(self, item_id: str) -> Variant:
        """Return an item of the catalogue, or raise NotFoundError."""
        owner = self._base.product_by_item.get(item_id)
        if owner is not None:
            return self.products[owner].variants[item_id]
        if item_id in self.products:
            raise NotFoundError(
                f"{item_id!r} is a product id, not an item id; get_product_details lists the items of the product."
            )
        raise NotFoundError(f"No item {item_id!r}. Item ids come from get_product_details or from an order's items.")

    def variant_for(self, item: Item, new_item_id: str) -> Variant:
        """Return the variant of the same product as an ordered item, or raise NotFoundError."""
        variant = self.item(new_item_id)
        if self._base.product_by_item[new_item_id] != item.product_id:
            raise NotFoundError(
                f"Item {new_item_id!r} is no {item.name!r}: "
                f"item {item.item_id!r} can only be changed to another item of product {item.product_id!r}."
            )
        return variant

    def payment_method(self, user_id: str, payment_method_id: str) -> CreditCard | PayPal | GiftCard:
        """Return a customer's payment method, or raise NotFoundError."""
        methods = self.user(user_id).payment_methods
        if payment_method_id not in methods:
            raise NotFoundError(
                f"Customer {user_id!r} has no payment method {payment_method_id!r}; on file: {_quoted(methods)}."
            )
        return methods[payment_method_id]


def positions(order: Order, item_ids: Sequence[str]) -> list[int]:
    """Return where the items stand in the order; an id named twice asks for two items.

    Raises:
        ArgumentError: If no item is named.
        NotFoundError: If the order does not hold an item, or not that often.
    """
    if not item_ids:
        raise ArgumentError("item_ids is empty; name at least one item of the order.")
    found: list[int] = []
    for item_id in item_ids:
        places = [place for place, item in enumerate(order.items) if item.item_id == item_id]
        if not places:
            held = _quoted(item.item_id for item in order.items)
            raise NotFoundError(f"Order {order.order_id!r} has no item {item_id!r}; its items: {held}.")
        free = [place for place in places if place not in found]
        if not free:
            raise NotFoundError(
                f"Order {order.order_id!r} has item {item_id!r} {len(places)} times, "
                f"not {list(item_ids).count(item_id)} times."
            )
        found.append(free[0])
    return found


def dollars(amount: Decimal) -> str:
    """Return an amount for reading, such as '$12.50'."""
    return f"${amount:,.2f}"


def _quoted(ids: Iterable[str]) -> str:
    return ", ".join(repr(key) for key in ids) or "none"
