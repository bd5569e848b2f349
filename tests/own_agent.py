"""A teacher whose agent is a model that this project's own server serves, with a customer who follows a script."""

import re
from typing import Any

from tasks.core.config import Profile
from tests.fake_provider import Reply, say


def customer(request: dict[str, Any]) -> Reply:
    """Tell everything at once, agree to every question, and go at the first answer that asks for nothing."""
    prompt, heard = request["messages"][0]["content"], request["messages"][-1]["content"]
    if len(request["messages"]) == 2:
        facts = re.findall(r"^- [\w ]+: (.*)$", prompt, re.MULTILINE)
        return say(f"Hi, I want to cancel an order. {', '.join(facts)}.")
    return say("Yes, please." if "?" in heard else "###END###")


def own_agent(server: str, model: str, people: str, train: int = 1) -> Profile:
    """Return a profile whose conversations `model` of the server holds with the customers of another address."""
    local = {"kind": "local", "base_url": server}
    return Profile.model_validate(
        {
            "name": "real",
            "synthesis": {
                "intents": {"cancel": 1},
                "trap_rate": 0,
                "max_requests": 1,
                "train_conversations": train,
                "valid_conversations": 1,
                "heldout_conversations": 1,
            },
            "teacher": {
                "agent": {"model": model, "temperature": 0, "max_completion_tokens": 128},
                "customer": {"model": "script", "provider": {**local, "base_url": people}},
                "max_turns": 4,
            },
            "provider": local,
            "training": {"base_model": "zava-base"},
        }
    )
