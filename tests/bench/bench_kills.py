"""kill -9 of the server and of the trainer at random moments over their jobs; prints how the jobs ended.

python -m tests.bench.bench_kills [--server 10] [--trainer 10] [--seed 1] [--longest 20]

The server's job must succeed with each event once; a trainer's job must fail with its reason, unless the kill came
after its end. Any other outcome ends the run with an assertion.
"""

import argparse
import json
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.infra.model_server import kills, live, tiny


def main() -> int:
    """Run the kills, print what came of them as JSON, and return 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", type=int, default=10, help="kills of the server, over one job")
    parser.add_argument("--trainer", type=int, default=10, help="kills of a trainer, each over a job of its own")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--longest", type=float, default=20.0, help="a kill comes within so many seconds")
    options = parser.parse_args()
    draw = random.Random(options.seed)
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        tiny.build(Path(folder) / "models" / "tiny")
        server = live.ServerProcess(Path(folder) / "data", Path(folder) / "models")
        server.start()
        with server.client:
            survived = kills.kill_server(server, options.server, draw, options.longest)
            ended = [kills.kill_trainer(server, draw, options.longest).status for _ in range(options.trainer)]
        server.stop()
    figures = {
        "server_kills": options.server,
        "job_after_them": survived.status,
        "trainer_kills": options.trainer,
        "jobs_after_them": {status: ended.count(status) for status in sorted(set(ended))},
        "seconds": round(time.monotonic() - start),
    }
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
