"""The rules of policy.md as predicates over records; the store asks them before every change."""

from collections import Counter
from decimal import Decimal
from importlib.resources import files
from typing import get_args

from zava_mcp.entities import CancelReason, CreditCard, GiftCard, Item, Order, Payment, PayPal, Variant

CANCEL_REASONS: tuple[str, ...] = get_args(CancelReason)


def text() -> str:
    """Return the policy as the agent reads it."""
    return files("zava_mcp").joinpath("policy.md").read_text(encoding="utf-8")


def is_pending(order: Order) -> bool:
    """Whether an order may still be cancelled or modified; once its items were modified it may not."""
    return order.status == "pending"


def is_delivered(order: Order) -> bool:
    """Whether items may be returned or exchanged; a second request for an order is refused by its status."""
    return order.status == "delivered"


def has_single_payment(order: Order) -> bool:
    """Whether the payment method may be changed: one payment so far and nothing else."""
    return len(order.payment_history) == 1 and order.payment_history[0].transaction_type == "payment"


def may_receive_refund(order: Order, method: CreditCard | PayPal | GiftCard) -> bool:
    """Whether a return may be refunded there: to the original payment method or to a gift card."""
    original = order.payment_history[:1]
    return isinstance(method, GiftCard) or any(payment.payment_method_id == method.id for payment in original)


def covers(method: CreditCard | PayPal | GiftCard, amount: Decimal) -> bool:
    """Whether a method can pay an amount; only a gift card can run dry."""
    return not isinstance(method, GiftCard) or method.balance >= amount


def may_replace(old: Item, new: Variant) -> bool:
    """Whether a variant of the same product may take an item's place: available and another one."""
    return new.available and new.item_id != old.item_id


def open_payments(order: Order) -> list[Payment]:
    """Return the payments that a cancellation has to refund: each payment once, none that is refunded already."""
    refunded = Counter(
        (entry.payment_method_id, entry.amount) for entry in order.payment_history if entry.transaction_type == "refund"
    )
    payments = []
    for entry in order.payment_history:
        key = (entry.payment_method_id, entry.amount)
        if entry.transaction_type == "payment" and refunded[key] == 0:
            payments.append(entry)
        elif entry.transaction_type == "payment":
            refunded[key] -= 1
    return payments
