"""`python -m infra.model_server.trainer JOB_DIR`: train the job of one folder.

The server starts this and holds the other end of its standard input: when that closes, because the server died, the
trainer ends at once, so that a job is never trained twice. A lock on the folder makes sure of it.

On a machine with several GPUs the server starts `python -m torch.distributed.run --standalone --nproc-per-node GPUS -m
infra.model_server.trainer JOB_DIR`: a process for each, which share the rows of every step through Accelerate.
"""

import errno
import fcntl
import os
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from infra.model_server.errors import RenderingError, TrainingError
from infra.model_server.progress import LOCK_NAME, Failed, ProgressWriter

EXIT_FAILED = 1
EXIT_ORPHANED = 76
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def main(job_dir: Path) -> int:
    """Train, and return the process's exit status."""
    threading.Thread(target=_end_with_the_server, daemon=True).start()
    if os.environ.get("RANK", "0") != "0":
        # The first process holds the lock, and the others wait for it to join them.
        return _train(job_dir)
    with (job_dir / LOCK_NAME).open("w") as lock:
        # Waits for the trainer of a server that was just killed; that one is about to end too.
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _train(job_dir)


def _train(job_dir: Path) -> int:
    # After the lock: these imports take seconds.
    from safetensors import SafetensorError
    from torch import OutOfMemoryError
    from transformers.utils import logging

    from infra.model_server.trainer.run import run_job

    quieten: Any = logging.disable_progress_bar
    quieten()
    try:
        run_job(job_dir)
    except (TrainingError, RenderingError) as error:
        return _fail(job_dir, getattr(error, "code", "training_failed"), str(error))
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            raise
        return _fail(job_dir, "storage_full", f"The disk has no room for the training: {error}")
    except SafetensorError as error:
        if not any(os.strerror(number) in str(error) for number in DISK_ERRORS):
            raise
        return _fail(job_dir, "storage_full", f"The disk has no room for the model: {error}")
    except (MemoryError, OutOfMemoryError):
        return _fail(job_dir, "out_of_memory", "The training needs more memory than there is.")
    return 0


def _fail(job_dir: Path, code: str, message: str) -> int:
    sys.stderr.write(f"{code}: {message}\n")
    # On a full disk even this line may not fit; the server then reads the reason from the log's end.
    with suppress(OSError), ProgressWriter(job_dir) as writer:
        writer.write(Failed(code=code, message=message))
    return EXIT_FAILED


def _end_with_the_server() -> None:
    # Not through `sys.stdin`: a thread that waits in there aborts the interpreter when it ends.
    while os.read(0, 1):
        continue
    os._exit(EXIT_ORPHANED)


if __name__ == "__main__":
    status = main(Path(sys.argv[1]))
    sys.stdout.flush()
    sys.stderr.flush()
    # Not through the interpreter's end: threads of torch.distributed that come back to it then abort the process.
    os._exit(status)
