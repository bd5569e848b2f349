import os
import subprocess
import sys
from pathlib import Path

import pytest

from tasks import simulate as module
from tasks.core.conversation import Conversation
from tasks.core.errors import DataError
from tasks.simulate import plan_shards, read_conversations, simulate
from tests.worlds import ROOT, a_profile, phrases, small_shop

SYNTHESIS = """
import sys
from pathlib import Path
from tasks import simulate
from tests.worlds import a_profile, small_shop

simulate.open_shop = lambda _world: small_shop()
profile = a_profile(train_conversations=12)
simulate.simulate(profile, Path(sys.argv[1]), lambda done, _total: print(done, flush=True))
"""


@pytest.fixture(autouse=True)
def _small_world(monkeypatch: pytest.MonkeyPatch) -> None:
    """Play in the small shop, from the root, where the phrase grammar is."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(module, "open_shop", lambda _world: small_shop())


def names(paths: list[Path]) -> set[str]:
    return {path.name for path in paths}


def test_every_split_is_played_in_shards_of_whole_conversations(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    paths = simulate(a_profile(), tmp_path, lambda done, total: told.append((done, total)))
    assert len(paths) == 5  # 7 in shards of 4, 2, and twice 3: the held-out errands are told in seen words too
    assert names(paths) == {path.name for path in tmp_path.iterdir()}
    played = list(read_conversations(paths))
    assert [c.split for c in played] == ["train"] * 7 + ["valid"] * 2 + ["heldout"] * 6
    assert [c.phrasing for c in played] == ["own"] * 12 + ["seen"] * 3
    assert len({c.id for c in played}) == 15
    assert told[-1] == (15, 15)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_what_is_played_for_coverage_comes_before_what_is_held_out(tmp_path: Path) -> None:
    paths = simulate(a_profile(coverage={"cancel_pending_order ok explicit_yes": 9}), tmp_path)
    splits = [conversation.split for conversation in read_conversations(paths)]
    assert splits.count("train") > 7
    assert splits == sorted(splits, key=["train", "valid", "heldout"].index)


def test_a_finished_shard_is_not_played_again_and_a_lost_one_comes_back_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = simulate(a_profile(), tmp_path)
    before = [path.read_bytes() for path in paths]
    stamps = [path.stat().st_mtime_ns for path in paths]
    played: list[str] = []
    play = module.play

    async def counted(scenario, *rest):  # type: ignore[no-untyped-def]  # passes everything on
        played.append(scenario.id)
        return await play(scenario, *rest)

    monkeypatch.setattr(module, "play", counted)
    paths[1].unlink()
    assert simulate(a_profile(), tmp_path) == paths
    assert len(played) == 3
    assert [path.read_bytes() for path in paths] == before
    assert [path.stat().st_mtime_ns for n, path in enumerate(paths) if n != 1] == [
        stamp for n, stamp in enumerate(stamps) if n != 1
    ]


def test_a_run_that_dies_leaves_whole_shards_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class KilledError(Exception):
        pass

    def die_in_the_second_shard(done: int, _total: int) -> None:
        if done == 6:
            raise KilledError

    with pytest.raises(KilledError):
        simulate(a_profile(), tmp_path, die_in_the_second_shard)
    [shard] = tmp_path.iterdir()
    assert len(list(read_conversations([shard]))) == 4
    simulate(a_profile(), tmp_path)
    assert len(list(tmp_path.iterdir())) == 5


@pytest.mark.slow
def test_a_process_killed_with_9_leaves_whole_shards_and_the_next_ends_with_the_same_bytes(tmp_path: Path) -> None:
    profile = a_profile(train_conversations=12)
    whole = {path.name: path.read_bytes() for path in simulate(profile, tmp_path / "whole")}
    for told in (2, 6, 11):
        process = subprocess.Popen(
            [sys.executable, "-c", SYNTHESIS, str(tmp_path / "killed")],
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        with process:
            done = [process.stdout.readline() for _ in range(told)]  # type: ignore[union-attr]  # it is a pipe
            process.kill()
        left = {path.name: path.read_bytes() for path in (tmp_path / "killed").glob("*.jsonl")}
        assert left.items() <= whole.items()
        assert len(left) >= (int(done[-1]) - 1) // 4 - 1
    assert {path.name: path.read_bytes() for path in simulate(profile, tmp_path / "killed")} == whole


def test_another_profile_has_other_shards_and_more_conversations_reuse_those_that_are_there(tmp_path: Path) -> None:
    def planned(**changes: object) -> set[str]:
        return names([shard.path for shard in plan_shards(a_profile(**changes), small_shop(), phrases(), tmp_path)])

    assert not planned() & planned(trap_rate=0.9)
    assert not planned() & planned(noise_rate=0.9)
    assert planned(train_conversations=8) & planned(train_conversations=12) == planned(train_conversations=8)
    other_shop = small_shop().fork()
    other_shop.cancel_pending_order(
        next(o.order_id for o in other_shop.orders.values() if o.status == "pending"), "no longer needed"
    )
    elsewhere = plan_shards(a_profile(), other_shop, phrases(), tmp_path)
    assert not planned() & names([shard.path for shard in elsewhere])


def test_customers_and_phrasing_of_the_splits_are_disjoint(tmp_path: Path) -> None:
    profile = a_profile(train_conversations=40, valid_conversations=10, heldout_conversations=20, shard_size=50)
    by_split: dict[str, list[Conversation]] = {}
    for conversation in read_conversations(simulate(profile, tmp_path)):
        if conversation.phrasing == "own":
            by_split.setdefault(conversation.split, []).append(conversation)
    customers = {split: {c.customer_id for c in played} for split, played in by_split.items()}
    templates = {split: {t for c in played for t in c.template_ids} for split, played in by_split.items()}
    assert not customers["train"] & customers["heldout"]
    assert not customers["train"] & customers["valid"]
    assert not customers["valid"] & customers["heldout"]
    assert not (templates["train"] | templates["valid"]) & templates["heldout"]


def test_a_line_that_is_not_a_conversation_is_named(tmp_path: Path) -> None:
    path = tmp_path / "shard.jsonl"
    path.write_text("{}\n")
    with pytest.raises(DataError, match=r"shard\.jsonl, line 1 is not a conversation"):
        list(read_conversations([path]))
    with pytest.raises(DataError, match=r"nowhere\.jsonl"):
        list(read_conversations([tmp_path / "nowhere.jsonl"]))
