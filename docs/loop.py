"""The picture of the loop in README and docs, drawn from names in the code: `python -m docs.loop` writes it anew."""

from pathlib import Path
from typing import NamedTuple

from markupsafe import Markup, escape

from tasks.core.conversation import Conversation
from tasks.core.dataset import DatasetFile, UploadedFile
from tasks.core.evaluation import EvalItem, Score
from tasks.core.promotion import Champion
from tasks.core.run import TrackedRun
from tasks.core.scenario import Scenario
from tasks.core.training import TrainingJob, finished_model_id

PICTURE = Path(__file__).parent / "pictures" / "loop.svg"
WIDTH, HEIGHT = 928, 280
BOX_WIDTH, BOX_HEIGHT, STEP = 152, 62, 186
LEFT, TOP, BOTTOM = 12, 40, 178
STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#1c2330;text-anchor:middle}.n{font-weight:600;font-size:14px}"
    ".v,.c{fill:#4a5362;font-size:11.5px}.c{font-family:ui-monospace,monospace}"
    "rect{fill:#eef3fd;stroke:#2457c5;rx:8}path{fill:none;stroke:#4a5362;stroke-width:1.5;marker-end:url(#h)}"
    "marker path{fill:#4a5362;stroke:none;marker-end:none}"
    "@media(prefers-color-scheme:dark){text{fill:#e6e9ee}.v,.c{fill:#b3bac6}rect{fill:#1d2740;stroke:#7ea6ff}"
    "path{stroke:#b3bac6}marker path{fill:#b3bac6}}"
)


class Step(NamedTuple):
    """A value on the path, its name in the code, and what makes the next one of it."""

    noun: str
    code: str
    verb: str


LOOP = (
    Step("scenario", Scenario.__name__, "played"),
    Step("conversation", Conversation.__name__, "gates"),
    Step("dataset row", DatasetFile.__name__, "upload"),
    Step("uploaded file", UploadedFile.__name__, "adopt or create"),
    Step("job", TrainingJob.__name__, "wait"),
    Step("model id", finished_model_id.__name__, "ask"),
    Step("decision", EvalItem.__name__, "grade"),
    Step("score", Score.__name__, "measure, compare"),
    Step("MLflow run", TrackedRun.__name__, "promotion gate"),
    Step("champion", Champion.__name__, "by the clock, by a message, by hand"),
)


def picture() -> Markup:
    """Return the picture as SVG: the values as boxes on two rows, there and back."""
    half = len(LOOP) // 2
    parts = []
    for place, step in enumerate(LOOP):
        is_above = place < half
        column = place if is_above else len(LOOP) - 1 - place
        x, y = LEFT + column * STEP, TOP if is_above else BOTTOM
        middle = x + BOX_WIDTH / 2
        parts.append(Markup('<rect x="{}" y="{}" width="{}" height="{}"/>').format(x, y, BOX_WIDTH, BOX_HEIGHT))
        parts.append(Markup('<text class="n" x="{}" y="{}">{}</text>').format(middle, y + 27, step.noun))
        parts.append(Markup('<text class="c" x="{}" y="{}">{}</text>').format(middle, y + 47, step.code))
        parts.append(_arrow(place, half, x, y, step.verb))
    head = '<marker id="h" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
    return Markup(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(", ".join(step.noun for step in LOOP))}"><style>{STYLE}</style>'
        f'<defs>{head}<path d="M0 0 8 4 0 8z"/></marker></defs>{"".join(parts)}</svg>\n'
    )


def _arrow(place: int, half: int, x: float, y: float, verb: str) -> Markup:
    """Return the arrow from a box to the next one, with its verb."""
    middle, height = x + BOX_WIDTH / 2, y + BOX_HEIGHT / 2
    arrow = Markup('<path d="M{} {} {} {}"/>')
    words = Markup('<text class="v" x="{}" y="{}">{}</text>')
    if place == half - 1:
        return arrow.format(middle, y + BOX_HEIGHT, middle, BOTTOM) + words.format(middle - 26, 144, verb)
    if place == len(LOOP) - 1:
        return arrow.format(middle, y, middle, TOP + BOX_HEIGHT) + words.format(middle + 112, 144, verb)
    ahead = 1 if place < half else -1
    start = x + BOX_WIDTH if ahead > 0 else x
    label = y - 10 if place < half else y + BOX_HEIGHT + 20
    gap = STEP - BOX_WIDTH
    return arrow.format(start, height, start + ahead * gap, height) + words.format(start + ahead * gap / 2, label, verb)


if __name__ == "__main__":
    PICTURE.write_text(picture(), encoding="utf-8")
