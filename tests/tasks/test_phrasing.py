"""The held-out errands in the words of training: how they are made, kept apart, asked, compared and shown."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks import measure, measure_phrasing, phrasing
from tasks.artifacts import Dataset, read_dataset, write_dataset
from tasks.core.config import Profile, load_profile
from tasks.core.conversation import Conversation
from tasks.core.dataset import DatasetFile, RowMeta
from tasks.core.errors import DataError, EvaluationError
from tasks.core.evaluation import DecisionSet
from tasks.core.phrases import is_held_out
from tasks.evaluate import compare_reports, read_decisions
from tasks.prepare import prepare_dataset, read_rows
from tasks.report import write_report
from tasks.simulate import read_conversations
from tasks.world import open_world
from tests import runs
from tests.fake_finetuning import FakeFinetuning, Json
from tests.pages import Page
from tests.shell import settings, small, zava

SAY = {"role": "assistant", "content": "One moment, please."}


def a_profile(folder: Path, *more: str) -> Profile:
    counts = [f"synthesis.{split}_conversations=6" for split in ("train", "valid", "heldout")]
    return load_profile("local", (f"workspace={folder}", "evaluation.bootstrap_samples=100", *counts, *more))


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    return a_profile(tmp_path_factory.mktemp("phrasing"))


@pytest.fixture(scope="module")
def shards(profile: Profile) -> list[Path]:
    return measure.conversations(profile)


@pytest.fixture(scope="module")
def dataset(profile: Profile, shards: list[Path]) -> Dataset:
    return measure.dataset(profile, shards)


@pytest.fixture(scope="module")
def seen_file(dataset: Dataset) -> DatasetFile:
    assert dataset.split.seen_phrasing is not None
    return dataset.split.seen_phrasing


@pytest.fixture(scope="module")
def seen_set(dataset: Dataset) -> DecisionSet:
    assert dataset.seen_decisions is not None
    return dataset.seen_decisions


def metas(file: DatasetFile) -> list[RowMeta]:
    return [meta for _, meta in read_rows(file)]


def golds(*sets: DecisionSet) -> dict[str, Json]:
    return {
        json.dumps(decision.item.item["messages"]): decision.item.item["expected_output"]
        for one in sets
        for decision in read_decisions(one)
    }


def knowing(*sets: DecisionSet) -> Callable[[Json], Json]:
    """Return a model that is right on these sets, and on all others only talks."""
    gold = golds(*sets)
    return lambda request: dict(gold.get(json.dumps(request["messages"]), SAY))


def test_the_same_errands_are_told_in_the_words_of_training_alone(dataset: Dataset, seen_file: DatasetFile) -> None:
    own, seen = metas(dataset.split.heldout), metas(seen_file)
    errands = [[(m.scenario_id, m.customer_id, m.intents, m.split) for m in rows] for rows in (own, seen)]
    assert errands[0] == errands[1]
    assert not {m.conversation_id for m in own} & {m.conversation_id for m in seen}
    assert all(map(is_held_out, (template for m in own for template in m.template_ids)))
    assert not any(map(is_held_out, (template for m in seen for template in m.template_ids)))
    assert not {m.customer_id for m in seen} & {
        m.customer_id for file in (dataset.split.train, dataset.split.valid) for m in metas(file)
    }


def test_the_funnel_and_the_other_files_are_as_they_are_without_it(
    dataset: Dataset, profile: Profile, shards: list[Path], tmp_path: Path
) -> None:
    before = [path for path in shards if "seen-phrasing" not in path.name]
    assert len(before) == len(shards) - 1
    without = prepare_dataset(before, open_world(profile.world), profile.validation, tmp_path)
    assert without.seen_phrasing is None
    assert not list(tmp_path.glob("seen*"))
    made = dataset.split
    assert (without.funnel, without.overlap, without.coverage) == (made.funnel, made.overlap, made.coverage)
    for name in ("train", "valid", "heldout"):
        for ending in ("jsonl", "meta.jsonl"):
            own = (tmp_path / f"{name}.{ending}").read_bytes()
            assert own == (Path(made.train.path).parent / f"{name}.{ending}").read_bytes()
            assert b"phrasing" not in own


def test_it_is_the_same_bytes_when_it_is_made_again(
    dataset: Dataset, seen_set: DecisionSet, seen_file: DatasetFile, tmp_path: Path
) -> None:
    other = a_profile(tmp_path)
    again = measure.dataset(other, measure.conversations(other))
    assert again.split.seen_phrasing is not None
    assert again.split.seen_phrasing.sha256 == seen_file.sha256
    assert again.seen_decisions is not None
    assert again.seen_decisions.sha256 == seen_set.sha256 != dataset.decisions.sha256
    moved = again.moved_to(tmp_path / "elsewhere")
    assert all(Path(file.path).parent == tmp_path / "elsewhere" for file in moved.files)
    assert len(moved.files) == 6


def test_the_usual_phrasing_is_left_out_of_all_json(shards: list[Path], dataset: Dataset) -> None:
    played = list(read_conversations(shards))
    for record in (played[0], metas(dataset.split.heldout)[0]):
        assert "phrasing" not in record.model_dump(mode="json")
        assert type(record).model_validate_json(record.model_dump_json()) == record
    assert json.loads(played[-1].model_dump_json())["phrasing"] == "seen"


def changed(shards: list[Path], folder: Path, **update: Any) -> list[Path]:
    """Return a shard of all conversations, the last of them, in seen phrasing, changed."""
    played = list(read_conversations(shards))
    assert played[-1].phrasing == "seen"
    played[-1] = played[-1].model_copy(update=update)
    path = folder / "changed.jsonl"
    path.write_text("".join(f"{one.model_dump_json()}\n" for one in played))
    return [path]


def first_of(shards: list[Path], split: str) -> Conversation:
    return next(one for one in read_conversations(shards) if one.split == split)


def test_leaks_are_judged_by_row(shards: list[Path], profile: Profile, tmp_path: Path) -> None:
    def refused(reason: str, **update: Any) -> None:
        alone = profile.validation.model_copy(update={"gates": ("format",)})
        with pytest.raises(DataError, match=f"The splits leak: {reason}"):
            prepare_dataset(changed(shards, tmp_path, **update), open_world(profile.world), alone, tmp_path / "out")
        assert not list((tmp_path / "out").iterdir())

    train, heldout = first_of(shards, "train"), first_of(shards, "heldout")
    refused("customer '.*' is in train and in heldout", customer_id=train.customer_id)
    refused("(email|user_id|order_id) '.*' is in train and in heldout", messages=train.messages)
    refused("conversation '.*-seen' of heldout, in the words of training,", template_ids=heldout.template_ids)
    refused("conversation '.*' of heldout speaks template", phrasing="own")


def measured(profile: Profile, dataset: Dataset, chat: Callable[[Json], Json]) -> Any:
    with FakeFinetuning(models={"m"}, chat=chat) as provider:
        where = profile.provider.model_copy(update={"base_url": provider.base_url})
        asked = profile.model_copy(update={"provider": where})
        return measure_phrasing.seen_phrasing(asked, "m", dataset)


@pytest.fixture
def clean(dataset: Dataset, profile: Profile) -> Iterator[Profile]:
    """Return the profile without answers of an earlier model of this name."""
    yield profile
    for path in sorted((profile.workspace / "evaluations").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()


def test_a_model_that_knows_only_the_words_of_training_loses_all_of_it_to_the_words(
    clean: Profile, dataset: Dataset, seen_set: DecisionSet
) -> None:
    found = measured(clean, dataset, knowing(seen_set))
    change = found.headline
    assert (change.first, change.second, change.difference) == (0.0, 1.0, 1.0)
    assert (change.low, change.high, change.n) == (1.0, 1.0, seen_set.call_items)
    assert found.errands == 6
    assert found.unseen.decision_set_sha256 == dataset.decisions.sha256
    assert found.seen.decision_set_sha256 == seen_set.sha256
    assert found.sentence.endswith("over 6 errands told both ways; unseen words cost it something.")
    assert phrasing.kept(found.unseen) == found
    assert phrasing.kept(found.unseen.model_copy(update={"decision_set_sha256": "0" * 64})) is None


def test_a_model_that_does_not_mind_the_words_loses_nothing_to_them(
    clean: Profile, dataset: Dataset, seen_set: DecisionSet
) -> None:
    found = measured(clean, dataset, knowing(seen_set, dataset.decisions))
    assert (found.headline.difference, found.headline.low, found.headline.high) == (0.0, 0.0, 0.0)
    assert "no clear difference" in found.sentence


def test_the_two_sets_are_still_refused_where_models_are_compared(
    clean: Profile, dataset: Dataset, seen_set: DecisionSet
) -> None:
    found = measured(clean, dataset, knowing(seen_set))
    with pytest.raises(EvaluationError, match="Evaluate it on the same set"):
        compare_reports(found.unseen, found.seen, dataset.decisions, clean.evaluation)
    with pytest.raises(EvaluationError, match="Evaluate it on the same set"):
        phrasing.compare(found.seen, found.unseen, dataset.decisions, seen_set, clean.evaluation)


def test_a_dataset_of_before_is_read_and_asked_and_says_how_to_get_the_other_set(
    clean: Profile, dataset: Dataset, tmp_path: Path
) -> None:
    fields = {"split": {"seen_phrasing"}, "seen_decisions": True}
    content = dataset.model_dump_json(exclude=fields)
    (tmp_path / "dataset.json").write_text(content)
    old = read_dataset(tmp_path)
    assert old is not None
    assert len(old.files) == 4
    write_dataset(tmp_path, old)
    assert read_dataset(tmp_path) == old
    with FakeFinetuning(models={"m"}) as provider:
        where = clean.provider.model_copy(update={"base_url": provider.base_url})
        asked = clean.model_copy(update={"provider": where})
        assert measure.report(asked, "model", "m", old.decisions).errored == 0
        with pytest.raises(DataError, match=r"was made before .* Remove the folder and run `zava synthesize`"):
            measure_phrasing.seen_phrasing(asked, "m", old)


def test_a_teachers_dataset_has_no_templates_and_says_so(profile: Profile, dataset: Dataset) -> None:
    endpoint = {"model": "t", "provider": {"kind": "openai"}}
    taught = Profile.model_validate(profile.model_dump() | {"teacher": {"agent": endpoint}})
    with pytest.raises(DataError, match="models spoke for its customers"):
        measure_phrasing.seen_phrasing(taught, "m", dataset.model_copy(update={"seen_decisions": None}))


def test_the_report_shows_the_slice_only_where_it_was_measured(
    clean: Profile, dataset: Dataset, seen_set: DecisionSet, tmp_path: Path
) -> None:
    found = measured(clean, dataset, knowing(seen_set))
    summary = runs.a_summary(tmp_path)

    def page() -> Page:
        tuned = summary.comparison.tuned.model_copy(
            update={
                "model_id": "m",
                "scores_path": found.unseen.scores_path,
                "decision_set_sha256": dataset.decisions.sha256,
            }
        )
        compared = summary.comparison.model_copy(update={"tuned": tuned})
        return Page(write_report(summary.model_copy(update={"comparison": compared}), tmp_path).html.read_text())

    shown = page()
    assert shown.row(f"as in training n = {seen_set.call_items}")[2].startswith("100.0")
    assert shown.row(f"unseen n = {dataset.decisions.call_items}")[2].startswith("0.0")
    assert f"tuned: {found.sentence}" in shown.text
    assert f"- Phrasing, tuned: {found.sentence}" in (tmp_path / "report.md").read_text()
    (Path(found.unseen.scores_path).with_name(phrasing.KEPT)).write_text("{}")
    with pytest.raises(DataError, match=r"phrasing\.json is not of this version; delete it"):
        page()
    (Path(found.unseen.scores_path).with_name(phrasing.KEPT)).unlink()
    assert "as in training" not in page().text


def test_the_command_shows_both_sides_and_their_difference(tmp_path: Path) -> None:
    with FakeFinetuning(models={"m"}) as provider:
        where = settings(tmp_path, provider__base_url=provider.base_url, evaluation__bootstrap_samples=50, **small(3))
        code, out, _ = zava("evaluate", "--model", "m", "--seen-phrasing", *where)
        asked = provider.count("POST /chat/completions")
        again, told, _ = zava("evaluate", "--model", "m", "--seen-phrasing", "--json", *where)
        assert provider.count("POST /chat/completions") == asked
    assert (code, again) == (0, 0)
    assert out.split("\n")[0].split("  ")[0] == "in %"
    assert "over 3 errands told both ways; no clear difference." in out
    made = json.loads(told)
    assert {made["unseen"]["arm"], made["seen"]["arm"]} == {"model", "seen-phrasing"}
    assert made["unseen"]["decision_set_sha256"] != made["seen"]["decision_set_sha256"]
    assert made["differences"][0]["metric"] == "next_tool_call_accuracy"


def test_the_option_goes_with_no_other_way_of_asking(tmp_path: Path) -> None:
    code, _, err = zava("evaluate", "--seen-phrasing", "--episodes", "heldout", *settings(tmp_path))
    assert code == 2
    assert "--seen-phrasing goes with none of" in err
