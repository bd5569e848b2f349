"""A checkout in which a page's commands are run as they are printed: own workspace, own ports, small settings.

The ports that the pages name are replaced by free ones in the commands, and put back in what they print.
"""

import doctest
import json
import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import yaml

from tasks.core.config import ServicesConfig
from tests.docs.blocks import Block
from tests.ports import free_port

ROOT = Path(__file__).parents[2]
# The services' own, by their key, and those that pages serve something on.
SERVICES = {name: field.default for name, field in ServicesConfig.model_fields.items() if name.endswith("_port")}
PORTS = (*SERVICES.values(), 8790, 8791)
LONGEST_S = 1200
# Prints this and the status after each block.
END = "--- end of block "
INTERPRETER = f"""
import json, sys, traceback
room = {{"__name__": "__main__"}}
for line in sys.stdin:
    status = 0
    try:
        exec(json.loads(line), room)
    except BaseException:
        traceback.print_exc(file=sys.stdout)
        status = 1
    print({END!r} + str(status), flush=True)
"""
MATCHING = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


class Sandbox:
    """A folder in which the blocks of one page are run, one after the other, as in one terminal."""

    def __init__(self, folder: Path) -> None:
        """Lay the checkout out: its sources as links, its profiles as copies with own ports and small settings."""
        self.home = folder / "zava"
        self._state = folder / "environment"
        self._ports = {default: free_port() for default in PORTS}
        self._interpreter: subprocess.Popen[str] | None = None
        self.home.mkdir(parents=True)
        for source in ROOT.iterdir():
            if source.name == "configs":
                _copied_profiles(source, self.home / "configs", self._named_ports())
            elif not source.name.startswith(".") and source.name != "site":
                (self.home / source.name).symlink_to(source)
        (self.home / ".venv").symlink_to(Path(sys.executable).parent.parent)

    def _named_ports(self) -> dict[str, int]:
        return {name: self._ports[default] for name, default in SERVICES.items()}

    def run(self, block: Block) -> tuple[int, str]:
        """Run a block; return its status and what it printed. Variables and the folder outlive it, as do processes."""
        text = self._with_ports(block.text)
        if block.language == "python":
            return self._interpreted(text)
        script = f'set -a\n[ ! -f {self._state} ] || . {self._state}\ncd "${{HERE:-$PWD}}"\n' + (
            f"trap 'code=$?; HERE=$PWD; export -p >{self._state}; exit $code' EXIT\nset -euo pipefail\n{text}\n"
        )
        printed = self._state.with_name("printed")
        with printed.open("w+", encoding="utf-8") as output:
            # Into a file: processes that a block leaves behind hold a pipe open.
            shell = subprocess.Popen(
                ["bash", "-c", script],
                cwd=self.home,
                env=_environment(),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
            )
            shell.communicate(block.typed or None, timeout=LONGEST_S)
            output.seek(0)
            told = self._with_ports(output.read(), back=True)
        return shell.returncode, told

    def _interpreted(self, text: str) -> tuple[int, str]:
        """Run Python in the page's one interpreter: its blocks follow on one another, and import only once."""
        if self._interpreter is None:
            self._interpreter = subprocess.Popen(
                [".venv/bin/python", "-c", INTERPRETER],
                cwd=self.home,
                env=_environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        asked, told = self._interpreter.stdin, self._interpreter.stdout
        assert asked is not None
        assert told is not None
        asked.write(json.dumps(text) + "\n")
        asked.flush()
        lines: list[str] = []
        for line in told:
            if line.startswith(END):
                return int(line.removeprefix(END)), "".join(lines)
            lines.append(line)
        return self._interpreter.wait(), "".join(lines)

    def write(self, block: Block) -> None:
        """Write the file that a block is; a profile gets the ports of the sandbox beside what it says."""
        path = self.home / block.mark.removeprefix("file:").strip()
        text = self._with_ports(block.text)
        if path.suffix == ".yaml":
            text += yaml.safe_dump({"services": self._named_ports()})
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def _with_ports(self, text: str, *, back: bool = False) -> str:
        swapped = {str(own): str(default) for default, own in self._ports.items()}
        table = swapped if back else {default: own for own, default in swapped.items()}
        return re.sub(rf"\b({'|'.join(table)})\b", lambda found: table[found[1]], text)

    def close(self) -> None:
        """End the services and whatever else still runs in the folder."""
        if self._interpreter:
            self._interpreter.communicate()
        if (self.home / ".zava" / "services").exists():
            down = [".venv/bin/zava", "down"]
            subprocess.run(down, cwd=self.home, env=_environment(), capture_output=True, check=False)
        for process in psutil.process_iter(["cwd"]):
            if process.info["cwd"] and Path(process.info["cwd"]).is_relative_to(self.home):
                with suppress(psutil.NoSuchProcess):
                    process.send_signal(signal.SIGKILL)


def is_as_told(wanted: str, got: str) -> bool:
    """Is this what a page says that is printed?"""
    return doctest.OutputChecker().check_output(wanted, got, MATCHING)


def _environment() -> dict[str, str]:
    own = {
        key: value for key, value in os.environ.items() if not key.startswith(("PREFECT", "MLFLOW", "ZAVA", "PYTEST"))
    }
    return own | {"NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "100"}


def _copied_profiles(source: Path, target: Path, ports: dict[str, int]) -> None:
    """Copy configs/, with `local` as small as `smoke`, and its services on these ports."""
    for file in sorted(source.rglob("*")):
        copy = target / file.relative_to(source)
        if file.is_dir():
            continue
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(file.read_bytes())
    small = yaml.safe_load((source / "smoke.yaml").read_text(encoding="utf-8"))
    for name in ("local", "smoke"):
        profile = {**small, "name": name, "services": ports}
        (target / f"{name}.yaml").write_text(yaml.safe_dump(profile), encoding="utf-8")
