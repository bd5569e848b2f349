"""When a provider stops training a model, or stops answering with it."""

from collections.abc import Iterable
from datetime import date
from fnmatch import fnmatchcase
from typing import Literal

from tasks.core.provider import ProviderKind
from tasks.core.record import Record

What = Literal["training", "answers"]


class Sunset(Record):
    """From a date on, models of a pattern are no longer trained, or no longer answer; `source` is who says so."""

    provider: ProviderKind
    model: str
    what: What
    date: date
    source: str

    def sentence(self, model: str) -> str:
        """Return it in words for one model."""
        verb = "trained" if self.what == "training" else "served"
        return f"{model!r} is no longer {verb} from {self.date} on ({self.source})"


def sunsets_within(known: Iterable[Sunset], provider: ProviderKind, model: str, today: date, days: int) -> list[Sunset]:
    """Return what ends for a model within so many days, or has ended, the earliest first."""
    concerned = (sunset for sunset in known if sunset.provider == provider and fnmatchcase(model, sunset.model))
    return sorted((s for s in concerned if (s.date - today).days <= days), key=lambda sunset: sunset.date)
