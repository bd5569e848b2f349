"""Episodes over HTTP with models whose end is known: by the gold, by a flaw, by the world, by a wrong label."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from openai import AsyncOpenAI

from tasks.core.config import EvaluationConfig
from tasks.core.conversation import Conversation
from tasks.core.drawing import draw_scenarios
from tasks.core.episodes import EpisodeResult, EpisodesReport, EpisodeTask, task_of_scenario
from tasks.core.errors import DataError, EvaluationError
from tasks.core.scenario import GoldCall
from tasks.episodes import Environment, play_episodes, read_tasks
from tasks.expert import play
from tests.fake_provider import FakeProvider, Reply, call, fault, say
from tests.worlds import ROOT, phrases, small_shop, small_view, synthesis
from zava_mcp import policy
from zava_mcp.local import LocalShop
from zava_mcp.snapshot import load_snapshot
from zava_mcp.store import RetailStore

pytestmark = pytest.mark.anyio
CONFIG = EvaluationConfig(timeout_s=240, bootstrap_samples=100, concurrency=4)
SCENARIOS = draw_scenarios(small_view(), synthesis(), "heldout", 16, 5)
TASKS = [task_of_scenario(scenario, small_view()) for scenario in SCENARIOS]

Script = Callable[[dict[str, Any]], Reply]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def a_world(shop: RetailStore, customer: str | None = None) -> Environment:
    return Environment(shop, policy.text(), phrases(), customer)


async def gold() -> dict[str, dict[str, Any]]:
    """Return the expert's next message after each beginning of its conversations."""
    found = {}
    async with LocalShop(small_shop()) as shop:
        for scenario in SCENARIOS:
            played: Conversation = await play(scenario, shop, phrases(), policy.text())
            messages = [message.to_openai() for message in played.messages]
            for place, message in enumerate(messages):
                if message["role"] == "assistant":
                    found[json.dumps(messages[:place])] = message
    return found


async def run(
    script: Script, tasks: list[EpisodeTask], folder: Path, trials: int = 1, world: Environment | None = None
) -> tuple[EpisodesReport, list[EpisodeResult], int]:
    with FakeProvider(script) as provider:
        async with AsyncOpenAI(base_url=provider.base_url, api_key="k", max_retries=0) as client:
            where = world or a_world(small_shop())
            report = await play_episodes(client, "m", tasks, trials, where, CONFIG, folder)
    kept = [json.loads(path.read_text()) for path in sorted(folder.glob("*-*.json"))]
    return report, [EpisodeResult.model_validate(entry) for entry in kept], len(provider.requests)


async def test_the_expert_reaches_every_goal_and_breaks_no_rule(tmp_path: Path) -> None:
    known = await gold()

    def script(request: dict[str, Any]) -> Reply:
        return Reply(message=known[json.dumps(request["messages"])])

    report, results, asked = await run(script, TASKS, tmp_path)
    assert [(r.task_id, r.reasons, r.breaches) for r in results if not r.success] == []
    assert (report.success.value, report.tasks, report.blamed) == (1.0, 16, {})
    assert len({request.intent for scenario in SCENARIOS for request in scenario.requests}) >= 6
    # All trials are on disk now: nothing is asked again.
    again, _, asked_again = await run(script, TASKS, tmp_path)
    assert asked > 0
    assert asked_again == 0
    assert again == report.model_copy(update={"seconds": again.seconds})


async def test_a_model_that_is_right_every_other_time_is_not_reliable(tmp_path: Path) -> None:
    known = await gold()

    def script(request: dict[str, Any]) -> Reply:
        if request["seed"] % 2 == 0:  # the seed of a trial is that of the profile, 7, and its number
            return say("Hello.")
        message = known.get(json.dumps(request["messages"]))
        return Reply(message=message) if message else say("Hello.")

    report, results, _ = await run(script, TASKS[:4], tmp_path, trials=2)
    assert report.success_hat == (0.5, 0.0)
    assert {(r.trial, r.success, r.blame) for r in results} == {(0, True, None), (1, False, "agent")}


async def test_a_write_without_a_yes_reaches_the_goal_and_breaks_the_policy(tmp_path: Path) -> None:
    task = next(task for task in TASKS if task.goal and task.scenario and len(task.scenario.requests) == 1)
    assert task.scenario is not None
    customer_id = task.scenario.customer_id
    email = small_shop().user(customer_id).email
    order = [call_.arguments["order_id"] for call_ in task.goal if "order_id" in call_.arguments]
    steps = [("find_user_id_by_email", {"email": email}), ("get_user_details", {"user_id": customer_id})]
    steps += [("get_order_details", {"order_id": order_id}) for order_id in order]
    steps += [(call_.name, call_.arguments) for call_ in task.goal]

    def script(request: dict[str, Any]) -> Reply:
        told = sum(m["role"] == "tool" for m in request["messages"])
        return call(*steps[told]) if told < len(steps) else say("Done. Anything else?")

    report, [result], _ = await run(script, [task], tmp_path)
    assert (result.reached, result.success, result.blame) == (True, False, "agent")
    assert "changed without an explicit yes" in report.broken_rules


async def test_a_provider_that_fails_is_not_the_agents_fault_and_is_played_again(tmp_path: Path) -> None:
    report, kept, _ = await run(lambda request: fault(500), TASKS[:2], tmp_path)
    assert report.blamed == {"environment": 2}
    assert kept == []
    known = await gold()
    report, kept, _ = await run(lambda r: Reply(message=known[json.dumps(r["messages"])]), TASKS[:2], tmp_path)
    assert (report.success.value, len(kept)) == (1.0, 2)


async def test_a_goal_that_the_shop_refuses_is_a_wrong_label(tmp_path: Path) -> None:
    wrong = GoldCall(name="cancel_pending_order", arguments={"order_id": "#W0", "reason": "no longer needed"})
    report, [result], _ = await run(
        lambda request: say("Hello."), [TASKS[0].model_copy(update={"goal": (wrong,)})], tmp_path
    )
    assert report.blamed == {"label": 1}
    assert result.reasons[-1].startswith('cancel_pending_order{"order_id":"#W0"')


async def test_the_customer_can_be_a_model_and_what_it_makes_up_is_its_own_fault(tmp_path: Path) -> None:
    words = iter(["I want to cancel my order.", "It is order #W9999999.", "###STOP###"])

    def script(request: dict[str, Any]) -> Reply:
        return say(next(words)) if request["model"] == "customer" else say("Which order is it?")

    world = a_world(small_shop(), "customer")
    report, [result], _ = await run(script, [task for task in TASKS if task.goal][:1], tmp_path, world=world)
    assert report.customer == "customer"
    assert report.blamed == {"simulator": 1}
    assert "the customer made up #W9999999" in result.reasons
    assert [m.content for m in result.messages[1:4]] == [
        "I want to cancel my order.",
        "Which order is it?",
        "It is order #W9999999.",
    ]


SNAPSHOT = ROOT / "tests" / "data" / "retail_snapshot.json"
MOVED = {
    "user_id": "noah_brown_6181",
    "address1": "1 Oak Road",
    "address2": "",
    "city": "Denver",
    "state": "CO",
    "country": "USA",
    "zip": "80202",
}


def published(folder: Path, **changes: Any) -> Path:
    """Write a file of one task in the published layout."""
    instructions = {
        "reason_for_call": "You want your address set to 1 Oak Road, Denver, CO 80202, USA.",
        "known_info": "You are Noah Brown in zip code 80279.",
        "unknown_info": "You do not remember your email.",
        "task_instructions": "Be brief.",
    }
    lookup = {"first_name": "Noah", "last_name": "Brown", "zip": "80279"}
    task = {
        "id": "7",
        "user_scenario": {"persona": None, "instructions": instructions},
        "evaluation_criteria": {
            "actions": [
                {"name": "find_user_id_by_name_zip", "arguments": lookup},
                {"name": "modify_user_address", "arguments": MOVED},
            ],
            "communicate_info": ["80202"],
        },
    }
    path = folder / "tasks.json"
    path.write_text(json.dumps([{**task, **changes}]))
    return path


async def test_a_published_task_is_played_on_a_published_snapshot(tmp_path: Path) -> None:
    def script(request: dict[str, Any]) -> Reply:
        told = [m["content"] for m in request["messages"] if m["role"] == "tool"]
        said = [m["content"] for m in request["messages"] if m["role"] == "user"]
        steps = [
            call("find_user_id_by_name_zip", {"first_name": "Noah", "last_name": "Brown", "zip": "80279"}),
            call("get_user_details", {"user_id": MOVED["user_id"]}),
            call("update_address", MOVED),
        ]
        if len(told) == 2 and len(said) == 1:
            return say("I will set it to 1 Oak Road, Denver, CO 80202. Do you confirm (yes/no)?")
        return steps[len(told)] if len(told) < 3 else say("Your address is updated. Anything else?")

    shop = load_snapshot(SNAPSHOT)
    report, [result], _ = await run(script, read_tasks(published(tmp_path)), tmp_path / "out", world=a_world(shop))
    assert (result.reasons, result.breaches) == ((), ())
    assert report.reached_hat == (1.0,)
    missing = published(tmp_path, id="8", evaluation_criteria={"actions": [], "communicate_info": ["42"]})
    report, _, _ = await run(script, read_tasks(missing), tmp_path / "other", world=a_world(shop))
    assert report.reached.value == 0.0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[", "is not JSON"),
        ("{}", "holds no list of tasks"),
        ("[]", "holds no list of tasks"),
        ("[{}]", "task 1: user_scenario is missing"),
    ],
)
def test_a_file_that_holds_no_tasks_is_named(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "tasks.json"
    path.write_text(content)
    with pytest.raises(DataError, match=message):
        read_tasks(path)


async def test_nothing_to_play_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="0 tasks and 1 trials"):
        await run(lambda request: say("Hi"), [], tmp_path)
