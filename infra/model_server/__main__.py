"""`python -m infra.model_server --port 8766 --data DIR`: start the server."""

import argparse
import gc
import ipaddress
import logging
import os
import sys
from pathlib import Path
from typing import Any, get_args
from urllib.parse import urlsplit

import uvicorn
from transformers.utils.logging import disable_progress_bar

from infra.model_server.app import build_app
from infra.model_server.errors import DataInUseError, VllmMissingError
from infra.model_server.memory import for_models, for_prefixes, gpu_bytes
from infra.model_server.progress import LoraMode
from infra.model_server.settings import BASE_MODELS, GIBIBYTE, GRACE_S, EngineName, Settings
from infra.model_server.webhooks import is_secret


def main(arguments: list[str]) -> None:
    """Serve until interrupted."""
    options = _parser().parse_args(arguments)
    key = os.environ.get(options.api_key_env) or None
    if key is None and not _is_loopback(options.host):
        sys.exit(
            f"--host {options.host} can be reached from other machines, and no key is set. Set {options.api_key_env}, "
            "or stay on 127.0.0.1."
        )
    secret = os.environ.get(options.webhook_secret_env) or None
    if options.webhook_url is not None and not is_secret(secret or ""):
        sys.exit(
            f"--webhook-url {options.webhook_url} needs a secret that signs what is sent there: set "
            f"{options.webhook_secret_env} to 'whsec_' and a key in base64."
        )
    for name in options.fetch:
        _fetch(name, options.models)
    if not options.models.is_dir():
        sys.exit(f"--models {options.models} is not a folder.")
    gpu = gpu_bytes()
    memory = for_models(gpu) if options.memory is None else int(options.memory * GIBIBYTE)
    quieten: Any = disable_progress_bar
    quieten()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        settings = Settings(
            data=options.data.resolve(),
            models=options.models.resolve(),
            api_key=key,
            engine=options.engine,
            lora=options.lora,
            loaded_models_bytes=memory,
            prefix_cache_bytes=for_prefixes(gpu, memory),
            webhook_url=options.webhook_url,
            webhook_secret=secret,
        )
        app = build_app(settings)
    except VllmMissingError as error:
        sys.exit(f"--engine {options.engine}: {error}")
    except (DataInUseError, OSError) as error:
        sys.exit(f"--data {options.data}: {error}")
    # What was imported stays: to look through it for garbage stops all answers for half a second now and then.
    gc.collect()
    gc.freeze()
    uvicorn.run(app, host=options.host, port=options.port, log_level="warning", timeout_graceful_shutdown=GRACE_S)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m infra.model_server", description="A fine-tuning and chat server in the shape of the OpenAI API."
    )
    parser.add_argument("--port", type=int, default=8766)
    parser.add_argument("--host", default="127.0.0.1", help="another host than loopback needs a key")
    parser.add_argument("--data", type=Path, required=True, help="the folder for state, files, jobs and tuned models")
    parser.add_argument("--models", type=Path, default=BASE_MODELS, help="the folder of base models")
    parser.add_argument(
        "--fetch",
        action="append",
        default=[],
        metavar="OWNER/NAME",
        help="first fetch this model of the Hugging Face hub into --models, unless NAME is there; @REVISION may follow",
    )
    parser.add_argument(
        "--api-key-env", default="ZAVA_API_KEY", metavar="NAME", help="the variable that holds the bearer key, if any"
    )
    parser.add_argument(
        "--engine",
        choices=get_args(EngineName),
        default="transformers",
        help="what answers; vllm: for CUDA, starts `vllm serve` for models with a chat template (not yet run on a GPU)",
    )
    parser.add_argument(
        "--lora",
        choices=get_args(LoraMode),
        default="auto",
        help="train an adapter rather than all weights; auto: for models of 200 million parameters and more",
    )
    parser.add_argument(
        "--memory",
        type=float,
        metavar="GIB",
        help="above so many GiB of loaded models the longest unused are unloaded, and a quarter of it bounds how many "
        "sequences are decoded at once (default: 8, or 40 %% of the GPU)",
    )
    parser.add_argument(
        "--webhook-url", type=_http_url, metavar="URL", help="where the end of each job is reported, signed"
    )
    parser.add_argument(
        "--webhook-secret-env",
        default="OPENAI_WEBHOOK_SECRET",
        metavar="NAME",
        help="the variable that holds the secret of the webhook",
    )
    return parser


def _fetch(name: str, models: Path) -> None:
    from infra.model_server.hub import FetchError, fetch

    try:
        sys.stderr.write(f"{name} is {fetch(name, models)}\n")
    except (FetchError, OSError) as error:
        sys.exit(f"--fetch {name}: {error}")


def _http_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise argparse.ArgumentTypeError(f"{text!r} is no http or https address")
    return text


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


if __name__ == "__main__":
    main(sys.argv[1:])
