"""The 18 tools as a model sees them: names, arguments and docstrings are the prompt; the store does the work."""

from typing import Annotated, Any

from mcp.server.mcpserver import Context
from pydantic import Field

from zava_mcp.entities import CancelReason, Order, Product, User, Variant
from zava_mcp.sandboxes import Sandboxes
from zava_mcp.store import MAX_HITS, RetailStore

SANDBOX_HEADER = "X-Zava-Sandbox"
# Of the environment: the bearer key that the server asks for over HTTP, and that clients show.
KEY_VARIABLE = "ZAVA_SHOP_KEY"

UserId = Annotated[str, Field(description="The id that a find_user_id tool returned, such as 'noah_brown_6181'.")]
OrderId = Annotated[str, Field(description="The order id with its '#', such as '#W0000000'.")]
ProductId = Annotated[str, Field(description="The product id, which is not an item id.")]
ItemId = Annotated[str, Field(description="The item id, which is not a product id.")]
ItemIds = Annotated[list[str], Field(description="Item ids in the order; an id given twice means two items.")]
NewItemIds = Annotated[
    list[str], Field(description="For each item, at the same position, the available item of the same product instead.")
]
DifferenceMethodId = Annotated[
    str, Field(description="The customer's payment method that pays or receives the price difference.")
]
RefundMethodId = Annotated[
    str, Field(description="Where the refund goes: the original payment method or a gift card of the customer.")
]
PaymentMethodId = Annotated[str, Field(description="Another payment method of the customer.")]


class ShopTools:
    """The tools over a shop; each call works on the sandbox that its HTTP header names, if any."""

    def __init__(self, shop: Sandboxes) -> None:
        """Work on this shop."""
        self._shop = shop

    def _store(self, ctx: Context) -> RetailStore:
        # Only HTTP has headers; their names are compared without case.
        headers = ctx.headers or {}
        return self._shop.store(headers.get(SANDBOX_HEADER))

    async def find_user_id_by_email(self, email: str, *, ctx: Context) -> str:
        """Find a customer's user id by email. Do this first in every conversation."""
        return self._store(ctx).find_user_id_by_email(email)

    async def find_user_id_by_name_zip(self, first_name: str, last_name: str, zip: str, *, ctx: Context) -> str:
        """Find a customer's user id by name and zip code, when they give no email or it is not found."""
        return self._store(ctx).find_user_id_by_name_zip(first_name, last_name, zip)

    async def get_user_details(self, user_id: UserId, *, ctx: Context) -> User:
        """Get a customer's profile: address, payment methods and order ids. Do this right after finding the id."""
        return self._store(ctx).get_user_details(user_id)

    async def update_address(
        self,
        user_id: UserId,
        address1: str,
        address2: str,
        city: str,
        state: str,
        country: str,
        zip: str,
        *,
        ctx: Context,
    ) -> User:
        """Set a customer's default address. List the new address and get an explicit yes first."""
        return self._store(ctx).update_address(user_id, address1, address2, city, state, country, zip)

    async def list_products(self, *, ctx: Context) -> dict[str, str]:
        """List all products of the shop with their product ids."""
        return self._store(ctx).list_products()

    async def search_products(
        self, query: str, limit: Annotated[int, Field(ge=1, le=MAX_HITS)] = 5, *, ctx: Context
    ) -> list[dict[str, Any]]:
        """Search items by words of their product name and options; the best come first."""
        return self._store(ctx).search_products(query, limit)

    async def get_product_details(self, product_id: ProductId, *, ctx: Context) -> Product:
        """Get a product with its items: item ids, options, prices and which are available."""
        return self._store(ctx).get_product_details(product_id)

    async def get_item_details(self, item_id: ItemId, *, ctx: Context) -> Variant:
        """Get the options, price and availability of one item."""
        return self._store(ctx).get_item_details(item_id)

    async def list_user_orders(self, user_id: UserId, *, ctx: Context) -> list[dict[str, Any]]:
        """List a customer's orders in short: order id, status and item names."""
        return self._store(ctx).list_user_orders(user_id)

    async def get_order_details(self, order_id: OrderId, *, ctx: Context) -> Order:
        """Get an order. Check its owner and status before you offer or make any change."""
        return self._store(ctx).get_order_details(order_id)

    async def cancel_pending_order(self, order_id: OrderId, reason: CancelReason, *, ctx: Context) -> Order:
        """Cancel a pending order. Name the order and the reason and get an explicit yes first."""
        return self._store(ctx).cancel_pending_order(order_id, reason)

    async def modify_pending_order_address(
        self,
        order_id: OrderId,
        address1: str,
        address2: str,
        city: str,
        state: str,
        country: str,
        zip: str,
        *,
        ctx: Context,
    ) -> Order:
        """Set the shipping address of a pending order. List the new address and get an explicit yes first."""
        return self._store(ctx).modify_pending_order_address(order_id, address1, address2, city, state, country, zip)

    async def modify_pending_order_items(
        self,
        order_id: OrderId,
        item_ids: ItemIds,
        new_item_ids: NewItemIds,
        payment_method_id: DifferenceMethodId,
        *,
        ctx: Context,
    ) -> Order:
        """Change items of a pending order, once: gather all items, list them and get an explicit yes first."""
        store = self._store(ctx)
        return store.modify_pending_order_items(order_id, item_ids, new_item_ids, payment_method_id)

    async def modify_pending_order_payment(
        self, order_id: OrderId, payment_method_id: PaymentMethodId, *, ctx: Context
    ) -> Order:
        """Change the payment method of a pending order. Name both methods and get an explicit yes first."""
        return self._store(ctx).modify_pending_order_payment(order_id, payment_method_id)

    async def return_delivered_order_items(
        self, order_id: OrderId, item_ids: ItemIds, payment_method_id: RefundMethodId, *, ctx: Context
    ) -> Order:
        """Return items of a delivered order, once: list items and refund method and get an explicit yes first."""
        return self._store(ctx).return_delivered_order_items(order_id, item_ids, payment_method_id)

    async def exchange_delivered_order_items(
        self,
        order_id: OrderId,
        item_ids: ItemIds,
        new_item_ids: NewItemIds,
        payment_method_id: DifferenceMethodId,
        *,
        ctx: Context,
    ) -> Order:
        """Exchange items of a delivered order, once: gather all items, list them and get an explicit yes first."""
        store = self._store(ctx)
        return store.exchange_delivered_order_items(order_id, item_ids, new_item_ids, payment_method_id)

    async def calculate(
        self, expression: Annotated[str, Field(description="Numbers, + - * / and parentheses.")], *, ctx: Context
    ) -> str:
        """Calculate with prices and amounts."""
        return self._store(ctx).calculate(expression)

    async def transfer_to_human_agents(
        self, summary: Annotated[str, Field(description="What the customer wants.")], *, ctx: Context
    ) -> str:
        """Hand over to a human, only if the customer insists or the request is outside what the tools can do."""
        return self._store(ctx).transfer_to_human_agents(summary)
