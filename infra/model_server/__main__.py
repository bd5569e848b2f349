"""`python -m infra.model_server --port 8766 --data DIR`: start the server."""

import argparse
import ipaddress
import logging
import os
import sys
from pathlib import Path
from typing import Any

import uvicorn
from transformers.utils.logging import disable_progress_bar

from infra.model_server.app import build_app
from infra.model_server.errors import DataInUseError
from infra.model_server.settings import BASE_MODELS, Settings


def main(arguments: list[str]) -> None:
    """Serve until interrupted."""
    options = _parser().parse_args(arguments)
    key = os.environ.get(options.api_key_env) or None
    if key is None and not _is_loopback(options.host):
        sys.exit(
            f"--host {options.host} can be reached from other machines, and no key is set. Set {options.api_key_env}, "
            "or stay on 127.0.0.1."
        )
    if not options.models.is_dir():
        sys.exit(f"--models {options.models} is not a folder.")
    quieten: Any = disable_progress_bar
    quieten()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        app = build_app(Settings(data=options.data.resolve(), models=options.models.resolve(), api_key=key))
    except (DataInUseError, OSError) as error:
        sys.exit(f"--data {options.data}: {error}")
    uvicorn.run(app, host=options.host, port=options.port, log_level="warning", timeout_graceful_shutdown=5)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m infra.model_server", description="A fine-tuning and chat server in the shape of the OpenAI API."
    )
    parser.add_argument("--port", type=int, default=8766)
    parser.add_argument("--host", default="127.0.0.1", help="another host than loopback needs a key")
    parser.add_argument("--data", type=Path, required=True, help="the folder for state, files, jobs and tuned models")
    parser.add_argument("--models", type=Path, default=BASE_MODELS, help="the folder of base models")
    parser.add_argument(
        "--api-key-env", default="ZAVA_API_KEY", metavar="NAME", help="the variable that holds the bearer key, if any"
    )
    return parser


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


if __name__ == "__main__":
    main(sys.argv[1:])
