"""Conversations: OpenAI messages with real tool results."""

import json
from typing import Any, Literal, NamedTuple

from tasks.core.record import Record
from tasks.core.scenario import GoldCall, Phrasing

Role = Literal["system", "user", "assistant", "tool"]


class ToolCall(Record):
    """One call as the model wrote it; `arguments` is JSON text and may be malformed when a model produced it."""

    id: str
    name: str
    arguments: str

    def parsed(self) -> dict[str, Any] | None:
        """Return the arguments as an object, or None where the text is not a JSON object."""
        try:
            value = json.loads(self.arguments)
        except json.JSONDecodeError:
            return None
        return value if isinstance(value, dict) else None


class Message(Record):
    """One turn. An assistant turn has either content or tool calls; a tool turn answers one call."""

    role: Role
    content: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None

    def to_openai(self) -> dict[str, Any]:
        """Return the message as the OpenAI chat API takes it."""
        wire: dict[str, Any] = {"role": self.role, "content": self.content}
        if self.tool_calls:
            wire["tool_calls"] = [
                {"id": c.id, "type": "function", "function": {"name": c.name, "arguments": c.arguments}}
                for c in self.tool_calls
            ]
        if self.tool_call_id is not None:
            wire["tool_call_id"] = self.tool_call_id
        return wire

    @classmethod
    def from_openai(cls, wire: dict[str, Any]) -> "Message":
        """Read a message in the OpenAI chat shape; unknown keys are ignored."""
        calls = tuple(
            ToolCall(id=c.get("id") or "", name=c["function"]["name"], arguments=c["function"]["arguments"])
            for c in wire.get("tool_calls") or ()
        )
        return cls(
            role=wire["role"], content=wire.get("content"), tool_calls=calls, tool_call_id=wire.get("tool_call_id")
        )


class Fault(NamedTuple):
    """Why a row is refused: the kind, the same for all rows with that fault; the detail; the turn from 0, if one."""

    kind: str
    detail: str = ""
    turn: int | None = None


class GateVerdict(Record):
    """What one gate said of one conversation. `reason` is empty where it passed."""

    gate: str
    passed: bool
    reason: str = ""
    turn: int | None = None


class Goal(Record):
    """How a scenario must end: the changes that must have been made, in order, and the outcome of each request."""

    writes: tuple[GoldCall, ...]
    outcome: str


class Conversation(Record):
    """A played scenario. `messages` starts with the system prompt; `template_ids` are those of the customer's words.

    Without a `goal` nobody wrote down how it must end, and the goal gate lets it pass.
    """

    id: str
    scenario_id: str
    customer_id: str
    split: Literal["train", "valid", "heldout"]
    teacher: str
    intents: tuple[str, ...]
    template_ids: tuple[str, ...]
    messages: tuple[Message, ...]
    outcome: str
    final_state: str
    goal: Goal | None = None
    verdicts: tuple[GateVerdict, ...] = ()
    phrasing: Phrasing = "own"
