"""A base model that dies is told of in time, by the data file or the provider, and refused if the profile says so."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from tasks import reconcile, sunset
from tasks.core.config import Profile, load_profile
from tasks.core.errors import ConfigError
from tasks.core.sunset import Sunset, sunsets_within
from tests.fake_finetuning import FakeFinetuning

TODAY = date(2026, 11, 25)
ENDS = Sunset(provider="openai", model="gpt-4.1-*", what="answers", date=date(2027, 1, 14), source="a notice")


@pytest.fixture
def provider() -> Iterator[FakeFinetuning]:
    with FakeFinetuning(models={"base"}) as provider:
        yield provider


def a_profile(folder: Path, *overrides: str) -> Profile:
    return load_profile("local", (f"workspace={folder}", "training.base_model=base", *overrides))


@pytest.mark.parametrize(
    ("kind", "model", "days", "found"),
    [
        ("openai", "gpt-4.1-mini", 50, True),
        ("openai", "gpt-4.1-mini", 49, False),
        ("openai", "gpt-5-mini", 50, False),
        ("azure", "gpt-4.1-mini", 50, False),
    ],
)
def test_a_date_counts_within_so_many_days_for_its_models(kind: str, model: str, days: int, found: bool) -> None:
    assert bool(sunsets_within([ENDS], kind, model, TODAY, days)) == found  # type: ignore[arg-type]


def test_a_date_that_has_passed_counts_and_the_earliest_comes_first() -> None:
    passed = ENDS.model_copy(update={"date": date(2026, 1, 1), "what": "training"})
    assert sunsets_within([ENDS, passed], "openai", "gpt-4.1-mini", TODAY, 60) == [passed, ENDS]


def test_the_dates_that_are_shipped_can_be_read_and_have_sources() -> None:
    known = sunset.known_sunsets()
    assert {entry.provider for entry in known} == {"openai", "azure"}
    assert all(entry.source for entry in known)
    assert sunsets_within(known, "azure", "gpt-4.1-mini-2025-04-14", date(2027, 4, 1), 30) != []


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "sunset.yaml").write_text("- {provider: openai}")
    with pytest.raises(ConfigError, match=r"sunset\.yaml"):
        sunset.known_sunsets(tmp_path / "sunset.yaml")


def test_what_the_provider_tells_of_a_model_counts_too(provider: FakeFinetuning, tmp_path: Path) -> None:
    ends = int(datetime(2026, 12, 1, tzinfo=UTC).timestamp())
    provider.told_of_models = {"base": {"deprecation": {"fine_tune": ends, "inference": None}}}
    (sentence,) = sunset.check(a_profile(tmp_path), provider.client(), TODAY)
    assert sentence == "'base' is no longer trained from 2026-12-01 on (the provider's model list)"
    with pytest.raises(ConfigError, match=r"Choose another training\.base_model"):
        sunset.check(a_profile(tmp_path, "sunset.action=refuse"), provider.client(), TODAY)
    assert sunset.check(a_profile(tmp_path, "sunset.action=refuse", "sunset.days=3"), provider.client(), TODAY) == []


def test_a_dying_base_is_found_and_its_successor_is_due(provider: FakeFinetuning, tmp_path: Path) -> None:
    provider.told_of_models = {"base": {"deprecation": {"inference": 1_796_000_000}}}
    profile = a_profile(tmp_path)
    (found,) = reconcile.retiring_bases(profile, provider.client(), TODAY)
    assert (found.kind, found.id, found.outcome) == ("base", "base", "reported")
    assert reconcile.training_due(profile, [found]) is None
    due = reconcile.training_due(a_profile(tmp_path, "sunset.successor=next"), [found])
    assert due is not None
    assert due.training.base_model == "next"
    assert reconcile.training_due(a_profile(tmp_path, "sunset.successor=next"), []) is None
