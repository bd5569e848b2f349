"""All gates of a profile in their order, over one conversation after another."""

from collections.abc import Mapping
from typing import Any

from tasks.core.config import Gate, ValidationConfig
from tasks.core.conversation import Conversation, GateVerdict
from tasks.core.duplicates import DuplicateFinder, Fingerprint, fingerprint
from tasks.core.gates import ToolShelf, format_gate, length_gate, policy_gate, provenance_gate
from tasks.execution import execution_verdict, goal_verdict
from zava_mcp.local import LocalShop


class Gatekeeper:
    """The gates of a profile, asked in order; those against duplicates remember what was kept."""

    def __init__(self, config: ValidationConfig, shop: LocalShop) -> None:
        """Ask the gates that a profile names, and replay calls on this shop."""
        self._config = config
        self._shop = shop
        self._shelf = ToolShelf()
        self._finder = DuplicateFinder(config.similarity)

    async def first_failure(self, conversation: Conversation, row: Mapping[str, Any]) -> GateVerdict | None:
        """Return the verdict of the first gate that stops a conversation, or None and remember it as kept."""
        found: Fingerprint | None = None
        for gate in self._config.gates:
            if gate == "execution":
                verdict = await execution_verdict(conversation, self._shop)
            elif gate == "goal":
                verdict = await goal_verdict(conversation, self._shop)
            elif gate in {"duplicate", "near_duplicate"}:
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
            case "policy":
                return policy_gate(row, customer_id=conversation.customer_id)
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
