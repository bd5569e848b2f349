"""`zava synthesize` and `zava validate`: datasets made and datasets checked."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.common import ExitCode, JsonOption, ProfileOption, SetOption, err, out, print_json, read_profile

if TYPE_CHECKING:
    from tasks.core.validation import FileReport

FilesArgument = Annotated[
    list[Path],
    typer.Argument(metavar="FILE...", exists=True, dir_okay=False, help="JSONL files of chat rows, also gzipped."),
]
WorldOption = Annotated[
    str | None,
    typer.Option(metavar="PROFILE", help="Also make all calls again in the shop of this profile."),
]


def synthesize(profile: ProfileOption = "local", overrides: SetOption = None, as_json: JsonOption = False) -> None:
    """Play the scenarios, pass them through the gates and write the dataset; needs no service.

    Example: `zava synthesize --set synthesis.train_conversations=200`
    """
    from flows.cli.progress import StageLines
    from tasks.measure import conversations, dataset
    from tasks.progress import listening

    config = read_profile(profile, overrides)
    with StageLines(err) as lines, listening(lines):
        made = dataset(config, conversations(config))
    if as_json:
        print_json(made.model_dump(mode="json"))
        return
    split = made.split
    for file in (split.train, split.valid, split.heldout):
        out.print(f"{file.split:8} {file.rows:6,} rows       {file.path}", markup=False, soft_wrap=True)
    out.print(f"decisions{made.decisions.items:6,} decisions  {made.decisions.path}", markup=False, soft_wrap=True)
    for gate, count in split.funnel.stopped.items():
        out.print(f"stopped by {gate}: {count:,} of {split.funnel.played:,}", markup=False)


def validate(files: FilesArgument, world: WorldOption = None, as_json: JsonOption = False) -> None:
    """Check chat fine-tuning files of any origin: JSONL in the OpenAI shape, also gzipped and of any size.

    Ends with 0 where a provider would take all files, with 1 at an error, with 2 where a file cannot be read.

    Example: `zava validate train.jsonl valid.jsonl.gz`
    """
    from tasks.core.errors import DataError
    from tasks.validate import validate_file
    from tasks.world import open_shop

    shop = open_shop(read_profile(world, None).world) if world else None
    try:
        reports = [validate_file(file, shop) for file in files]
    except DataError as error:
        err.print(f"error: {error}", style="red", markup=False, soft_wrap=True)
        raise typer.Exit(ExitCode.USAGE) from None
    if as_json:
        print_json([report.model_dump(mode="json") for report in reports])
    else:
        for report in reports:
            _show(report)
    if not all(report.is_good for report in reports):
        raise typer.Exit(ExitCode.FAILED)


def _show(report: "FileReport") -> None:
    for found in report.findings:
        place = ":".join(part for part in (found.file, str(found.line or ""), found.path) if part)
        style = "red" if found.severity == "error" else "yellow"
        out.print(
            f"{found.severity}: {place}: {found.message} -> {found.remedy}", style=style, markup=False, soft_wrap=True
        )
    for severity, counts in (("errors", report.errors), ("warnings", report.warnings)):
        if counts:
            shown = ", ".join(f"{code} {count:,}" for code, count in counts.items())
            out.print(f"{severity}: {shown}", markup=False, soft_wrap=True)
    rate = report.rows / report.seconds if report.seconds else 0.0
    out.print(
        f"{report.file}: {report.good_rows:,} of {report.rows:,} rows are good, {report.bytes / 1e6:,.1f} MB, "
        f"about {report.tokens:,} tokens, {report.longest_row_tokens:,} at most in a row ({rate:,.0f} rows/s)",
        markup=False,
        soft_wrap=True,
    )
