"""A command on a real terminal, typed at as a person would."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from types import TracebackType
from typing import Self

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]|\r|\x07")


def plain(written: str) -> str:
    """Return what was written without what moves the cursor or colours."""
    return _CONTROL.sub("", written)


class Terminal:
    """A child process whose terminal is ours; `screen` is all that it ever wrote, without colours."""

    def __init__(self, *command: str, columns: int = 100, env: dict[str, str] | None = None) -> None:
        self.screen = ""
        self._read = 0
        self._command = command
        self._columns = columns
        # Whoever runs the tests may have a terminal of another width.
        own = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
        self._env = {**own, "TERM": "xterm-256color", **(env or {})}

    def __enter__(self) -> Self:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, self._columns, 0, 0))
        self._process = subprocess.Popen(
            self._command, stdin=slave, stdout=slave, stderr=slave, env=self._env, start_new_session=True
        )
        os.close(slave)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._master)

    def type(self, line: str) -> None:
        os.write(self._master, line.encode() + b"\n")

    def expect(self, text: str, timeout_s: float = 150.0) -> str:
        """Wait until the text stands after what was expected before, and return what came up to it."""
        deadline = time.monotonic() + timeout_s
        while (found := self.screen.find(text, self._read)) < 0:
            assert time.monotonic() < deadline, f"no {text!r} in {self.screen[self._read :]!r}"
            self._listen()
        came = self.screen[self._read : found + len(text)]
        self._read = found + len(text)
        return came

    def end(self, timeout_s: float = 60.0) -> int:
        """Wait for the end of the command and return its status."""
        deadline = time.monotonic() + timeout_s
        while self._process.poll() is None:
            assert time.monotonic() < deadline, "the command did not end"
            self._listen()
        return self._process.returncode

    def _listen(self) -> None:
        if select.select([self._master], [], [], 0.1)[0]:
            try:
                self.screen += plain(os.read(self._master, 65536).decode(errors="replace"))
            except OSError:  # the other side is closed
                time.sleep(0.05)
