"""Where a workspace keeps what the stages make, by the digest of what it was made from."""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeVar

from pydantic import ValidationError

import tasks
from tasks.core.blueprint import TeacherReport
from tasks.core.config import Profile, load_profile
from tasks.core.dataset import SEEN_PHRASING, DatasetFile, DatasetSplit
from tasks.core.errors import DataError
from tasks.core.evaluation import DecisionSet
from tasks.core.record import Record, sha256_of
from tasks.core.run import RunSummary
from tasks.files import write_atomically
from tasks.ledger import Ledger
from tasks.webhook import Bells

# The code that decides what a dataset holds: another gate is another dataset.
PREPARING = (
    *("prepare.py", "gatekeeper.py", "execution.py", "core/gates.py", "core/policy.py", "core/provenance.py"),
    *(
        "duplicate_finder.py",
        "homes.py",
        "scratch.py",
        "core/derivation.py",
        "core/duplicates.py",
        "core/leakage.py",
        "core/dataset.py",
        "core/tokens.py",
        "core/tool_schema.py",
    ),
)


F = TypeVar("F", DatasetFile, DecisionSet)
R = TypeVar("R", bound=Record)


class Dataset(Record):
    """A prepared dataset: the files of all splits, the decisions of the held-out one, and what a teacher took.

    `seen_decisions` are those of the same errands in the words of training, where they were told so. `address` is where
    the artifact store keeps it, if it does.
    """

    split: DatasetSplit
    decisions: DecisionSet
    seen_decisions: DecisionSet | None = None
    taught: TeacherReport | None = None
    address: str = ""

    @property
    def files(self) -> tuple[DatasetFile | DecisionSet, ...]:
        """The files of rows and decisions, each with its sidecar."""
        return *self.split.files, self.decisions, *((self.seen_decisions,) if self.seen_decisions else ())

    def moved_to(self, folder: Path) -> "Dataset":
        """Return the dataset as it is once its files lie in another folder."""

        def moved(file: F) -> F:
            paths = {name: str(folder / Path(getattr(file, name)).name) for name in ("path", "meta_path")}
            return file.model_copy(update=paths)

        def moved_in(record: R, *names: str) -> R:
            held = {name: getattr(record, name) for name in names}
            return record.model_copy(update={name: moved(file) for name, file in held.items() if file is not None})

        split = moved_in(self.split, "train", "valid", "heldout", SEEN_PHRASING)
        here = moved_in(self, "decisions", "seen_decisions")
        return here.model_copy(update={"split": split, "address": ""})


class Workspace(NamedTuple):
    """The folders of a profile's workspace."""

    root: Path

    @property
    def conversations(self) -> Path:
        """Played conversations, in shards named for what shaped them."""
        return self.root / "conversations"

    @property
    def ledger(self) -> Ledger:
        """Which job belongs to which key."""
        return Ledger(self.root / "jobs")

    @property
    def models(self) -> Path:
        """The cards of tuned models."""
        return self.root / "models"

    @property
    def bells(self) -> Bells:
        """Which jobs a provider said have ended."""
        return Bells(self.root / "bells")

    @property
    def alive(self) -> Path:
        """Which runs have a living process."""
        return self.root / "alive"

    @property
    def transcripts(self) -> Path:
        """Conversations that went wrong, as they came."""
        return self.root / "transcripts"

    @property
    def failing(self) -> Path:
        """What the customers of those conversations wanted."""
        return self.root / "failing"

    @property
    def deployed(self) -> Profile | None:
        """The profile that `zava deploy` registered last, with its overrides.

        Raises:
            ConfigError: The file is broken.
        """
        path = self.deployed_path
        return load_profile(str(path)) if path.is_file() else None

    @property
    def deployed_path(self) -> Path:
        """The file of the deployed profile."""
        return self.root / "deployed.yaml"

    @property
    def page_path(self) -> Path:
        """The file of the profile that the web page goes by."""
        return self.root / "page.yaml"

    def dataset_folder(self, profile: Profile, shards: list[Path]) -> Path:
        """Return the folder of the dataset that these shards and gates make."""
        names = [shard.name for shard in shards]
        made_from = [names, profile.validation.model_dump(mode="json"), code_sha256(PREPARING)]
        return self.root / "datasets" / sha256_of(made_from)[:16]

    def fetched_folder(self, recipe: str) -> Path:
        """Return the folder of the dataset that another machine made by this recipe."""
        return self.root / "datasets" / f"{recipe[:16]}-fetched"

    def evaluation_folder(self, decisions: DecisionSet, model_id: str, model_version: str) -> Path:
        """Return the folder of the answers and scores of one model on one decision set."""
        return self.root / "evaluations" / sha256_of([decisions.sha256, model_id, model_version])[:16]

    def checkpoint_folder(self, valid: DatasetFile) -> Path:
        """Return the folder of the decisions that checkpoints are chosen by."""
        return self.root / "checkpoints" / valid.sha256[:16]

    def story_traces(self, model_id: str) -> Path:
        """The spans of the story as a model played it last."""
        return self.root / "replays" / f"story-{sha256_of(model_id)[:16]}.otlp"

    def run_folder(self, run_id: str) -> Path:
        """Return the folder of one run's report."""
        return self.root / "runs" / run_id


def workspace(profile: Profile) -> Workspace:
    """Return the workspace of a profile."""
    return Workspace(profile.workspace)


def read_dataset(folder: Path) -> Dataset | None:
    """Return the dataset of a folder where it is there whole and unchanged, else None."""
    try:
        dataset = Dataset.model_validate_json((folder / "dataset.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValidationError, UnicodeDecodeError):
        return None
    whole = all(
        sha256_of_file(Path(file.path)) == file.sha256 and Path(file.meta_path).is_file() for file in dataset.files
    )
    return dataset if whole else None


def write_dataset(folder: Path, dataset: Dataset) -> None:
    """Write the record that makes a folder's dataset complete; it comes last.

    Raises:
        DataError: The folder cannot be written.
    """
    write_atomically(folder / "dataset.json", dataset.model_dump_json(indent=2).encode())


def latest_summary(profile: Profile) -> RunSummary | None:
    """Return the run of this workspace that was finished last, or None.

    Raises:
        DataError: Its summary is broken.
    """
    return next(summaries(profile), None)


def summaries(profile: Profile) -> Iterator[RunSummary]:
    """Return the finished runs of this workspace, the last one first.

    Raises:
        DataError: A summary is broken.
    """
    written = (profile.workspace / "runs").glob("*/summary.json")
    for path in sorted(written, key=lambda path: path.stat().st_mtime, reverse=True):
        try:
            yield RunSummary.model_validate_json(path.read_text(encoding="utf-8"))
        except (ValidationError, UnicodeDecodeError) as error:
            raise DataError(f"{path} is not the summary of a run; remove its folder.") from error


def sha256_of_file(path: Path) -> str | None:
    """Return the digest of a file's bytes, or None where there is no such file."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None


def code_sha256(names: Iterable[str]) -> str:
    """Return the digest of files of this package: what they make is another thing when they change."""
    digest = hashlib.sha256()
    for name in names:
        digest.update((Path(tasks.__path__[0]) / name).read_bytes())
    return digest.hexdigest()
