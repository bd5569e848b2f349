"""Datasets and reports in the artifact store: what one machine made, others fetch."""

import re
from pathlib import Path

from pydantic import ValidationError

from tasks import card, measure, recipe
from tasks.artifacts import Dataset, read_dataset, workspace, write_dataset
from tasks.core.config import Profile
from tasks.core.errors import ConfigError, StorageError
from tasks.core.storage import SHA256, Manifest
from tasks.manifests import fetch_bytes, fetch_file, manifest_address, pointed_at, publish, read_manifest
from tasks.progress import stage
from tasks.store import Store, open_store

RECORD = "dataset.json"
REPORT = ("report.html", "report.md", "summary.json")


def dataset_of(profile: Profile) -> Dataset:
    """Return the dataset of a profile: fetched where another machine published it, else made, and published.

    Raises:
        StorageError: The store refuses, or holds something else than it should.
        ServiceError: The store does not answer.
        DataError: Too few conversations pass, the splits leak, or a file is unusable.
        SynthesisError: No scenario could be drawn, or the expert could not play one, or the budget is spent.
        ProviderError: A model of the teacher is refused, or does not answer.
    """
    held = fetched_dataset(profile)
    return held or published_dataset(profile, measure.dataset(profile, measure.conversations(profile)))


def fetched_dataset(profile: Profile) -> Dataset | None:
    """Return the dataset that another machine published; None where there is none, or it is made here already.

    Raises:
        StorageError: The store refuses, or holds something else than it should.
        ServiceError: The store does not answer.
    """
    store = open_store(profile.storage)
    if store is None or recipe.is_played(profile):
        return None
    wanted = recipe.recipe_of(profile)
    folder = workspace(profile).fetched_folder(wanted)
    with stage("store") as progress:
        held = read_dataset(folder)
        digest = pointed_at(store, f"recipes/{wanted}") if held is None else None
        if digest is not None:
            held = _fetched(store, digest, folder)
        note = f"dataset of {held.address}" if held else f"{store.url} has no such dataset yet"
        progress.result(note, reused=held is not None and digest is None)
    return held


def published_dataset(profile: Profile, dataset: Dataset) -> Dataset:
    """Publish a dataset, and return it with its address.

    The first one of a recipe is the one that others fetch; a teacher's may differ, and then keeps its own address.

    Raises:
        StorageError: The store refuses.
        ServiceError: The store does not answer.
    """
    store = open_store(profile.storage)
    if store is None:
        return dataset
    wanted = recipe.recipe_of(profile)
    with stage("store") as progress:
        manifest = publish(store, Manifest(kind="dataset", of=wanted, files=()), _dataset_files(dataset))
        address = manifest_address(store, manifest.digest())
        store.put(f"recipes/{wanted}", manifest.digest().encode())
        # Read it again in any case: not every S3 holds writers at the same moment apart.
        if other := _another(store, f"recipes/{wanted}", manifest):
            progress.warn(f"another machine published another dataset of this recipe first, {other}")
        progress.result(f"dataset at {address}")
    return dataset.model_copy(update={"address": address})


def publish_report(profile: Profile, run_id: str) -> None:
    """Publish the report of a run as it is now; without a store, do nothing.

    Raises:
        StorageError: The store refuses.
        ServiceError: The store does not answer.
    """
    store = open_store(profile.storage)
    if store is None:
        return
    folder = workspace(profile).run_folder(run_id)
    with stage("store") as progress:
        files = {name: folder / name for name in REPORT}
        manifest = publish(store, Manifest(kind="report", of=run_id, files=()), files)
        store.put(f"runs/{run_id}", manifest.digest().encode(), replace=True)
        progress.result(f"report at {report_address(profile, run_id)}")


def report_address(profile: Profile, run_id: str) -> str:
    """Return where the store keeps the report of a run; nothing without a store."""
    return f"{profile.storage.url}/runs/{run_id}" if profile.storage.url else ""


def fetch(profile: Profile, name: str, folder: Path) -> Manifest:
    """Fetch what the store keeps under an address, a digest or the id of an MLflow run into a folder.

    Raises:
        ConfigError: The profile has no store.
        StorageError: There is no such thing, or it is not what its name says.
        ServiceError: The store does not answer.
    """
    store = open_store(profile.storage)
    if store is None:
        raise ConfigError(f"Profile {profile.name!r} has no store; say storage.url.")
    key = name.removeprefix(f"{store.url}/").removeprefix("manifests/").removeprefix("runs/").removesuffix(".json")
    digest = key if re.fullmatch(SHA256, key) else pointed_at(store, f"runs/{key}")
    if digest is None:
        raise StorageError(f"{store.url} keeps nothing under {name!r}: give an address, a digest or a run's id.")
    manifest = read_manifest(store, digest)
    for entry in manifest.files:
        fetch_file(store, entry, folder)
    return manifest


def _fetched(store: Store, digest: str, folder: Path) -> Dataset:
    """Fetch the files of a dataset, its record last."""
    manifest, address = read_manifest(store, digest), manifest_address(store, digest)
    record = manifest.file(RECORD)
    if record is None:
        raise StorageError(f"{address} is the manifest of no dataset.")
    try:
        dataset = Dataset.model_validate_json(fetch_bytes(store, record))
    except ValidationError as error:
        raise StorageError(f"{address} is of a dataset that this version does not read.") from error
    for entry in manifest.files:
        if entry is not record:
            fetch_file(store, entry, folder)
    here = dataset.moved_to(folder).model_copy(update={"address": address})
    write_dataset(folder, here)
    return here


def _dataset_files(dataset: Dataset) -> dict[str, Path | bytes]:
    """Return the files of a dataset, its record last and without the folders of this machine."""
    paths = [Path(path) for file in dataset.files for path in (file.path, file.meta_path)]
    paths += card.card_in(paths[0].parent).files
    files: dict[str, Path | bytes] = {path.name: path for path in paths}
    return files | {RECORD: dataset.moved_to(Path()).model_dump_json(indent=2).encode()}


def _another(store: Store, key: str, own: Manifest) -> str:
    """Return the address of the dataset that a key names, where its content is not that of our own; else nothing."""
    digest = pointed_at(store, key)
    if digest is None or digest == own.digest():
        return ""
    same = read_manifest(store, digest).file(RECORD) == own.file(RECORD)
    return "" if same else manifest_address(store, digest)
