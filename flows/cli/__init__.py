"""The `zava` command."""

from flows.cli.app import app

__all__ = ["app"]
