"""`python -m flows.cli`: the command for services that are started from here."""

from flows.cli import app

app()
