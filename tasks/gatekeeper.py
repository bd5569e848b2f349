"""All gates of a profile in their order, over one conversation after another."""

from collections.abc import Mapping
from typing import Any

from tasks.core.config import Gate, ValidationConfig
from tasks.core.conversation import Conversation, GateVerdict
from tasks.core.duplicates import Fingerprint, fingerprint
from tasks.core.gates import ToolShelf, format_gate, length_gate, policy_gate, provenance_gate
from tasks.core.policy import Procedure
from tasks.duplicate_finder import DuplicateFinder
from tasks.execution import execution_verdict, goal_verdict
from tasks.world import Sandbox

_AGAINST_DUPLICATES = frozenset({"duplicate", "near_duplicate"})


def gates_of(config: ValidationConfig, procedure: Procedure | None) -> tuple[Gate, ...]:
    """Return the gates that a profile names and its world can have: without rules there is none for the policy."""
    return tuple(gate for gate in config.gates if gate != "policy" or procedure is not None)


def without_memory(config: ValidationConfig) -> ValidationConfig:
    """Return the gates that judge a conversation by itself, whatever came before it."""
    alone = tuple(gate for gate in config.gates if gate not in _AGAINST_DUPLICATES)
    return config.model_copy(update={"gates": alone})


class Gatekeeper:
    """The gates of a profile, asked in order; those against duplicates remember what was kept."""

    def __init__(self, config: ValidationConfig, sandbox: Sandbox, procedure: Procedure | None) -> None:
        """Ask the gates that a profile names and the world has rules for, and make calls again on this sandbox."""
        self._config = config
        self._gates = gates_of(config, procedure)
        self._sandbox = sandbox
        self._procedure = procedure
        self._shelf = ToolShelf()
        self._finder = DuplicateFinder(config.similarity)

    async def first_failure(self, conversation: Conversation, row: Mapping[str, Any]) -> GateVerdict | None:
        """Return the verdict of the first gate that stops a conversation, or None and remember it as kept."""
        found: Fingerprint | None = None
        for gate in self._gates:
            if gate == "execution":
                verdict = await execution_verdict(conversation, self._sandbox)
            elif gate == "goal":
                verdict = await goal_verdict(conversation, self._sandbox, self._procedure)
            elif gate in _AGAINST_DUPLICATES:
                found = found or fingerprint(row["messages"])
                verdict = self._twin(gate, found)
            else:
                verdict = self._row_verdict(gate, conversation, row)
            if not verdict.passed:
                return verdict
        if found is not None:
            self._finder.keep(conversation.id, found)
        return None

    def _row_verdict(self, gate: Gate, conversation: Conversation, row: Mapping[str, Any]) -> GateVerdict:
        match gate:
            case "policy" if self._procedure is not None:
                return policy_gate(row, self._procedure, conversation.customer_id)
            case "provenance":
                return provenance_gate(row, self._shelf)
            case "length":
                return length_gate(row, self._shelf, self._config.max_tokens)
            case _:
                return format_gate(row, self._shelf)

    def _twin(self, gate: Gate, found: Fingerprint) -> GateVerdict:
        if gate == "duplicate":
            reason = "every decision was there before" if self._finder.repeats(found) else ""
        else:
            near = self._finder.nearest(found)
            reason = f"same calls and nearly the same words: like {near}" if near else ""
        return GateVerdict(gate=gate, passed=not reason, reason=reason)
