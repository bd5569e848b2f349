"""The templates of this project: how numbers become text, and the style sheet that an HTML page may use alone."""

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from tasks.core.promotion import figure_text
from tasks.core.run import interval, percent, points

TEMPLATES = Path(__file__).parent / "templates"


def template_environment(*, html: bool) -> Environment:
    """Return the templates with the filters that they use."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=html,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(interval=interval, percent=percent, points=points, count="{:,}".format, cell=_cell)
    environment.filters.update(figure=figure_text, tenths=_tenths, heat=_heat, sentence=_sentence)
    environment.filters.update(signed="{:+.1f}".format, tenth="{:.1f}".format, minutes="{:.1f} minutes".format)
    environment.tests["named_in"] = _is_named_in
    return environment


def style_facts() -> dict[str, Any]:
    """Return the style sheet and the hash by which a page's Content-Security-Policy allows it, and nothing else."""
    style = (TEMPLATES / "report" / "style.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return {"style": Markup(style), "style_hash": f"sha256-{digest}"}


def _cell(text: str) -> str:
    """Return a text that fits into one cell of a Markdown table."""
    return " ".join(text.split()).replace("|", "\\|")


def _tenths(share: float) -> str:
    """Return a share in per cent."""
    return f"{100 * share:.1f}"


def _heat(share: float) -> int:
    """Return the step of the heat scale, 0 to 9, that a share belongs to."""
    return min(9, max(0, int(10 * share)))


def _sentence(text: str) -> str:
    """Return a text that begins with a capital and ends with a full stop."""
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def _is_named_in(name: str, table: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether a column is used in any row of a table."""
    return any(name in row for row in table.values())
