"""What one machine made, another one fetches: datasets by what they are made from, reports by their run."""

from pathlib import Path

import pytest

from tasks import recipe, storing
from tasks.artifacts import Dataset, read_dataset, workspace
from tasks.core.config import Profile, load_profile
from tasks.core.errors import ConfigError, StorageError
from tasks.manifests import pointed_at
from tasks.prepare import read_rows
from tasks.progress import Event, listening
from tasks.store import open_store
from tests.shell import settings, small, zava


def a_machine(folder: Path, name: str, *more: str) -> Profile:
    """Return the profile of a machine with a workspace of its own, and the store that all share."""
    few = [f"synthesis.{split}_conversations=3" for split in ("train", "valid", "heldout")]
    return load_profile(
        "local", (f"workspace={folder / name}", f"storage.url=file://{folder}/store", *few, "seed=3", *more)
    )


def made(profile: Profile) -> tuple[Dataset, list[str], list[str]]:
    """Return a machine's dataset, the stages that it took, and the warnings."""
    events: list[Event] = []
    with listening(events.append):
        dataset = storing.dataset_of(profile)
    stages = [event.stage for event in events if event.kind == "end"]
    return dataset, stages, [event.note for event in events if event.kind == "warning"]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shared")


@pytest.fixture(scope="module")
def first(shared: Path) -> Dataset:
    dataset, stages, _ = made(a_machine(shared, "first"))
    assert stages == ["store", "synthesis", "validation", "store"]
    return dataset


def test_a_second_machine_fetches_what_the_first_one_made(shared: Path, first: Dataset) -> None:
    profile = a_machine(shared, "second")
    second, stages, _ = made(profile)
    assert stages == ["store"]
    assert not workspace(profile).conversations.exists()
    assert second.address == first.address
    assert second.split.train.sha256 == first.split.train.sha256
    assert second.decisions.sha256 == first.decisions.sha256
    assert Path(second.split.train.path).is_relative_to(profile.workspace)
    assert [meta.split for _, meta in read_rows(second.split.heldout)] == ["heldout"] * 3
    folder = Path(second.split.train.path).parent
    assert (folder / "card.html").read_bytes() == (Path(first.split.train.path).parent / "card.html").read_bytes()
    # From now on it is there, whoever is away.
    store = shared / "store"
    store.rename(shared / "away")
    assert made(profile)[0] == second
    (shared / "away").rename(store)


def test_who_made_it_publishes_it_again_where_it_was_lost_and_no_file_twice(shared: Path, first: Dataset) -> None:
    store = shared / "store"
    before = {path: path.stat().st_mtime_ns for path in store.rglob("*") if path.is_file()}
    lost = next(path for path in before if path.name == first.split.train.sha256)
    lost.unlink()
    again, stages, warnings = made(a_machine(shared, "first"))
    assert (again, stages, warnings) == (first, ["synthesis", "validation", "store"], [])
    after = {path: path.stat().st_mtime_ns for path in store.rglob("*") if path.is_file()}
    assert after.keys() == before.keys()
    assert {path for path in before if before[path] != after[path]} == {lost}


def test_a_fetch_that_was_killed_is_not_taken_for_a_dataset(shared: Path, first: Dataset) -> None:
    profile = a_machine(shared, "killed")
    folder = workspace(profile).fetched_folder(recipe.recipe_of(profile))
    blob = shared / "store" / "blobs" / first.decisions.sha256
    content = blob.read_bytes()
    blob.write_bytes(content[:-1] + b"?")
    with pytest.raises(StorageError, match=f"{blob.name} is not what its name says"):
        made(profile)
    assert (folder / "train.jsonl").is_file()
    assert read_dataset(folder) is None
    blob.write_bytes(content)
    assert made(profile)[0].decisions.sha256 == first.decisions.sha256


@pytest.mark.parametrize("change", ["seed=4", "synthesis.train_conversations=2", "validation.max_tokens=9000"])
def test_another_recipe_is_another_dataset(shared: Path, change: str) -> None:
    profile = a_machine(shared, "first")
    assert recipe.recipe_of(a_machine(shared, "first", change)) != recipe.recipe_of(profile)
    assert recipe.recipe_of(a_machine(shared, "other", "training.seed=9")) == recipe.recipe_of(profile)


def test_the_first_dataset_of_a_recipe_stays_and_the_second_one_is_told(shared: Path, first: Dataset) -> None:
    profile = a_machine(shared, "first")
    funnel = first.split.funnel.model_copy(update={"played": 99})
    other = first.model_copy(update={"split": first.split.model_copy(update={"funnel": funnel})})
    events: list[Event] = []
    with listening(events.append):
        published = storing.published_dataset(profile, other)
    assert published.address != first.address
    [warning] = [event.note for event in events if event.kind == "warning"]
    assert warning.endswith(first.address)
    store = open_store(profile.storage)
    assert store is not None
    digest = pointed_at(store, f"recipes/{recipe.recipe_of(profile)}")
    assert digest is not None
    assert digest in first.address


def test_a_report_is_fetched_by_the_id_of_its_run_and_the_last_one_counts(shared: Path, tmp_path: Path) -> None:
    profile = a_machine(shared, "first")
    folder = workspace(profile).run_folder("run1")
    folder.mkdir(parents=True)
    for text in ("refused", "promoted"):
        for name in storing.REPORT:
            (folder / name).write_text(f"{name} {text}")
        storing.publish_report(profile, "run1")
    address = storing.report_address(profile, "run1")
    for name in ("run1", address):
        status, out, _ = zava("fetch", name, "--to", str(tmp_path), "--set", f"storage.url={profile.storage.url}")
        assert status == 0
        assert [line.split()[-1] for line in out.splitlines()] == [str(tmp_path / file) for file in storing.REPORT]
    assert (tmp_path / "report.html").read_text() == "report.html promoted"


def test_the_command_line_names_the_address_and_fetches_by_it(tmp_path: Path) -> None:
    given = settings(tmp_path, storage__url=f"file://{tmp_path}/store", seed=3, **small(2))
    status, out, _ = zava("synthesize", *given)
    assert status == 0
    address = next(line.split()[-1] for line in out.splitlines() if line.startswith("published"))
    assert address.startswith(f"file://{tmp_path}/store/manifests/")
    status, _, _ = zava("fetch", address, "--to", str(tmp_path / "here"), *given)
    assert status == 0
    [train] = (tmp_path / "workspace").glob("datasets/*/train.jsonl")
    assert (tmp_path / "here" / "train.jsonl").read_bytes() == train.read_bytes()


def test_what_cannot_be_fetched_is_told(shared: Path, tmp_path: Path) -> None:
    profile = a_machine(shared, "first")
    with pytest.raises(StorageError, match="keeps nothing under 'nobody'"):
        storing.fetch(profile, "nobody", tmp_path)
    with pytest.raises(ConfigError, match=r"Profile 'local' has no store; say storage\.url"):
        storing.fetch(load_profile("local"), "run1", tmp_path)


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        (("storage.url=bucket/x",), "give s3://BUCKET/PREFIX or file:///FOLDER"),
        (("storage.url=file://host/x",), "give s3://BUCKET/PREFIX or file:///FOLDER"),
        (("storage.url=s3:///x",), "give s3://BUCKET/PREFIX or file:///FOLDER"),
        (("storage.url=s3://b", "storage.kms_key=k"), "kms_key is of encryption aws:kms"),
        (("storage.secret=k",), "unknown key 'storage.secret'"),
    ],
)
def test_a_store_that_cannot_be_is_refused_with_the_profile(overrides: tuple[str, ...], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        load_profile("local", overrides)
