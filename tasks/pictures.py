"""Bar charts and heat maps as SVG files that stand alone and follow light and dark."""

from collections.abc import Mapping, Sequence

from markupsafe import Markup, escape

WIDTH = 640
_BAR, _GAP, _LABEL = 20, 6, 240
_CELL, _TURNED = 26, 190
_STYLE = (
    "<style>text{font:12px system-ui,sans-serif;fill:#5b6472}.b{fill:#2457c5}.c{stroke:#d9dee6}.t{fill:#1c2330;"
    "font-size:14px}@media(prefers-color-scheme:dark){text{fill:#a3abb8}.b{fill:#7ea6ff}.c{stroke:#343b46}"
    ".t{fill:#e6e9ee}}</style>"
)


def bar_chart(title: str, values: Mapping[str, int]) -> Markup:
    """Return horizontal bars, one for each name in the order given, each with its value."""
    most = max(values.values(), default=0) or 1
    room = WIDTH - _LABEL - 70
    parts = []
    for place, (name, value) in enumerate(values.items()):
        y = 34 + place * (_BAR + _GAP)
        length = round(room * value / most, 1)
        parts.append(
            f'<text x="{_LABEL - 8}" y="{y + 14}" text-anchor="end">{escape(name)}</text>'
            f'<rect class="b" x="{_LABEL}" y="{y}" width="{length}" height="{_BAR}"/>'
            f'<text x="{_LABEL + length + 6}" y="{y + 14}">{value:,}</text>'
        )
    return _picture(title, WIDTH, 40 + len(values) * (_BAR + _GAP), parts)


def heat_map(title: str, names: Sequence[str], counts: Mapping[tuple[str, str], int]) -> Markup:
    """Return a square of cells: how often the name of the row was followed by the name of the column."""
    most = max(counts.values(), default=0) or 1
    top = 40 + _TURNED
    parts = []
    for row, name in enumerate(names):
        y = top + row * _CELL
        parts.append(f'<text x="{_LABEL - 8}" y="{y + 17}" text-anchor="end">{escape(name)}</text>')
        x = _LABEL + row * _CELL + 17
        parts.append(f'<text transform="translate({x},{top - 6}) rotate(-90)">{escape(name)}</text>')
        for column, follower in enumerate(names):
            count = counts.get((name, follower), 0)
            shade = round((count / most) ** 0.5, 3)  # so that rare transitions are seen
            parts.append(
                f'<rect class="b c" x="{_LABEL + column * _CELL}" y="{y}" width="{_CELL}" height="{_CELL}" '
                f'fill-opacity="{shade}"><title>{escape(name)} → {escape(follower)}: {count:,}</title></rect>'
            )
    side = len(names) * _CELL
    return _picture(title, max(WIDTH, _LABEL + side + 10), top + side + 10, parts)


def _picture(title: str, width: int, height: int, parts: Sequence[str]) -> Markup:
    return Markup(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{escape(title)}">{_STYLE}<text class="t" x="4" y="18">{escape(title)}</text>'
        f"{''.join(parts)}</svg>"
    )
