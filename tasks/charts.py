"""Line and scatter charts as inline SVG whose colours come from the page, so that they follow light and dark."""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from markupsafe import Markup, escape

WIDTH, HEIGHT = 640, 260
LEFT, RIGHT, TOP, BOTTOM = 64, 14, 14, 52
# More points than the chart has pixels only make the file larger.
MOST_POINTS = 600
# Ticks closer together than this could not be told apart by their labels.
SMALLEST_SPAN = 1e-8


class Line(NamedTuple):
    """A named series of (x, y); `style` is a class of the page: `a` or `b`."""

    label: str
    points: Sequence[tuple[float, float]]
    style: str


def line_chart(title: str, lines: Sequence[Line], *, x_label: str) -> Markup:
    """Return a chart of the lines that hold points, or an empty text where none does; `title` tells it in words."""
    shown = [Line(line.label, _thinned(line.points), line.style) for line in lines if line.points]
    if not shown:
        return Markup("")
    xs = [x for line in shown for x, _ in line.points]
    ys = [y for line in shown for _, y in line.points]
    x_ticks, y_ticks = _ticks(min(xs), max(xs)), _ticks(min(ys), max(ys))
    frame = _Frame(min(x_ticks[0], min(xs)), max(x_ticks[-1], max(xs)), y_ticks[0], y_ticks[-1])
    return _chart(title, frame, (x_ticks, y_ticks), x_label, (_polyline(frame, line) for line in shown))


class Dot(NamedTuple):
    """A named point of a scatter chart; `style` is a class of the page: `a` or `b`."""

    label: str
    x: float
    y: float
    style: str


def scatter_chart(title: str, dots: Sequence[Dot], *, x_label: str) -> Markup:
    """Return a chart of points from 0 on, or an empty text without one; `title` tells it in words."""
    if not dots:
        return Markup("")
    x_ticks, y_ticks = _ticks(0, max(dot.x for dot in dots)), _ticks(0, max(dot.y for dot in dots))
    frame = _Frame(0, x_ticks[-1], 0, y_ticks[-1])
    return _chart(title, frame, (x_ticks, y_ticks), x_label, (_dot(frame, dot) for dot in dots))


def _dot(frame: "_Frame", dot: Dot) -> str:
    x, y = frame.x(dot.x), frame.y(dot.y)
    anchor, at = ("end", x - 9) if x > WIDTH / 2 else ("start", x + 9)
    return (
        f'<g class="dots {dot.style}"><circle cx="{x}" cy="{y}" r="5"/></g>'
        f'<text class="axis" x="{at}" y="{y + 4}" text-anchor="{anchor}">{escape(dot.label)}</text>'
    )


def _chart(
    title: str, frame: "_Frame", ticks: tuple[list[float], list[float]], x_label: str, marks: Iterable[str]
) -> Markup:
    x_ticks, y_ticks = ticks
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">',
        *(_y_tick(frame, tick) for tick in y_ticks),
        *(_x_tick(frame, tick) for tick in x_ticks),
        f'<text class="axis" x="{WIDTH / 2}" y="{HEIGHT - 6}" text-anchor="middle">{escape(x_label)}</text>',
        *marks,
        "</svg>",
    ]
    return Markup("".join(parts))


class _Frame(NamedTuple):
    x_low: float
    x_high: float
    y_low: float
    y_high: float

    def x(self, value: float) -> float:
        return round(LEFT + (value - self.x_low) / (self.x_high - self.x_low or 1) * (WIDTH - LEFT - RIGHT), 1)

    def y(self, value: float) -> float:
        return round(
            HEIGHT - BOTTOM - (value - self.y_low) / (self.y_high - self.y_low or 1) * (HEIGHT - TOP - BOTTOM), 1
        )


def _thinned(points: Sequence[tuple[float, float]]) -> Sequence[tuple[float, float]]:
    stride = max(1, math.ceil(len(points) / MOST_POINTS))
    return [*points[:-1:stride], points[-1]]


def _ticks(low: float, high: float) -> list[float]:
    """Return about five round numbers that enclose a range."""
    span = max((high - low) or abs(high) or 1.0, SMALLEST_SPAN)
    step = 10 ** math.floor(math.log10(span / 4))
    step *= next(factor for factor in (1, 2, 5, 10) if span / (step * factor) <= 5)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(index * step, 10) for index in range(first, last + 1)]


def _y_tick(frame: _Frame, value: float) -> str:
    y = frame.y(value)
    return (
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>'
        f'<text class="axis" x="{LEFT - 6}" y="{y + 4}" text-anchor="end">{value:g}</text>'
    )


def _x_tick(frame: _Frame, value: float) -> str:
    return f'<text class="axis" x="{frame.x(value)}" y="{HEIGHT - BOTTOM + 22}" text-anchor="middle">{value:g}</text>'


def _polyline(frame: _Frame, line: Line) -> str:
    points = " ".join(f"{frame.x(x)},{frame.y(y)}" for x, y in line.points)
    dots = "".join(f'<circle cx="{frame.x(x)}" cy="{frame.y(y)}" r="3"/>' for x, y in line.points)
    marks = f'<g class="dots {line.style}">{dots}</g>' if len(line.points) <= 40 else ""
    return f'<polyline class="line {line.style}" points="{points}"/>{marks}'
