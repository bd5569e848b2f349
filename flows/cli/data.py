"""`zava synthesize` and `zava validate`: datasets made and datasets checked."""

from pathlib import Path
from typing import Annotated

import typer

from flows.cli.common import ExitCode, JsonOption, ProfileOption, SetOption, err, out, print_json, read_profile

FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="A JSONL file of dataset rows.")]
SHOWN_FAULTS = 20


def synthesize(profile: ProfileOption = "local", overrides: SetOption = None, as_json: JsonOption = False) -> None:
    """Play the scenarios, pass them through the gates and write the dataset; needs no service but a teacher's models.

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


def validate(file: FileArgument, as_json: JsonOption = False) -> None:
    """Check each line of a dataset file: form, tool calls and where each argument comes from. Ends with 1 at a fault.

    Example: `zava validate .zava/datasets/0123456789abcdef/train.jsonl`
    """
    from tasks.validate import validate_file

    report = validate_file(file)
    if as_json:
        print_json(report.model_dump(mode="json"))
    else:
        for fault in report.faults[:SHOWN_FAULTS]:
            where = "" if fault.turn is None else f", message {fault.turn}"
            out.print(f"line {fault.line}{where}: {fault.gate}: {fault.reason}", markup=False, soft_wrap=True)
        more = report.rows - report.passed - min(len(report.faults), SHOWN_FAULTS)
        if more:
            out.print(f"... and {more:,} more lines")
        rate = report.rows / report.seconds if report.seconds else 0.0
        out.print(f"{report.passed:,} of {report.rows:,} lines are good ({rate:,.0f} lines/s)")
    if report.passed < report.rows:
        raise typer.Exit(ExitCode.FAILED)
