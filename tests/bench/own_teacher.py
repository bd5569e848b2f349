"""The tuned model of this project as the teacher's agent: what passes every gate, and what goes wrong.

Run from the root while the model server runs (after `make run` or `zava up`): `make teacher`, or
`python -m tests.bench.own_teacher [--model MODEL] [--conversations 24] [--server URL]`. The model is the champion of
the workspace if none is named. Every tool call is made on a sandbox of the shop; the customer follows a script.
"""

import json
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from tasks.teacher import teach
from tests.fake_provider import FakeProvider
from tests.own_agent import customer, own_agent


def champion() -> str:
    """Return the model that the default workspace holds for its best."""
    return str(json.loads(Path(".zava/champion.json").read_text())["model_id"])


def main(
    model: Annotated[str, typer.Option(help="Model of the server; the champion if left out.")] = "",
    conversations: Annotated[int, typer.Option(min=3, help="Conversations to hold.")] = 24,
    server: Annotated[str, typer.Option(help="Where the models are served.")] = "http://127.0.0.1:8766/v1",
) -> None:
    """Hold the conversations and print how many passed; end with 1 where none did."""
    with tempfile.TemporaryDirectory() as folder, FakeProvider(customer) as people:
        profile = own_agent(server, model or champion(), people.base_url, train=conversations - 2)
        report = teach(profile, Path(folder)).report
    typer.echo(report.sentence())
    for fault, count in report.faults.items():
        typer.echo(f"{count:5}  {fault}")
    raise SystemExit(not report.kept)


if __name__ == "__main__":
    typer.run(main)
