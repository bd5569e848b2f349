"""`zava evaluate` and `zava compare`: models on the fixed set of held-out decisions."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from flows.cli import episodes, exchange, phrasing
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
    from tasks.core.evaluation import DecisionSet, EvalReport

ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        help="A model id; default: the last tuned one, else the base.",
        autocompletion=model_names,
    ),
]
ExportOption = Annotated[
    Path | None,
    typer.Option("--export", metavar="FOLDER", help="Write the set and the requests for the Evals API; asks nothing."),
]
ImportOption = Annotated[
    Path | None,
    typer.Option("--import", metavar="FILE", help="Compare the output items of a run at the Evals API with ours."),
]
EpisodesOption = Annotated[
    Path | None,
    typer.Option("--episodes", metavar="FILE", help="Play whole conversations: tau-bench retail tasks, or 'heldout'."),
]
SnapshotOption = Annotated[
    Path | None, typer.Option("--snapshot", metavar="FILE", help="The shop of the episodes; default: the profile's.")
]
CustomerOption = Annotated[
    str | None, typer.Option("--customer", metavar="MODEL", help="Who plays the customers; default: a script.")
]
PolicyOption = Annotated[
    Path | None,
    typer.Option("--policy", metavar="FILE", help="The agent's policy in episodes; default: Zava's, which is judged."),
]
TrialsOption = Annotated[int, typer.Option("--trials", min=1, help="How often each episode is played, for pass^k.")]
SeenPhrasingOption = Annotated[
    bool,
    typer.Option(
        "--seen-phrasing", help="Ask also the same errands in the words of training, and say what unseen words cost."
    ),
]
FirstArgument = Annotated[str, typer.Argument(metavar="FIRST", help="The model to compare with, such as the base.")]
SecondArgument = Annotated[str, typer.Argument(metavar="SECOND", help="The model in question, such as the tuned one.")]


def evaluate(
    model: ModelOption = None,
    profile: ProfileOption = "local",
    overrides: SetOption = None,
    as_json: JsonOption = False,
    export: ExportOption = None,
    results: ImportOption = None,
    tasks_file: EpisodesOption = None,
    snapshot: SnapshotOption = None,
    customer: CustomerOption = None,
    policy: PolicyOption = None,
    trials: TrialsOption = 1,
    seen_phrasing: SeenPhrasingOption = False,
) -> None:
    """Ask a model every held-out decision of the profile's dataset; answers on disk are not asked again.

    Ctrl-C shows what was answered so far and ends with 130. With `--episodes` it plays whole conversations instead.
    With `--seen-phrasing` it also asks the held-out errands in the words of training, shows both accuracies and their
    difference, which `zava report` then has among the slices, and Ctrl-C shows nothing; the same command goes on.

    Example: `zava evaluate --model zava-base --json`
    """
    from flows.cli.progress import StageLines
    from tasks import measure_phrasing, storing
    from tasks.progress import listening

    if seen_phrasing and (export or results or tasks_file):
        raise typer.BadParameter("--seen-phrasing goes with none of --export, --import and --episodes.")
    config = read_profile(profile, overrides)
    model_id = model or last_model(config) or config.training.base_model
    if tasks_file is not None:
        episodes.play(
            config, model_id, episodes.Wanted(tasks_file, snapshot, customer, policy, trials), as_json=as_json
        )
        return
    with StageLines(err) as lines, listening(lines):
        dataset = storing.dataset_of(config)
        if export is not None:
            exchange.export(config, model_id, dataset.decisions, export, as_json=as_json)
            return
        if seen_phrasing:
            phrasing.show(measure_phrasing.seen_phrasing(config, model_id, dataset), as_json=as_json)
            return
        report = _asked(config, model_id, dataset.decisions)
    if results is not None:
        exchange.compare(dataset.decisions, report, results, as_json=as_json)
    elif as_json:
        print_json(report.model_dump(mode="json"))
    else:
        out.print(_table(report))
    if report.unasked:
        err.print(f"stopped: {report.unasked:,} decisions are unasked; the same command goes on from here")
        raise typer.Exit(ExitCode.INTERRUPTED)


def _asked(config: "Profile", model_id: str, decisions: "DecisionSet") -> "EvalReport":
    """Return the report of a model; where it was interrupted, what there is of it."""
    from tasks import measure

    try:
        return measure.report(config, "model", model_id, decisions)
    except KeyboardInterrupt:
        stopped = measure.partial_report(config, "model", model_id, decisions)
        if stopped is None:
            raise
        return stopped


def _table(report: "EvalReport") -> Table:
    from tasks.core.run import interval

    table = Table(box=None, pad_edge=False)
    table.add_column("in %")
    table.add_column(report.model_id, justify="right", overflow="fold")
    table.add_column("n", justify="right")
    for name, metric in report.metrics.items():
        table.add_row(name.replace("_", " "), interval(metric), f"{metric.n:,}")
    table.add_row("errored", str(report.errored), "")
    table.add_row("seconds, p50 / p95", f"{report.latency_p50_s:.2f} / {report.latency_p95_s:.2f}", "")
    table.add_row("tokens in / out", f"{report.prompt_tokens:,} / {report.completion_tokens:,}", "")
    return table


def compare(
    first: FirstArgument,
    second: SecondArgument,
    profile: ProfileOption = "local",
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare two models decision by decision on the profile's held-out set. Ends with 1 unless SECOND is better.

    Example: `zava compare zava-base ft:zava-base:retail::abc123`
    """
    from flows.cli.outcome import metrics_table
    from flows.cli.progress import StageLines
    from tasks import measure, storing
    from tasks.core.run import verdict
    from tasks.evaluate import compare_reports
    from tasks.progress import listening

    config = read_profile(profile, overrides)
    with StageLines(err) as lines, listening(lines):
        dataset = storing.dataset_of(config)
        base = measure.report(config, "base", first, dataset.decisions)
        tuned = measure.report(config, "tuned", second, dataset.decisions)
        compared = compare_reports(base, tuned, dataset.decisions, config.evaluation)
    judged = verdict(compared)
    if as_json:
        print_json({"better": judged.better, "verdict": judged.sentence, **compared.model_dump(mode="json")})
    else:
        out.print(metrics_table(compared), judged.sentence, sep="\n")
    if not judged.better:
        raise typer.Exit(ExitCode.FAILED)
