"""Finds the stored run that a person names, with the promotion that was decided on it."""

from pathlib import Path
from typing import NamedTuple, get_args

from pydantic import ValidationError

from tasks.artifacts import workspace
from tasks.core.config import Profile
from tasks.core.errors import ConfigError, DataError
from tasks.core.promotion import Outcome, Promotion
from tasks.core.run import RunSummary
from tasks.files import read_bytes
from tasks.registry import BUNDLES

SUMMARY = "summary.json"


class StoredRun(NamedTuple):
    """A run with the folder that its report lies in, and the last decision on its model, if there was one."""

    folder: Path
    summary: RunSummary
    promotion: Promotion | None


def stored_run(profile: Profile, name: str | None = None) -> StoredRun:
    """Return the run of an MLflow run id, or of the beginning of one, or in a folder; without a name the last one.

    Raises:
        ConfigError: No run, or more than one, has this name.
        DataError: Its summary or a bundle of evidence is broken.
    """
    folder = _folder(workspace(profile).root / "runs", name)
    path = folder / SUMMARY
    try:
        summary = RunSummary.model_validate_json(read_bytes(path))
    except ValidationError as error:
        raise DataError(f"{path} is not the summary of a run of this version: {error}") from error
    return StoredRun(folder, summary, _promotion(folder / BUNDLES))


def _folder(runs: Path, name: str | None) -> Path:
    if name is not None and (Path(name) / SUMMARY).is_file():
        return Path(name)
    finished = sorted(runs.glob(f"*/{SUMMARY}"), key=lambda path: path.stat().st_mtime)
    found = [path.parent for path in finished if path.parent.name.startswith(name or "")]
    if name is None and found:
        return found[-1]
    if len(found) == 1:
        return found[0]
    have = ", ".join(path.parent.name for path in finished) or "none; `zava run` makes one"
    said = "No finished run" if not found else f"{len(found)} finished runs begin with"
    raise ConfigError(
        f"{said} {name!r} in {str(runs)!r}. Finished ones: {have}."
        if name
        else f"No finished run in {str(runs)!r}; `zava run` makes one."
    )


def _promotion(folder: Path) -> Promotion | None:
    # Their names begin with the time and end with the outcome; a rollback leaves another bundle there.
    made = [path for outcome in get_args(Outcome) for path in folder.glob(f"*-{outcome}.json")]
    if not made:
        return None
    last = max(made, key=lambda path: path.name)
    try:
        return Promotion.model_validate_json(read_bytes(last))
    except ValidationError as error:
        raise DataError(f"{last} is not the evidence of a promotion of this version: {error}") from error
