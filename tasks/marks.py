"""Marks for the cells of a table, as inline SVG without text: the numbers beside them say the same."""

from markupsafe import Markup

from tasks.core.evaluation import Metric


def bar(start: float, end: float, style: str) -> Markup:
    """Return a bar between two shares of the cell's width; `style` is a class of the page."""
    low, high = sorted((_inside(start), _inside(end)))
    # A bar of nothing is still a place.
    width = max(high - low, 0.3)
    return _mark(12, f'<rect class="{style}" x="{low:g}" y="1" width="{width:g}" height="10"/>')


def intervals(base: Metric | None, tuned: Metric | None) -> Markup:
    """Return the intervals of two shares, base above tuned, on a scale from 0 to 1."""
    parts = [_interval(metric, y, style) for metric, y, style in ((base, 3, "base"), (tuned, 11, "tuned")) if metric]
    return _mark(16, '<rect class="rail" x="0" y="7.5" width="100" height="1"/>' + "".join(parts))


def _interval(metric: Metric, y: int, style: str) -> str:
    low, value, high = _inside(metric.low), _inside(metric.value), _inside(metric.high)
    return (
        f'<rect class="{style} range" x="{low:g}" y="{y - 1.5:g}" width="{max(high - low, 0.3):g}" height="4"/>'
        f'<rect class="{style}" x="{max(0.0, value - 0.5):g}" y="{y - 3:g}" width="1" height="7"/>'
    )


def _inside(share: float) -> float:
    return round(100 * min(1.0, max(0.0, share)), 2)


def _mark(height: int, content: str) -> Markup:
    return Markup(
        f'<svg class="mark" viewBox="0 0 100 {height}" preserveAspectRatio="none" aria-hidden="true" '
        f'focusable="false">{content}</svg>'
    )
