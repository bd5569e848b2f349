"""The card of a real dataset: the expert's conversations through all gates, and its files on disk."""

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tasks import measure
from tasks import simulate as simulation
from tasks.artifacts import Dataset
from tasks.card import Card, card_in
from tasks.core.config import Profile
from tasks.simulate import simulate
from tests.worlds import ROOT, a_profile, small_shop

TARGET = "cancel_pending_order refused foreign_order"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Profile, Dataset]:
    folder = tmp_path_factory.mktemp("card")
    counts = {"train_conversations": 12, "valid_conversations": 3, "heldout_conversations": 4}
    profile = a_profile(**counts, coverage={TARGET: 4}).model_copy(update={"workspace": folder})
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        patch.setattr(simulation, "open_shop", lambda _world: small_shop())
        patch.setattr(measure, "open_shop", lambda _world: small_shop())
        return profile, measure.dataset(profile, measure.conversations(profile))


def card(made: tuple[Profile, Dataset]) -> Card:
    return card_in(Path(made[1].split.train.path).parent)


def test_targets_of_the_profile_are_met_by_a_batch_on_top(made: tuple[Profile, Dataset]) -> None:
    profile, dataset = made
    assert dataset.split.coverage[TARGET] >= 4
    assert dataset.split.train.rows > profile.synthesis.train_conversations


def test_the_batch_on_top_is_found_again(made: tuple[Profile, Dataset], monkeypatch: pytest.MonkeyPatch) -> None:
    profile, _ = made
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(simulation, "open_shop", lambda _world: small_shop())
    folder = profile.workspace / "conversations"
    before = {path: path.read_bytes() for path in folder.glob("*.jsonl")}
    assert set(simulate(profile, folder)) == set(before)
    assert {path: path.read_bytes() for path in folder.glob("*.jsonl")} == before


def test_every_figure_of_the_dataset_is_on_both_cards(made: tuple[Profile, Dataset]) -> None:
    split, files = made[1].split, card(made)
    for path in (files.html, files.markdown):
        text = path.read_text(encoding="utf-8")
        for file in (split.train, split.valid, split.heldout, made[1].decisions):
            assert file.sha256 in text
        for gate in split.funnel.stopped:
            assert gate in text
        for tool in {key.split(" ")[0] for key in split.coverage}:
            assert tool in text
        assert f"{split.funnel.kept} conversations of {split.funnel.played} played" in text
        assert "zava synthesize --profile test" in text
        assert "MIT" in text


def test_the_pictures_are_whole_svg_files_that_the_card_shows(made: tuple[Profile, Dataset]) -> None:
    files = card(made)
    html, markdown = (path.read_text(encoding="utf-8") for path in (files.html, files.markdown))
    assert len(files.pictures) == 5
    for path in files.pictures:
        picture = ET.fromstring(path.read_text(encoding="utf-8"))
        assert picture.tag.endswith("svg")
        assert f"]({path.name})" in markdown
        assert str(picture.get("aria-label")) in html
    bars = ET.fromstring(files.pictures[2].read_text(encoding="utf-8"))
    labels = [element.text for element in bars.iter() if element.tag.endswith("text")]
    assert "get_user_details" in labels
    assert f"{made[1].split.train.rows}" in labels  # each conversation reads the profile once


def test_what_customers_say_is_escaped_in_html(made: tuple[Profile, Dataset]) -> None:
    assert "&#34;" in card(made).html.read_text(encoding="utf-8") or "&quot;" in card(made).html.read_text("utf-8")
