"""Was a played conversation led by the policy, whatever the model wrote: the policy's rules and those of the form."""

import json
from collections.abc import Iterator, Sequence

from tasks.core.conversation import Message
from tasks.core.grader import read_arguments
from tasks.core.policy import breaches
from tasks.core.story import PlayedCall


def broken_rules(
    messages: Sequence[Message], calls: Sequence[PlayedCall], customer_id: str | None = None
) -> tuple[str, ...]:
    """Return each rule that was broken, once, in the order of the turns; the detail of a breach is left out."""
    found = [fault.kind for fault in breaches(list(_readable(messages)), customer_id=customer_id)]
    turns = [message for message in messages if message.tool_calls]
    if any(len(message.tool_calls) > 1 for message in turns):
        found.append("more than one call in a turn")
    if any((message.content or "").strip() for message in turns):
        found.append("text beside a tool call")
    if any(played.invented for played in calls):
        found.append("an invented argument")
    return tuple(dict.fromkeys(found))


def _readable(messages: Sequence[Message]) -> Iterator[dict[str, object]]:
    """Yield messages as the rules read them: arguments are objects, and text is text."""
    for message in messages:
        wire = message.to_openai()
        wire["content"] = message.content or ""
        for call in wire.get("tool_calls", ()):
            call["function"]["arguments"] = json.dumps(read_arguments(call["function"]["arguments"]) or {})
        yield wire
