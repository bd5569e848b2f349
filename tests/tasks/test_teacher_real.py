"""The teacher with a model that this project's own server serves: a real one, as good or bad as it is."""

import re
from pathlib import Path
from typing import Any

import pytest

from infra.model_server.settings import Settings
from tasks.core.blueprint import Take
from tasks.core.config import Profile
from tasks.teacher import teach
from tests.fake_provider import FakeProvider, Reply, say
from tests.infra.model_server.live import serving


def customer(request: dict[str, Any]) -> Reply:
    """Tell everything at once, agree to every question, and go at the first answer that asks for nothing."""
    prompt, heard = request["messages"][0]["content"], request["messages"][-1]["content"]
    if len(request["messages"]) == 2:
        facts = re.findall(r"^- [\w ]+: (.*)$", prompt, re.MULTILINE)
        return say(f"Hi, I want to cancel an order. {', '.join(facts)}.")
    return say("Yes, please." if "?" in heard else "###END###")


@pytest.mark.slow
def test_the_base_model_is_the_agent(tmp_path: Path) -> None:
    with serving(Settings(data=tmp_path / "server")) as port, FakeProvider(customer) as people:
        local = {"kind": "local", "base_url": f"http://127.0.0.1:{port}/v1"}
        profile = Profile.model_validate(
            {
                "name": "real",
                "synthesis": {
                    "intents": {"cancel": 1},
                    "trap_rate": 0,
                    "max_requests": 1,
                    "train_conversations": 1,
                    "valid_conversations": 1,
                    "heldout_conversations": 1,
                },
                "teacher": {
                    "agent": {"model": "zava-base", "temperature": 0, "max_completion_tokens": 128},
                    "customer": {"model": "script", "provider": {**local, "base_url": people.base_url}},
                    "max_turns": 4,
                },
                "provider": local,
                "training": {"base_model": "zava-base"},
            }
        )
        report = teach(profile, tmp_path / "out").report
    takes = [Take.model_validate_json(file.read_bytes()) for file in (tmp_path / "out").glob("*/takes/*.json")]
    assert report.planned == len(takes) == 3
    assert all(take.conversation and take.usage.prompt_tokens > 100 for take in takes)
    assert any(message.tool_calls for take in takes if take.conversation for message in take.conversation.messages)
    # Whatever a small model gets wrong is its own fault: the customer keeps to their part.
    assert {blame.side for take in takes for blame in take.blames} <= {"agent"}
    assert all(take.passed or len(take.blames) == 2 for take in takes)
