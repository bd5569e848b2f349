"""Costs in words, for the terminal and the report."""

from tasks.core.cost import BreakEven
from tasks.core.plan import Price


def hours_or_money(amount: float | None, hours: float | None) -> str:
    """Return an amount in US dollars, or the machine-hours where no price is known; '-' where neither is."""
    if amount is not None:
        return f"{amount:,.2f}"
    return "-" if hours is None else f"{hours:.3g} h"


def break_even_text(one: BreakEven, conversations: int) -> str:
    """Return when an arm pays off against another, in a sentence."""
    start = f"{one.arm} against {one.against}:"
    if one.saving is None:
        return f"{start} {one.note}"
    parts = [_range(one)]
    if one.saving > 0:
        parts.append(f"at {conversations:,} it saves {one.saving:,.2f} USD a month")
    if one.months is not None:
        parts.append(f"which pays for its training after {_months(one.months)}")
    if one.note:
        parts.append(one.note)
    return f"{start} {', '.join(parts)}"


def price_text(price: Price) -> str:
    """Return a price in US dollars with its source and the day it was read."""
    rates = {
        "training": price.training,
        "read": price.input,
        "written": price.output,
        "read by a tuned model": price.tuned_input,
        "written by one": price.tuned_output,
    }
    said = [f"{rate:g} a million tokens {name}" for name, rate in rates.items() if rate is not None]
    if price.hosting is not None:
        said.append(f"{price.hosting:g} an hour that it stands ready")
    tier = f", {price.tier}" if price.tier else ""
    return f"{price.provider} {price.model}{tier}, in USD: {', '.join(said)}. {price.source}, read {price.read}"


def _range(one: BreakEven) -> str:
    if one.volume is None:
        return "never cheaper"
    if one.until is not None:
        return f"cheaper from {one.volume:,.0f} to {one.until:,.0f} conversations a month"
    return f"cheaper from {one.volume:,.0f} conversations a month" if one.volume else "cheaper at any volume"


def _months(months: float) -> str:
    return f"{months:.1f} months" if months >= 1 else f"{30 * months:.1f} days"
