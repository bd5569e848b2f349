"""`zava report` and `zava cost`: what stored runs say, made again."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from flows.cli.common import JsonOption, ProfileOption, SetOption, out, print_json, read_profile

if TYPE_CHECKING:
    from tasks.core.cost import ArmCost, CostReport
    from tasks.run_comparison import RunComparison
    from tasks.stored import StoredRun

RunsArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="[RUN...]", help="MLflow run ids, or how they begin, or folders; default: the last run."),
]
RunArgument = Annotated[
    str | None, typer.Argument(metavar="[RUN]", help="An MLflow run id, or how it begins, or a folder; default: last.")
]
OutputOption = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FOLDER", help="Where the pages go; default: the workspace.")
]
ConversationsOption = Annotated[int, typer.Option("--conversations", min=1, help="How many a month, for break-evens.")]


def report(
    runs: RunsArgument = None,
    profile: ProfileOption = "local",
    overrides: SetOption = None,
    output: OutputOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make the report of a stored run again; of several runs, compare their tuned models on one page.

    Runs are compared on one decision set only. Needs no service: all lies in the workspace.

    Example: `zava report 3a8844e3 4f8655b8 --output comparison`
    """
    from tasks.stored import stored_run

    config = read_profile(profile, overrides)
    found = [stored_run(config, name) for name in runs or ()] or [stored_run(config)]
    if len(found) > 1:
        _compare(found, output or config.workspace / "comparisons", as_json)
        return
    from tasks.core.run import verdict
    from tasks.cost import cost_of
    from tasks.report import write_pages

    [run] = found
    pages = write_pages(run.summary, output or run.folder, run.promotion, cost_of(config, run.summary))
    judged = verdict(run.summary.comparison)
    if as_json:
        print_json({"better": judged.better, "verdict": judged.sentence, "pages": pages})
    else:
        out.print(judged.sentence, *pages, sep="\n", markup=False, soft_wrap=True)


def _compare(found: "list[StoredRun]", folder: Path, as_json: bool) -> None:
    from tasks.run_comparison import compare_runs, write_comparison

    summaries = [run.summary for run in found]
    compared = compare_runs(summaries)
    pages = write_comparison(compared, summaries, folder)
    if as_json:
        print_json({**compared.model_dump(mode="json"), "pages": pages})
        return
    out.print(_runs_table(compared))
    out.print(*pages, sep="\n", markup=False, soft_wrap=True)


def _runs_table(compared: "RunComparison") -> Table:
    from tasks.core.metrics import HEADLINE
    from tasks.core.run import interval

    table = Table(box=None, pad_edge=False)
    for heading in ("run", "model", "in %", "gain", "p"):
        table.add_column(heading, justify="left" if heading in {"run", "model"} else "right", overflow="fold")
    for row in compared.runs:
        change = row.against_first
        gain = f"{100 * change.difference:+.1f} ({100 * change.low:.1f}..{100 * change.high:.1f})" if change else ""
        p_value = "" if row.p_holm is None else f"{row.p_holm:.3g}"
        table.add_row(row.run_id[:8], row.model_id, interval(row.metrics.get(HEADLINE)), gain, p_value)
    return table


def cost(
    run: RunArgument = None,
    profile: ProfileOption = "local",
    overrides: SetOption = None,
    conversations: ConversationsOption = 10_000,
    as_json: JsonOption = False,
) -> None:
    """Say what the models of a stored run cost to train, to ask and to keep ready, and where tuning pays off.

    Tokens and times are those that were measured, prices those of configs/prices.yaml; without one it says so. A
    self-hosted model costs machine-hours: its price an hour is `hosting` of an entry of provider local there.

    Example: `zava cost --conversations 50000 --json`
    """
    from tasks.cost import cost_of
    from tasks.stored import stored_run

    config = read_profile(profile, overrides)
    made = cost_of(config, stored_run(config, run).summary, conversations)
    if as_json:
        print_json(made.model_dump(mode="json"))
        return
    out.print(_cost_table(made))
    for line in cost_lines(made):
        out.print(line, markup=False, soft_wrap=True)


def _cost_table(made: "CostReport") -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("in USD", overflow="fold")
    for heading in ("right, %", "training", "1,000 conv.", "hour ready", "s"):
        table.add_column(heading, justify="right", no_wrap=True)
    for arm in made.arms:
        table.add_row(arm.arm, *_cells(arm))
    return table


def _cells(arm: "ArmCost") -> tuple[str, ...]:
    from tasks.cost_words import hours_or_money

    return (
        "-" if arm.accuracy is None else f"{100 * arm.accuracy:.1f}",
        hours_or_money(arm.training, arm.training_hours),
        hours_or_money(arm.inference, arm.machine_hours),
        hours_or_money(arm.hosting, None),
        "-" if arm.latency_p50_s is None else f"{arm.latency_p50_s:.2f}",
    )


def cost_lines(made: "CostReport") -> list[str]:
    """Return what the table does not show: notes, break-evens, what is worth its price, and the sources of prices."""
    from tasks.cost_words import break_even_text, price_text

    takes = "machine-hours" if made.by_hours else "money"
    return [
        *(f"{arm.arm}: {arm.note}" for arm in made.arms if arm.note),
        *(break_even_text(one, made.conversations) for one in made.break_evens),
        f"no other is better for less {takes}: {', '.join(made.best_for_money) or 'not known'}",
        f"no other is better in less time: {', '.join(made.best_for_time) or 'not known'}",
        *map(price_text, made.prices),
    ]
