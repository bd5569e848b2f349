"""The shell completes commands, profiles, their keys and models."""

import os
import subprocess
import sys
from pathlib import Path

from flows.cli.completing import profile_keys, profile_names

ZAVA = Path(sys.executable).with_name("zava")


def completed(*words: str) -> list[str]:
    """Return what bash is offered for the last word, as its completion script asks for it."""
    line = " ".join(["zava", *words])
    env = {**os.environ, "_ZAVA_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words))}
    return subprocess.run([ZAVA], env=env, capture_output=True, text=True, check=True).stdout.split()


def test_commands_and_models_are_completed_by_the_shell(tmp_path: Path) -> None:
    assert {"replay", "reconcile"} <= set(completed("re"))
    assert completed("chat", "--set", f"workspace={tmp_path}", "--model", "") == ["base", "zava-base"]


def test_profiles_and_their_keys_are_completed() -> None:
    assert profile_names("o") == ["openai"]
    assert "prices" not in profile_names("")
    assert profile_keys("training.n") == ["training.n_epochs="]
    assert {"teacher.agent.price.prompt=", "workspace="} <= set(profile_keys(""))
