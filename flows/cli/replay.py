"""`zava replay`: the Noah Brown story with a model, the whole family of such stories, and new members for it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from flows.cli.common import (
    ExitCode,
    JsonOption,
    ProfileOption,
    SetOption,
    err,
    last_model,
    out,
    print_json,
    read_profile,
)
from flows.cli.completing import model_names

if TYPE_CHECKING:
    from tasks.core.config import Profile
    from tasks.family_table import FamilyTable

ModelsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        "-m",
        help="A model id; may be repeated. Default: the base and the last tuned one.",
        autocompletion=model_names,
    ),
]
TranscriptArgument = Annotated[
    Path, typer.Argument(metavar="TRANSCRIPT", help="OpenAI messages: a JSON list, or one message a line.")
]
GoalOption = Annotated[
    Path | None,
    typer.Option("--goal", metavar="FILE", help="The right calls: a JSON list of {name, arguments}."),
]

app = typer.Typer(invoke_without_command=True, rich_markup_mode="markdown")


@app.callback()
def replay(
    context: typer.Context,
    models: ModelsOption = None,
    profile: ProfileOption = "local",
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Play the Noah Brown story with a model on a live sandbox of the shop. Ends with 1 if the last model fails it.

    Example: `zava replay --model zava-base --model ft:zava-base:retail::abc123`
    """
    if context.invoked_subcommand is None:
        _story(read_profile(profile, overrides), models, as_json=as_json)


def _story(config: "Profile", models: list[str] | None, *, as_json: bool) -> None:
    from flows.cli.steps import show_step
    from tasks.measure import story

    stories = []
    for model in models or _both(config):
        if not as_json:
            out.rule(model, align="left")
        played = story(config, model, model, lambda step: None if as_json else show_step(out, step))
        stories.append(played)
        if not as_json:
            style = "bold green" if played.passed else "bold red"
            out.print(f"{'passed' if played.passed else 'failed'} after {played.calls} tool calls", style=style)
            for reason in played.reasons:
                out.print(f"- {reason}", markup=False, soft_wrap=True)
    if as_json:
        print_json([played.model_dump(mode="json") for played in stories])
    if not stories[-1].passed:
        raise typer.Exit(ExitCode.FAILED)


@app.command()
def pack(
    models: ModelsOption = None,
    profile: ProfileOption = "local",
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Play the replay family with each model. Ends with 1 if the last model fails a story.

    Example: `zava replay pack --model zava-base --set replay.seeds=5`
    """
    from flows.cli.progress import StageLines
    from tasks.family_table import FamilyTable
    from tasks.measure_family import family
    from tasks.progress import listening

    config = read_profile(profile, overrides)
    with StageLines(err) as lines, listening(lines):
        reports = [family(config, model, model) for model in models or _both(config)]
    if as_json:
        print_json([report.model_dump(mode="json") for report in reports])
    else:
        _show(FamilyTable.of(reports))
    if reports[-1].passed < len(reports[-1].results):
        raise typer.Exit(ExitCode.FAILED)


@app.command()
def add(
    transcript: TranscriptArgument,
    goal: GoalOption = None,
    profile: ProfileOption = "local",
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a new member of the replay family of a transcript: same customer, same words, on the records it is about.

    Without `--goal`, the end of the transcript is the right one, unless its ids are broken or made up: then only those
    are judged.

    Example: `zava replay add transcript.json --goal calls.json`
    """
    from tasks.replay_add import add_member
    from tasks.world import open_shop

    config = read_profile(profile, overrides)
    member = add_member(transcript, open_shop(config.world), config.replay.folder, goal)
    if as_json:
        print_json(member.model_dump(mode="json"))
        return
    judged = "its ids" if member.goal is None else "its ids and its end"
    people = ", ".join(member.world["users"])
    out.print(
        f"{member.id} in {config.replay.folder}: {people}; {judged} will be judged.", markup=False, soft_wrap=True
    )


def _both(config: "Profile") -> list[str]:
    return [config.training.base_model, *filter(None, [last_model(config)])]


def _show(table: "FamilyTable") -> None:
    shown = Table(box=None, pad_edge=False)
    shown.add_column("stories right")
    for arm in table.arms:
        shown.add_column(arm, justify="right", overflow="fold")
    shown.add_column("of", justify="right")
    for row in table.rows:
        shown.add_row(row.kind.replace("_", " "), *map(str, row.passed), str(row.members))
    out.print(shown)
    for failure in table.failures:
        out.print(f"{failure.arm}, {failure.member_id}: {failure.reasons[0]}", markup=False, soft_wrap=True)
