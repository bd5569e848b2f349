"""The episodes of a profile: its own held-out scenarios, or tasks from a file, played with a model."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from tasks import deploy
from tasks.artifacts import code_sha256, workspace
from tasks.clients import async_openai_client
from tasks.core.config import Profile
from tasks.core.drawing import draw_scenarios
from tasks.core.episodes import EpisodesReport, EpisodeTask, task_of_scenario
from tasks.core.phrases import load_phrases
from tasks.core.record import sha256_of
from tasks.episodes import Environment, play_episodes, read_tasks
from tasks.files import read_text
from tasks.progress import stage
from tasks.simulate import PHRASES
from tasks.world import open_shop, shop_view
from zava_mcp import policy
from zava_mcp.store import RetailStore

# The code that decides how a customer speaks and how an episode is judged.
_JUDGING = (
    "conversing.py",
    "customer_model.py",
    "endstate.py",
    "episode.py",
    "episodes.py",
    "core/conduct.py",
    "core/customer.py",
    "core/hearing.py",
)
# In place of a file: the scenarios of the profile's held-out conversations.
HELDOUT = Path("heldout")


def episodes(
    profile: Profile,
    model_id: str,
    tasks: Path = HELDOUT,
    trials: int = 1,
    customer_model: str | None = None,
    own_policy: Path | None = None,
) -> EpisodesReport:
    """Play the tasks of a file, or the profile's held-out scenarios, with a model; trials on disk are not played again.

    `own_policy` stands in the agent's prompt in place of Zava's, as numbers published under another one ask for.

    Raises:
        DataError: A file or the snapshot is broken.
        ProviderError: The provider is not there, or refuses a model.
    """
    with stage("episodes") as progress:
        shop = open_shop(profile.world)
        wanted = _heldout(profile, shop) if tasks == HELDOUT else read_tasks(tasks)
        prompt = policy.text() if own_policy is None else read_text(own_policy)
        world = Environment(shop, prompt, load_phrases(PHRASES), customer_model)
        version = deploy.version_of(profile.provider, model_id)
        folder = _folder(profile, world, [model_id, version])
        report = asyncio.run(_play(profile, model_id, wanted, trials, world, folder, progress.step))
        progress.result(f"{report.tasks * trials:,} conversations, {report.success.value:.0%} right")
    return report


def _heldout(profile: Profile, shop: RetailStore) -> list[EpisodeTask]:
    wanted = profile.synthesis
    view = shop_view(shop)
    drawn = draw_scenarios(view, wanted, "heldout", wanted.heldout_conversations, profile.seed)
    return [task_of_scenario(scenario, view) for scenario in drawn]


def _folder(profile: Profile, world: Environment, model: list[str]) -> Path:
    """Return the folder of the trials by all that shapes one, the tasks apart: each has a file of its own."""
    sampling = [profile.evaluation.max_completion_tokens, profile.evaluation.seed, profile.evaluation.timeout_s]
    made_of = [model, profile.provider.base_url, world.customer_model, world.shop.digest(), world.system_prompt]
    return workspace(profile).root / "episodes" / sha256_of([*made_of, sampling, code_sha256(_JUDGING)])[:16]


async def _play(
    profile: Profile,
    model_id: str,
    tasks: list[EpisodeTask],
    trials: int,
    world: Environment,
    folder: Path,
    step: Callable[[int, int], None],
) -> EpisodesReport:
    async with async_openai_client(profile.provider) as client:
        return await play_episodes(client, model_id, tasks, trials, world, profile.evaluation, folder, step)
