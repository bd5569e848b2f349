"""How a model's steps look on the terminal: each tool call with its arguments and its result."""

import json

from rich.console import Console
from rich.text import Text

from tasks.episode import Called, Spoke, Step, Stopped

LONGEST_RESULT = 600


def show_step(console: Console, step: str | Step) -> None:
    """Print the customer's words, or one step of the model."""
    if isinstance(step, str):
        console.print(Text("customer  ", style="cyan").append(step, style="default"), soft_wrap=True)
    elif isinstance(step, Called):
        call = Text("call      ", style="yellow").append(f"{step.call.name} {_pretty(step.call.arguments)}", "default")
        console.print(call, soft_wrap=True)
        if step.invented:
            console.print(Text(f"made up   {', '.join(step.invented)}", style="bold red"), soft_wrap=True)
        label, style = ("refused   ", "red") if step.is_error else ("result    ", "dim")
        console.print(Text(label, style=style).append(_shortened(step.result), "dim"), soft_wrap=True)
    elif isinstance(step, Spoke):
        console.print(Text("agent     ", style="green").append(step.text, style="default"), soft_wrap=True)
    elif isinstance(step, Stopped):
        console.print(Text(f"stopped   {step.reason}", style="red"), soft_wrap=True)


def _pretty(arguments: str) -> str:
    """Return JSON arguments evenly spaced; what is no JSON stays as the model wrote it."""
    try:
        return json.dumps(json.loads(arguments), ensure_ascii=False)
    except json.JSONDecodeError:
        return arguments


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST_RESULT else f"{text[:LONGEST_RESULT]}... ({len(text):,} characters)"
