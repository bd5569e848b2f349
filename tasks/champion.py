"""The champion of a workspace: one file that an agent reads to know which model to use.

`champion.json` follows the registry: every promotion and rollback writes it, and the next one mends it.
"""

from pathlib import Path

from pydantic import ValidationError

from tasks.artifacts import workspace
from tasks.core.config import Profile
from tasks.core.errors import DataError
from tasks.core.promotion import Champion
from tasks.files import write_atomically
from tasks.registry import CHAMPION, SINCE_TAG, Registry


def champion_path(profile: Profile) -> Path:
    """Return the file of the champion."""
    return workspace(profile).root / "champion.json"


def read_champion(profile: Profile) -> Champion | None:
    """Return the champion, or None where nothing was promoted yet.

    Raises:
        DataError: The file is broken.
    """
    path = champion_path(profile)
    try:
        return Champion.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (ValidationError, UnicodeDecodeError) as error:
        raise DataError(f"{path} does not name a champion; remove it, and `zava promote` writes it again.") from error


def champion_here(profile: Profile) -> str | None:
    """Return the model id of the champion where the provider of this profile serves it, else None.

    Raises:
        DataError: The file is broken.
    """
    champion = read_champion(profile)
    return champion.model_id if champion and champion.provider == profile.provider.place else None


def write_champion(profile: Profile, registry: Registry) -> None:
    """Write the file anew from the registry; without a champion there is none.

    Raises:
        DataError: The workspace cannot be written.
    """
    version = registry.version_at(CHAMPION)
    if version is None:
        return
    here = version.provider == profile.provider.place
    champion = Champion(
        model_id=version.model_id,
        base_model=version.base_model,
        provider=version.provider,
        base_url=profile.provider.base_url if here else version.provider.partition(":")[2] or None,
        registered_model=registry.name,
        version=version.number,
        mlflow_run_id=version.run_id,
        since=float(registry.tag_of(version.number, SINCE_TAG) or 0),
    )
    write_atomically(champion_path(profile), champion.model_dump_json(indent=2).encode() + b"\n")
