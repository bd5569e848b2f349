"""`zava chat`: a model at work in the shop, every tool call in sight; or two models, side by side."""

import asyncio
import json
import re
import sys
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from flows.cli.common import ProfileOption, SetOption, err, out, read_profile
from flows.cli.completing import model_names

if TYPE_CHECKING:
    from tasks.core.config import Profile
    from tasks.episode import Guard
    from tasks.talk import Talk, Watch

ModelsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        "-m",
        help="A model id, or champion, tuned, base; twice: side by side. Default: the first of these that is here.",
        autocompletion=model_names,
    ),
]
GuardOption = Annotated[
    Literal["off", "warn", "block"],
    typer.Option(
        help="What to do with a call whose arguments nobody gave: run it, also show it, or do not run it.",
    ),
]
UnfoldOption = Annotated[bool, typer.Option("--unfold", help="Show arguments and results whole.")]
LinesOption = Annotated[bool, typer.Option("--json", help="Print one JSON document for each step, a line each.")]
CHAT_HELP = """Say what you want as a customer.
/model [NAME]  let another model answer, or say which there are
/unfold /fold  show the tools' arguments and results whole, or a line each
/reset         begin anew, with the shop as it was at the start
/save [FILE]   write the conversation as OpenAI messages
/replay        it went wrong: put it into the replay pack, that later models are held against
/exit          end, as does Ctrl-D; Ctrl-C stops an answer"""


def chat(
    models: ModelsOption = None,
    profile: ProfileOption = "local",
    overrides: SetOption = None,
    guard: GuardOption = "off",
    unfold: UnfoldOption = False,
    as_json: LinesOption = False,
) -> None:
    """Talk with a model that works in the shop, on a sandbox of its own; each tool call is shown with its result.

    In it: /model, /reset, /save, /replay, /fold, /unfold, /help. With two models, each works on a shop of its own.

    Example: `zava chat --model champion --model base`
    """
    config = read_profile(profile, overrides)
    with asyncio.Runner() as runner:
        room = Room(config, _chosen(config, models or []), guard, runner)
        room.unfolded, room.as_json = unfold, as_json
        room.begin()
        try:
            while room.turn():
                pass
        except (EOFError, KeyboardInterrupt):
            err.print()
        finally:
            room.end()


def _chosen(config: "Profile", names: list[str]) -> list[str]:
    from tasks.core.errors import ConfigError
    from tasks.offer import offered

    if len(names) > 2:
        raise ConfigError("One model or two: --model may be given twice at most.")
    models = offered(config)
    ids = {model.label: model.model_id for model in models}
    return [ids.get(name, name) for name in names] or [models[0].model_id]


class Room:
    """A person and one model or two, and what was asked for."""

    unfolded = False
    as_json = False

    def __init__(self, config: "Profile", models: list[str], guard: "Guard", runner: asyncio.Runner) -> None:
        """Let these models answer."""
        from tasks.talk import Talk

        self._config = config
        self._runner = runner
        self._talks: list[Talk] = [Talk(config, model, guard) for model in models]
        self._commands: dict[str, Callable[[str], None]] = {
            "/model": self._model,
            "/unfold": lambda _: self._fold(unfolded=True),
            "/fold": lambda _: self._fold(unfolded=False),
            "/reset": self._reset,
            "/save": self._save,
            "/replay": self._replay,
            "/help": lambda _: self._say(CHAT_HELP),
        }

    def begin(self) -> None:
        """Ask the shop for its policy and tools.

        Raises:
            ServiceError: No shop answers.
        """
        for talk in self._talks:
            self._runner.run(talk.begin())
        names = " and ".join(talk.model_id for talk in self._talks)
        self._say(f"{names} at {self._talks[0].address}. Say what you want as a customer; /help tells what else.")
        if sys.stdin.isatty():
            self._edit()

    def end(self) -> None:
        """Drop the sandboxes."""
        for talk in self._talks:
            self._runner.run(talk.end())

    def turn(self) -> bool:
        """Read a line and do what it says; False at the end of the talk.

        Raises:
            ZavaError: It cannot be done, and nobody is there to do something else.
        """
        from tasks.core.errors import ZavaError

        # The prompt goes through `input`, so that editing a line knows how long it is.
        words = input("you       " if out.is_terminal else "").strip()
        command, _, rest = words.partition(" ")
        try:
            if command == "/exit":
                return False
            if command in self._commands:
                self._commands[command](rest.strip())
            elif command.startswith("/"):
                self._say(f"There is no {command}.\n{CHAT_HELP}")
            elif words:
                self._answer(words)
        except ZavaError as error:
            if not sys.stdin.isatty():
                raise
            err.print(f"error: {error}", style="red", markup=False, soft_wrap=True)
        return True

    def _answer(self, words: str) -> None:
        try:
            self._runner.run(self._both(words) if len(self._talks) > 1 else self._one(words))
        except KeyboardInterrupt:
            self._say("Stopped; what was done stays done.")

    async def _one(self, words: str) -> None:
        from flows.cli.steps import Shown

        talk = self._talks[0]
        if self.as_json:
            await talk.say(words, _json_lines(talk))
            return
        with Shown(out, unfolded=self.unfolded) as shown:
            await talk.say(words, shown)

    async def _both(self, words: str) -> None:
        from flows.cli.beside import Columns

        if self.as_json:
            await asyncio.gather(*(talk.say(words, _json_lines(talk)) for talk in self._talks))
            return
        with Columns(out, [talk.model_id for talk in self._talks], unfolded=self.unfolded) as columns:
            await asyncio.gather(
                *(columns.filled(place, talk, words) for place, talk in enumerate(self._talks)),
            )

    def _model(self, names: str) -> None:
        from tasks.offer import offered

        if not names:
            self._say("\n".join(f"{label:9} {model_id}" for label, model_id in offered(self._config)))
            return
        chosen = _chosen(self._config, names.split())
        if len(chosen) != len(self._talks):
            self._say(f"Name {len(self._talks)}, as many as there are here.")
            return
        for talk, model_id in zip(self._talks, chosen, strict=True):
            talk.model_id = model_id
        self._say(f"From here on {' and '.join(chosen)} answers.")

    def _fold(self, *, unfolded: bool) -> None:
        self.unfolded = unfolded
        self._say("Shown whole." if unfolded else "Shown in a line each.")

    def _reset(self, _: str) -> None:
        for talk in self._talks:
            self._runner.run(talk.forget())
        self._say("Begun anew.")

    def _save(self, name: str) -> None:
        from tasks.keeping import save

        path = Path(name or f"chat-{datetime.now():%Y%m%d-%H%M%S}.json")
        for talk in self._talks:
            here = path if len(self._talks) == 1 else path.with_stem(f"{path.stem}-{_as_name(talk.model_id)}")
            save(talk.messages, here)
            self._say(f"Saved in {here}.")

    def _replay(self, _: str) -> None:
        from tasks.keeping import into_pack

        for talk in self._talks:
            self._say(into_pack(self._config, talk.messages).sentence)

    def _say(self, text: str) -> None:
        err.print(text, style="dim", markup=False, soft_wrap=True)

    def _edit(self) -> None:
        """Let the line be edited, earlier ones come back, and commands complete."""
        try:
            import readline
        except ImportError:  # not everywhere a part of Python
            return
        readline.set_completer_delims(" ")
        readline.set_completer(lambda begun, nth: [*_starting(self._commands, begun), None][nth])
        readline.parse_and_bind("tab: complete")


def _starting(commands: Iterable[str], begun: str) -> list[str]:
    return [command for command in (*commands, "/exit") if command.startswith(begun or " ")]


def _as_name(model_id: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", model_id)


def _json_lines(talk: "Talk") -> "Watch":
    from tasks.talk import told

    return lambda event: typer.echo(json.dumps({"model": talk.model_id, **told(event)}, ensure_ascii=False))
