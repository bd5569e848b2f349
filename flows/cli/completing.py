"""What the shell can complete: profiles, their keys and models. Install it with `zava --install-completion`."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import typer

if TYPE_CHECKING:
    from pydantic import BaseModel


def profile_names(begun: str) -> list[str]:
    """Return the profiles of configs/ whose name begins so."""
    from tasks.core.config import NO_PROFILES

    names = {path.stem for path in Path("configs").glob("*.yaml")} - NO_PROFILES
    return sorted(name for name in names if name.startswith(begun))


def profile_keys(begun: str) -> list[str]:
    """Return the keys of a profile that begin so, with their `=`."""
    from tasks.core.config import Profile

    return [f"{key}=" for key in _keys(Profile, "") if key.startswith(begun)]


def _keys(section: "type[BaseModel]", before: str) -> Iterator[str]:
    from pydantic import BaseModel

    for name, field in section.model_fields.items():
        kinds = [field.annotation, *get_args(field.annotation)]
        inner = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
        if inner is None:
            yield f"{before}{name}"
        else:
            yield from _keys(inner, f"{before}{name}.")


def model_names(ctx: typer.Context, begun: str) -> list[str]:
    """Return what a model may be named: what it is here, such as `champion`, or its id."""
    from tasks.core.config import load_profile
    from tasks.core.errors import ZavaError
    from tasks.offer import offered

    try:
        config = load_profile(ctx.params.get("profile") or "local", tuple(ctx.params.get("overrides") or ()))
        known = [name for model in offered(config) for name in model]
    except ZavaError:  # a wrong key is told when the command runs
        return []
    return [name for name in known if name.startswith(begun)]
