"""Synthesis: scenarios of every split, played by the expert in shards that a killed run does not play again."""

import asyncio
import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, get_args

from pydantic import ValidationError

import tasks
import zava_mcp
from tasks.core.config import Profile, SynthesisConfig
from tasks.core.conversation import Conversation
from tasks.core.coverage import holes
from tasks.core.drawing import draw_scenarios, draw_wanted
from tasks.core.errors import DataError
from tasks.core.phrases import PhraseBook, load_phrases
from tasks.core.record import sha256_of
from tasks.core.scenario import Phrasing, Scenario, ShopView, Split
from tasks.expert import play
from tasks.files import read_bytes, write_atomically
from tasks.world import open_shop, served_tools, shop_view
from zava_mcp import policy
from zava_mcp.local import LocalShop
from zava_mcp.store import RetailStore

PHRASES = Path("configs/scenarios/retail.yaml")
# What a shard holds depends on neither: they say how many shards there are and where one ends.
SHAPE_ONLY = {"train_conversations", "valid_conversations", "heldout_conversations", "shard_size", "coverage"}
MOST_BATCHES = 3  # that are steered to the holes in the coverage

Progress = Callable[[int, int], None]


class Shard(NamedTuple):
    """A range of the scenarios of one split and the file of its conversations."""

    path: Path
    scenarios: Sequence[Scenario]


def simulate(profile: Profile, out_dir: Path, progress: Progress = lambda _done, _total: None) -> list[Path]:
    """Play the scenarios of all splits and return the shard files: JSON lines, one conversation each.

    A shard that is there is not played again; one of another profile, policy, shop, phrasing or code has another name.
    `progress` is told how many conversations are there and how many there will be.

    Raises:
        SynthesisError: No scenario could be drawn, or the expert could not play one.
        DataError: A shard cannot be written, or the snapshot not read.
    """
    store = open_shop(profile.world)
    phrases = load_phrases(PHRASES)
    shards = plan_shards(profile, store, phrases, out_dir)
    asyncio.run(_play_missing(shards, store, phrases, progress))
    for batch in range(1, MOST_BATCHES + 1):
        steered = _steered_shard(profile, store, phrases, shards, batch)
        if steered is None:
            break
        asyncio.run(_play_missing([steered], store, phrases, progress))
        shards.append(steered)
    # What trains comes first, so that all of it is known when it is counted how much held-out wording it holds.
    return [shard.path for shard in sorted(shards, key=lambda shard: not _trains(shard))]


def _trains(shard: Shard) -> bool:
    return bool(shard.scenarios) and shard.scenarios[0].split == "train"


def _steered_shard(
    profile: Profile, store: RetailStore, phrases: PhraseBook, shards: Sequence[Shard], batch: int
) -> Shard | None:
    """Return the shard that fills the holes which the training shards leave in the coverage; None without holes."""
    config = profile.synthesis
    played = [shard.path for shard in shards if _trains(shard)]
    wanted = holes(read_conversations(played), config.coverage) if config.coverage else []
    if not wanted:
        return None
    name = sha256_of([simulation_key(profile, store, phrases), [path.name for path in played], wanted])
    scenarios = draw_wanted(shop_view(store), config, wanted, profile.seed, batch)
    return Shard(shards[0].path.with_name(f"{name[:16]}-train-wanted-{batch}.jsonl"), scenarios)


def plan_shards(profile: Profile, store: RetailStore, phrases: PhraseBook, out_dir: Path) -> list[Shard]:
    """Return the shards of a profile, played or not; the held-out errands in the words of training come last."""
    view, key = shop_view(store), simulation_key(profile, store, phrases)
    shards = [
        shard
        for split in get_args(Split)
        for shard in _shards_of(profile, view, split, out_dir / f"{key[:16]}-{split}")
    ]
    return [*shards, *_shards_of(profile, view, "heldout", out_dir / f"{key[:16]}-seen-phrasing", "seen")]


def simulation_key(profile: Profile, store: RetailStore, phrases: PhraseBook) -> str:
    """Return the digest of all that shapes a conversation, and of nothing else."""
    config = profile.synthesis.model_dump(mode="json", exclude=SHAPE_ONLY)
    return sha256_of(
        [config, profile.seed, store.digest(), policy.text(), served_tools(store), phrases.digest(), _code_sha256()]
    )


def read_conversations(paths: Sequence[Path]) -> Iterator[Conversation]:
    """Yield the conversations of shard files.

    Raises:
        DataError: A file is missing, or a line of it is not a conversation.
    """
    for path in paths:
        for number, line in enumerate(read_bytes(path).splitlines(), start=1):
            try:
                yield Conversation.model_validate_json(line)
            except ValidationError as error:
                fault = error.errors(include_url=False)[0]
                raise DataError(f"{path}, line {number} is not a conversation: {fault['msg']}.") from error


def _shards_of(
    profile: Profile, view: ShopView, split: Split, stem: Path, phrasing: Phrasing = "own"
) -> Iterator[Shard]:
    size, count = profile.synthesis.shard_size, count_of(profile.synthesis, split)
    drawn = draw_scenarios(view, profile.synthesis, split, count, profile.seed)
    scenarios = [scenario.model_copy(update={"phrasing": phrasing}) for scenario in drawn]
    for start in range(0, count, size):
        end = min(start + size, count)
        yield Shard(stem.with_name(f"{stem.name}-{start:06d}-{end:06d}.jsonl"), scenarios[start:end])


def count_of(config: SynthesisConfig, split: Split) -> int:
    """Return how many conversations of a split are wanted."""
    counts = {
        "train": config.train_conversations,
        "valid": config.valid_conversations,
        "heldout": config.heldout_conversations,
    }
    return counts[split]


async def _play_missing(shards: Sequence[Shard], store: RetailStore, phrases: PhraseBook, progress: Progress) -> None:
    done, total = 0, sum(len(shard.scenarios) for shard in shards)
    # The SDK logs every call at INFO; a run makes tens of thousands.
    logging.getLogger("mcp").setLevel(logging.WARNING)
    async with LocalShop(store) as shop:
        for shard in shards:
            if not shard.path.is_file():
                lines = []
                for place, scenario in enumerate(shard.scenarios, start=1):
                    conversation = await play(scenario, shop, phrases, policy.text())
                    lines.append(conversation.model_dump_json().encode() + b"\n")
                    progress(done + place, total)
                write_atomically(shard.path, b"".join(lines))
            done += len(shard.scenarios)
            progress(done, total)


def _code_sha256() -> str:
    """Return the digest of the code that draws, speaks and serves: another expert is another teacher."""
    own = Path(tasks.__path__[0])
    names = ("expert.py", *(f"core/{name}.py" for name in ("customer", "drawing", "errand", "hurdles", "phrases")))
    files = [own / name for name in names] + sorted(Path(zava_mcp.__path__[0]).glob("*.py"))
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()
