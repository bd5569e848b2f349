"""The replay family of a profile, played with a model; what is on disk is not played again."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from pydantic import ValidationError

from tasks import deploy, tracing
from tasks.artifacts import code_sha256, workspace
from tasks.clients import async_openai_client
from tasks.core.config import Profile
from tasks.core.family import FamilyReport
from tasks.core.record import sha256_of
from tasks.files import write_atomically
from tasks.progress import stage
from tasks.replay_pack import Pack, play_pack, read_pack
from zava_mcp import policy

# The code that decides what a story is and how it ends: another judge gives another verdict.
_JUDGING = ("conversing.py", "episode.py", "endstate.py", "replay_pack.py", "core/story.py", "core/family.py")


def family(profile: Profile, arm: str, model_id: str) -> FamilyReport:
    """Play the pack with a model, or return what it made of the same pack before.

    Raises:
        DataError: The pack is broken.
        ProviderError: The provider is not there, or refuses the model.
    """
    pack = read_pack(profile.replay)
    if not pack.members:
        return FamilyReport(arm=arm, model_id=model_id, pack_sha256=pack.sha256, results=(), seconds=0.0)
    with stage(f"replay family of {arm}") as progress:
        version = deploy.version_of(profile.provider, model_id)
        path = family_path(profile, pack, model_id, version)
        found = _read(path)
        played = found or _play(profile, arm, model_id, pack, path, progress.step)
        progress.result(f"{played.passed} of {len(played.results)} stories", reused=found is not None)
    return played.model_copy(update={"arm": arm})


def family_path(profile: Profile, pack: Pack, model_id: str, version: str) -> Path:
    """Return the file of what a model made of a pack, by all that decides it."""
    sampling = [profile.evaluation.max_completion_tokens, profile.evaluation.seed, profile.evaluation.timeout_s]
    made_of = [
        pack.sha256,
        profile.provider.base_url,
        model_id,
        version,
        sampling,
        policy.text(),
        code_sha256(_JUDGING),
    ]
    return workspace(profile).root / "replays" / f"{sha256_of(made_of)[:16]}.json"


def _play(
    profile: Profile, arm: str, model_id: str, pack: Pack, path: Path, step: Callable[[int, int], None]
) -> FamilyReport:
    """Play the pack, and write down what came of it and how the conversations went."""

    async def play() -> FamilyReport:
        async with async_openai_client(profile.provider) as client:
            return await play_pack(client, model_id, arm, pack, policy.text(), profile.evaluation, step)

    traces = path.with_suffix(".otlp")
    with tracing.written_to(traces):
        played = asyncio.run(play())
    played = played.model_copy(update={"traces_path": str(traces)})
    write_atomically(path, played.model_dump_json(indent=2).encode() + b"\n")
    return played


def _read(path: Path) -> FamilyReport | None:
    """Return a report that is there whole; a broken one is made again."""
    try:
        return FamilyReport.model_validate_json(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValidationError, UnicodeDecodeError):
        return None
