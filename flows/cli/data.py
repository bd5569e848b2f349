"""`zava synthesize`, `zava validate` and `zava fetch`: datasets made, checked, and fetched from another machine."""

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
StoredArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="An address in the store, a digest, or the id of an MLflow run.")
]
FolderOption = Annotated[
    Path, typer.Option("--to", metavar="FOLDER", help="Where to put the files; made when missing.")
]


def synthesize(profile: ProfileOption = "local", overrides: SetOption = None, as_json: JsonOption = False) -> None:
    """Play the scenarios, pass them through the gates and write the dataset; needs no service but a teacher's models.

    Prints how varied the words of the first thousand training conversations are, and what each gate stopped.

    Example: `zava synthesize --set synthesis.train_conversations=200`
    """
    from flows.cli.progress import StageLines
    from tasks.progress import listening
    from tasks.storing import dataset_of

    config = read_profile(profile, overrides)
    with StageLines(err) as lines, listening(lines):
        made = dataset_of(config)
    if as_json:
        print_json(made.model_dump(mode="json"))
        return
    split = made.split
    for file in split.files:
        out.print(f"{file.name:13} {file.rows:6,} rows       {file.path}", markup=False, soft_wrap=True)
    if made.address:
        out.print(f"published{'':15}       {made.address}", markup=False, soft_wrap=True)
    items, path = made.decisions.items, made.decisions.path
    out.print(f"{'decisions':13} {items:6,} decisions  {path}", markup=False, soft_wrap=True)
    for said in split.variety:
        out.print(
            f"{said.speaker:9}{said.utterances:6,} utterances, {said.distinct:,} distinct, {said.wordings:,} without "
            f"ids and numbers; distinct-1/2/3: {said.distinct_1:.3f} {said.distinct_2:.3f} {said.distinct_3:.3f}",
            markup=False,
            soft_wrap=True,
        )
    for gate, count in split.funnel.stopped.items():
        out.print(f"stopped by {gate}: {count:,} of {split.funnel.played:,}", markup=False)


def validate(files: FilesArgument, world: WorldOption = None, as_json: JsonOption = False) -> None:
    """Check chat fine-tuning files of any origin: JSONL in the OpenAI shape, also gzipped and of any size.

    Ends with 0 where a provider would take all files, with 1 at an error, with 2 where a file cannot be read.

    Example: `zava validate train.jsonl valid.jsonl.gz`
    """
    from flows.cli.progress import StageLines
    from tasks.core.errors import DataError
    from tasks.progress import listening
    from tasks.validate import validate_file
    from tasks.world import open_world

    replayed = open_world(read_profile(world, None).world) if world else None
    try:
        with StageLines(err) as lines, listening(lines):
            reports = [validate_file(file, replayed) for file in files]
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


def fetch(
    name: StoredArgument,
    folder: FolderOption = Path("."),
    profile: ProfileOption = "local",
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fetch a dataset or the report of a run from the profile's store, and check every file by its SHA-256.

    A run fetches its dataset by itself where another machine has made the same.

    Example: `zava fetch s3://bucket/zava/runs/1f0c... --to report --set storage.url=s3://bucket/zava`
    """
    from tasks import storing

    manifest = storing.fetch(read_profile(profile, overrides), name, folder)
    if as_json:
        print_json(manifest.model_dump(mode="json"))
        return
    for file in manifest.files:
        out.print(f"{file.sha256[:12]}  {file.bytes:12,} bytes  {folder / file.name}", markup=False, soft_wrap=True)


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
