"""The MLflow registry: versions that stand for models at a provider, and the aliases that say what each is for.

`champion` is what agents use, `previous` what a rollback brings back, `challenger` what passed the gate and waits for a
person. MLflow moves one alias at a time, so that a move of several is written down first, in a tag of the registered
model: whoever comes next after a kill finishes it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Literal

from tasks import mlflow_store
from tasks.core.config import TrackingConfig
from tasks.core.errors import PromotionError
from tasks.core.promotion import RegisteredVersion
from tasks.core.record import Record
from tasks.track import GATE_PARAM

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

CHAMPION, PREVIOUS, CHALLENGER = "champion", "previous", "challenger"
MOVE_TAG = "zava.move"
# MLflow takes 5,000 characters in a tag.
LONGEST_REASON = 1000
ROLLED_BACK_TAG = "zava.rolled_back"
SINCE_TAG = "zava.champion_since"
BUNDLE_TAG = "zava.bundle"
BUNDLE_SHA_TAG = "zava.bundle_sha256"
_MODEL_TAG = "zava.model_id"
# The folder of evidence bundles in a run.
BUNDLES = "promotion"


class Move(Record):
    """Where the aliases go, written down before the first of them moves. `at` is in UTC seconds since 1970.

    `key` is that of the command: repeated, it finds its move done.
    """

    kind: Literal["promotion", "rollback"]
    key: str
    champion: str
    previous: str | None
    at: float
    by: str
    reason: str
    done: bool = False


class Registry:
    """One registered model, in one connection."""

    def __init__(self, client: "MlflowClient", name: str) -> None:
        """Name the registered model; it is made when the first version is."""
        self._client = client
        self.name = name

    def version_at(self, alias: str) -> RegisteredVersion | None:
        """Return the version that an alias points to, or None."""
        number = self._aliases().get(alias)
        return None if number is None else self.version(number)

    def version(self, number: str) -> RegisteredVersion:
        """Return a version by its number."""
        return _read(self._client.get_model_version(self.name, number))

    def tag_of(self, number: str, tag: str) -> str:
        """Return a tag of a version; nothing where it is missing."""
        return str(self._client.get_model_version(self.name, number).tags.get(tag, ""))

    def find(self, model_id: str, provider: str) -> RegisteredVersion | None:
        """Return the version of a model at a provider, or None."""
        held = self._client.search_model_versions(f"name='{self.name}'")
        versions = (_read(one) for one in held if _MODEL_TAG in one.tags)
        return next((one for one in versions if (one.model_id, one.provider) == (model_id, provider)), None)

    def register(self, wanted: RegisteredVersion, source: str) -> RegisteredVersion:
        """Return the version of a model, made where there is none; a model has one, however many runs made it.

        `source` is the MLflow id of the external model. The number of `wanted` does not count.
        """
        if found := self.find(wanted.model_id, wanted.provider):
            return found
        if not self._client.search_registered_models(f"name='{self.name}'"):
            self._client.create_registered_model(self.name)
        tags = {
            _MODEL_TAG: wanted.model_id,
            "zava.base_model": wanted.base_model,
            "zava.provider": wanted.provider,
        }
        # A server takes a model as the source only where it is named a second time; a store without one does not mind.
        made = self._client.create_model_version(
            self.name, source=f"models:/{source}", run_id=wanted.run_id, tags=tags, model_id=source
        )
        return _read(made)

    def challenge(self, number: str) -> None:
        """Make a version the challenger."""
        self._point(CHALLENGER, number)

    def retire_challenger(self, number: str) -> None:
        """Let a version be the challenger no longer; another one stays."""
        if self._aliases().get(CHALLENGER) == number:
            self._client.delete_registered_model_alias(self.name, CHALLENGER)

    def write(self, move: Move) -> None:
        """Write a move down; from here on it happens, whatever is killed, until it is written down as done."""
        self._client.set_registered_model_tag(self.name, MOVE_TAG, move.model_dump_json())

    def last_move(self) -> Move | None:
        """Return the move that was written down last, done or not, or None."""
        held = self._client.search_registered_models(f"name='{self.name}'")
        text = held[0].tags.get(MOVE_TAG) if held else None
        return Move.model_validate_json(text) if text else None

    def carry_out(self, move: Move) -> None:
        """Point the aliases and mark the versions as the move says; safe to repeat."""
        if move.previous is not None:
            self._point(PREVIOUS, move.previous)
        self.mark(move.champion, {SINCE_TAG: str(move.at)})
        self._point(CHAMPION, move.champion)
        self.retire_challenger(move.champion)
        self._client.delete_model_version_tag(self.name, move.champion, ROLLED_BACK_TAG)
        if move.kind == "rollback" and move.previous is not None:
            why = f"by {move.by}: {move.reason or 'no reason given'}"
            self._client.set_model_version_tag(self.name, move.previous, ROLLED_BACK_TAG, why)

    def mark(self, number: str, tags: dict[str, str]) -> None:
        """Set tags of a version."""
        for name, value in tags.items():
            self._client.set_model_version_tag(self.name, number, name, value)

    def keep(self, run_id: str, bundle: Path, sentence: str) -> None:
        """Put an evidence bundle into a run, and say in a tag what came of it."""
        self._client.log_artifact(run_id, str(bundle), BUNDLES)
        mlflow_store.set_tags(self._client, run_id, {"zava.promotion": sentence})

    def kept(self, run_id: str, name: str) -> str:
        """Return the text of an evidence bundle of a run."""
        with TemporaryDirectory() as folder:
            path = self._client.download_artifacts(run_id, f"{BUNDLES}/{name}", folder)
            return Path(path).read_text(encoding="utf-8")

    def rules_of(self, run_id: str) -> str:
        """Return the gate that was written down when a run began, as JSON; nothing where there was none."""
        return str(self._client.get_run(run_id).data.params.get(GATE_PARAM, ""))

    def _point(self, alias: str, number: str) -> None:
        if self._aliases().get(alias) != number:
            self._client.set_registered_model_alias(self.name, alias, number)

    def _aliases(self) -> dict[str, str]:
        """Return the version number of each alias; MLflow gives a number or its text, by the kind of store."""
        held = self._client.search_registered_models(f"name='{self.name}'")
        return {alias: str(number) for alias, number in held[0].aliases.items()} if held else {}


@contextmanager
def open_registry(tracking: TrackingConfig, name: str, action: str) -> Iterator[Registry]:
    """Yield a registered model; `action` continues "Cannot ..." where MLflow fails.

    Raises:
        ServiceError: MLflow does not answer, or refuses.
    """
    with mlflow_store.connected(tracking, action) as client:
        yield Registry(client, name)


def _read(version: "ModelVersion") -> RegisteredVersion:
    if _MODEL_TAG not in version.tags:
        raise PromotionError(
            f"Version {version.version} of {version.name!r} was registered by other means: it has no tag "
            f"{_MODEL_TAG!r}. Set it to the model's id at the provider, or point the alias at another version."
        )
    return RegisteredVersion(
        number=str(version.version),
        model_id=version.tags[_MODEL_TAG],
        base_model=version.tags.get("zava.base_model", ""),
        provider=version.tags.get("zava.provider", ""),
        run_id=str(version.run_id or ""),
    )
