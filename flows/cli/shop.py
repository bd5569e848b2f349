"""`zava chat`: a model at work in the shop, every tool call in sight."""

import asyncio
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from flows.cli.common import ProfileOption, SetOption, err, last_model, out, read_profile

if TYPE_CHECKING:
    from tasks.core.config import Profile
    from tasks.episode import Guard
    from tasks.talk import Talk

ModelOption = Annotated[
    str | None,
    typer.Option("--model", "-m", help="A model id; default: the champion, else the last tuned one, else the base."),
]
GuardOption = Annotated[
    Literal["off", "warn", "block"],
    typer.Option(
        help="What to do with a call whose arguments nobody gave: run it, also show it, or do not run it.",
    ),
]
CHAT_HELP = "Say what you want as a customer. /reset begins anew, /exit or Ctrl-D ends."


def chat(
    model: ModelOption = None,
    profile: ProfileOption = "local",
    overrides: SetOption = None,
    guard: GuardOption = "off",
) -> None:
    """Talk with a model that works in the shop, on a sandbox of its own; each tool call is shown with its result.

    Example: `zava chat --model zava-base --guard warn`
    """
    from tasks.champion import champion_here

    config = read_profile(profile, overrides)
    chosen = model or champion_here(config) or last_model(config) or config.training.base_model
    loop = asyncio.new_event_loop()
    try:
        # Without the handler of `asyncio.run`, Ctrl-C reaches the prompt.
        loop.run_until_complete(_chat(config, chosen, guard))
    except KeyboardInterrupt:
        err.print("Ended.")
    finally:
        loop.close()


async def _chat(config: "Profile", model: str, guard: "Guard") -> None:
    from tasks.talk import open_talk

    address = config.services.shop
    async with open_talk(config, model, address, guard) as talk:
        err.print(f"{model} at {address}. {CHAT_HELP}", style="dim", markup=False)
        try:
            while await _turn(talk):
                pass
        except (EOFError, KeyboardInterrupt):
            err.print()


async def _turn(talk: "Talk") -> bool:
    """Read a line and show what the model does with it; False at the end of the talk."""
    from flows.cli.steps import show_step

    words = out.input("[cyan]you       [/]").strip()
    if words == "/exit":
        return False
    if words == "/reset":
        talk.forget()
        err.print("Begun anew.", style="dim")
    elif words.startswith("/"):
        err.print(CHAT_HELP, style="dim")
    elif words:
        async for step in talk.say(words):
            show_step(out, step)
    return True
