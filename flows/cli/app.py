"""The commands of `zava`. What they need is imported when they are called, so that help comes at once."""

import typer

from flows.cli import chat, data, deploy, doctor, evaluate, page, promote, replay, report, run, services, upkeep
from flows.cli.common import ZavaGroup

HELP = """Make a small model call tools as reliably as a large one, prove it, and keep it that way.

Exit status: 0 done, 1 the run or its verdict failed, 2 wrong usage or configuration, 3 a service is down.
"""

app = typer.Typer(
    name="zava",
    help=HELP,
    cls=ZavaGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
for command in (
    services.up,
    services.down,
    services.status,
    run.run,
    data.synthesize,
    data.validate,
    data.fetch,
    evaluate.evaluate,
    evaluate.compare,
    report.report,
    report.cost,
    promote.promote,
    promote.rollback,
    chat.chat,
    page.page,
    deploy.deploy,
    upkeep.reconcile,
    upkeep.cleanup,
    upkeep.webhook,
    doctor.doctor,
):
    app.command()(command)
app.add_typer(replay.app, name="replay")
