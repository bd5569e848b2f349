"""`python -m infra.audit constraints.txt`: are pinned versions known to be vulnerable? pip-audit asks PyPI.

Ends with 1 where one is, and with 0 and a plain word where PyPI's advisories cannot be reached: that is no clean bill.
"""

import json
import subprocess
import sys
from typing import Any, Literal, NamedTuple

# Known, and of no harm here: the id of the advisory, and why.
ACCEPTED: dict[str, str] = {}


class Audit(NamedTuple):
    """What came of an audit; `unasked` are the packages that nobody answered for."""

    verdict: Literal["clean", "vulnerable", "not audited"]
    weak: tuple[str, ...]
    unasked: tuple[str, ...]


def judged(report: dict[str, Any]) -> Audit:
    """Return what pip-audit's JSON says; where no package could be asked about, nothing was audited."""
    packages = report["dependencies"]
    unasked = tuple(one["name"] for one in packages if "skip_reason" in one)
    weak = tuple(
        f"{one['name']} {one['version']}: {flaw['id']}, mended in {', '.join(flaw['fix_versions']) or 'no version'}"
        for one in packages
        for flaw in one.get("vulns", ())
        if not {flaw["id"], *flaw.get("aliases", ())} & set(ACCEPTED)
    )
    if weak:
        return Audit("vulnerable", weak, unasked)
    return Audit("not audited" if len(unasked) == len(packages) else "clean", (), unasked)


def asked(requirements: str) -> Audit:
    """Run pip-audit over a file of pinned versions, without installing any."""
    command = ["-r", requirements, "--no-deps", "--disable-pip", "--format", "json", "--progress-spinner", "off"]
    done = subprocess.run([sys.executable, "-m", "pip_audit", *command], capture_output=True, text=True, check=False)
    try:
        return judged(json.loads(done.stdout))
    except ValueError:
        if any(sign in done.stderr for sign in ("ConnectionError", "Timeout", "ServiceError", "ProxyError")):
            return Audit("not audited", (), ())
        raise RuntimeError(f"pip-audit failed: {done.stderr[-2000:]}") from None


def main(requirements: str) -> int:
    """Tell the verdict; return 1 where a version is vulnerable."""
    found = asked(requirements)
    if found.verdict == "not audited":
        sys.stdout.write(
            "NOT AUDITED: the advisories of PyPI cannot be reached from here. Run `make audit` where they can.\n"
        )
        return 0
    for line in found.weak:
        sys.stdout.write(f"{line}\n")
    beside = f"; not known to PyPI: {', '.join(found.unasked)}" if found.unasked else ""
    sys.stdout.write(f"{requirements}: {found.verdict}{beside}\n")
    return 1 if found.weak else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
