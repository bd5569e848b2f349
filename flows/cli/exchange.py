"""`zava evaluate --export` and `--import`: a decision set at a provider's Evals API, and its results back."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.table import Table

from flows.cli.common import ExitCode, out, print_json

if TYPE_CHECKING:
    from tasks.core.config import Profile
    from tasks.core.evaluation import DecisionSet, EvalReport
    from tasks.core.provider_evals import ProviderComparison


def export(config: "Profile", model_id: str, decisions: "DecisionSet", folder: Path, *, as_json: bool) -> None:
    """Write the items and the request bodies, and say what to do with them."""
    from tasks.core.provider_evals import FILE_ID
    from tasks.exchange import export_eval

    written = export_eval(decisions, model_id, config.evaluation, folder)
    if as_json:
        print_json(written._asdict())
        return
    for step in (
        f"POST /files              {written.items}, purpose evals",
        f"POST /evals              {written.eval_body}",
        f"POST /evals/ID/runs      {written.run_body}, with the id of the file in place of {FILE_ID}",
        "GET  /evals/ID/runs/ID/output_items, saved as FILE; then: zava evaluate --import FILE",
    ):
        out.print(step, markup=False, soft_wrap=True)


def compare(decisions: "DecisionSet", report: "EvalReport", results: Path, *, as_json: bool) -> None:
    """Show a provider's results beside ours; ends with 1 where the two graders disagree."""
    from tasks.exchange import compare_with_provider

    compared = compare_with_provider(decisions, report, results)
    if as_json:
        print_json(compared.model_dump(mode="json"))
    else:
        out.print(_table(report.model_id, compared))
    if compared.misgraded:
        raise typer.Exit(ExitCode.FAILED)


def _table(model_id: str, compared: "ProviderComparison") -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in (f"of {compared.items:,} decisions", "n"):
        table.add_column(heading, justify="right" if heading == "n" else "left", overflow="fold")
    for name, count in (
        ("right in both", compared.both_right),
        (f"right only here, {model_id}", compared.only_local_right),
        ("right only at the provider", compared.only_provider_right),
        ("wrong in both", compared.both_wrong),
        ("not in the provider's results", compared.missing),
        ("errored at the provider", compared.errored),
        ("answers graded again here", compared.regraded),
        ("graded otherwise there", len(compared.misgraded)),
    ):
        table.add_row(name, f"{count:,}")
    table.add_row("McNemar p", f"{compared.p_value:.3g}")
    return table
