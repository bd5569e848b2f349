"""A small profile for the whole loop, and a chat whose tuned model knows the right answers."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from tasks.clients import mlflow_client
from tasks.core.config import Profile, load_profile
from tests.fake_finetuning import FakeFinetuning, step_events
from tests.stores import a_store

ADDRESS = {
    "address1": "415 Maple Avenue",
    "address2": "Apt 203",
    "city": "Denver",
    "state": "CO",
    "country": "USA",
    "zip": "80202",
}


class Shared(NamedTuple):
    """A profile and the provider that it names."""

    profile: Profile
    provider: FakeFinetuning


def a_provider(folder: Path) -> FakeFinetuning:
    """Return a provider for the loop of a folder's workspace, to run in a `with`."""
    return FakeFinetuning(
        states=["queued", "running", "succeeded"],
        events=step_events(12),
        models={"base"},
        chat=model_of(folder / "workspace"),
    )


def a_profile(base_url: str, folder: Path, *more: str) -> Profile:
    """Return a small profile on this provider, its MLflow store in the folder, with more overrides."""
    profile = a_small_profile(base_url, folder, a_store(folder), *more)
    client = mlflow_client(profile.tracking)
    if client.get_experiment_by_name(profile.tracking.experiment) is None:
        # Without a server the artifacts would lie in the working folder.
        client.create_experiment(profile.tracking.experiment, artifact_location=str(folder / "artifacts"))
    return profile


def a_small_profile(base_url: str, folder: Path, mlflow_uri: str, *more: str) -> Profile:
    """Return a small profile on this provider and this MLflow, with more overrides."""
    return load_profile(
        "local",
        (
            f"workspace={folder}/workspace",
            f"provider.base_url={base_url}",
            f"tracking.mlflow_uri={mlflow_uri}",
            "training.base_model=base",
            "training.poll_seconds=0.05",
            "synthesis.train_conversations=6",
            "synthesis.valid_conversations=3",
            "synthesis.heldout_conversations=4",
            "synthesis.max_requests=1",
            "evaluation.bootstrap_samples=200",
            "evaluation.arms=[]",
            "replay.seeds=0",
            *more,
        ),
    )


def model_of(workspace: Path) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return a chat whose base model is helpless, and whose tuned model answers every decision right."""
    gold: dict[str, dict[str, Any]] = {}

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        if not request["model"].startswith("ft:"):
            return {"role": "assistant", "content": "I cannot help with that."}
        for path in workspace.glob("datasets/*/items.jsonl"):
            if not gold:
                items = (json.loads(line)["item"] for line in path.read_text().splitlines())
                gold.update({_spoken(item["messages"]): item["expected_output"] for item in items})
        return gold.get(_spoken(request["messages"])) or _story(request["messages"])

    return answer


def _spoken(messages: list[dict[str, Any]]) -> str:
    """Return what was said and done, whatever the system prompt."""
    return json.dumps([message for message in messages if message["role"] != "system"], sort_keys=True)


def _story(messages: list[dict[str, Any]]) -> dict[str, Any]:
    """Serve Noah Brown."""
    told = [message["content"] for message in messages if message["role"] == "tool"]
    said = [message for message in messages if message["role"] == "user"]
    if not told:
        return _call("find_user_id_by_name_zip", {"first_name": "Noah", "last_name": "Brown", "zip": "80279"})
    if len(told) == 1:
        return _call("get_user_details", {"user_id": told[0]})
    if len(said) == 1:
        return {"role": "assistant", "content": "I will set your address. Do you confirm (yes/no)?"}
    if len(told) == 2:
        return _call("update_address", {"user_id": told[0], **ADDRESS})
    return {"role": "assistant", "content": "Your address is updated. Anything else?"}


def _call(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    function = {"name": name, "arguments": json.dumps(arguments)}
    return {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "call_1", "type": "function", "function": function}],
    }
