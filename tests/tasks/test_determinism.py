"""The conversations of a seed are the same bytes in every process: whatever the hash seed, time zone and language.

The digest is written down here, so that a change of the teacher's words is seen where it is made. When it changes on
purpose, scores before and after are not comparable: put the new digest in, and a line under Scores in CHANGELOG.md.
"""

import os
import subprocess
import sys

from tests.worlds import ROOT

PLAYED = "9a0b11450b233d7a00fb38fdbf6a1a944acb742aad450d622fc6d510d0c65153"
SCRIPT = """
import asyncio, hashlib
from typing import get_args
from tasks.core.drawing import draw_scenarios
from tasks.core.scenario import Hurdle, Split, Trap
from tasks.expert import play
from tests.worlds import phrases, small_shop, small_view, synthesis
from zava_mcp import policy
from zava_mcp.local import LocalShop

hard = synthesis(trap_rate=0.5, traps=get_args(Trap), hurdles=dict.fromkeys(get_args(Hurdle), 0.5))

async def digest():
    told = hashlib.sha256()
    async with LocalShop(small_shop()) as shop:
        for config in (synthesis(), hard):
            for split in get_args(Split):
                for scenario in draw_scenarios(small_view(), config, split, 12, 7):
                    played = await play(scenario, shop, phrases(), policy.text())
                    told.update(played.model_dump_json().encode())
    print(told.hexdigest())

asyncio.run(digest())
"""


def digest_in_a_process(**environment: str) -> str:
    env = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=env, cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_a_seed_gives_the_same_bytes_in_every_process() -> None:
    assert digest_in_a_process(PYTHONHASHSEED="1", TZ="UTC", LC_ALL="C") == PLAYED
    assert digest_in_a_process(PYTHONHASHSEED="99", TZ="Asia/Tokyo", LC_ALL="C.UTF-8") == PLAYED
