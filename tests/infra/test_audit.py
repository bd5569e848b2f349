"""What an audit of the pinned versions says: one known flaw fails it, and silence is never called clean."""

from typing import Any

import pytest

from infra import audit
from infra.audit import judged

FLAW = {"id": "PYSEC-2024-1", "fix_versions": ["3.1.3"], "aliases": ["CVE-2024-22195"], "description": "..."}
SOUND: dict[str, Any] = {"name": "anyio", "version": "4.14.2", "vulns": []}
WEAK: dict[str, Any] = {"name": "jinja2", "version": "3.1.2", "vulns": [FLAW]}
UNKNOWN: dict[str, Any] = {"name": "torch", "skip_reason": "Dependency not found on PyPI and could not be audited"}


@pytest.mark.parametrize(
    ("packages", "verdict"),
    [
        ([SOUND, SOUND], "clean"),
        ([SOUND, WEAK, UNKNOWN], "vulnerable"),
        ([SOUND, UNKNOWN], "clean"),
        ([UNKNOWN, UNKNOWN], "not audited"),
    ],
)
def test_the_verdict_follows_from_what_was_found(packages: list[dict[str, Any]], verdict: str) -> None:
    found = judged({"dependencies": packages})
    assert found.verdict == verdict
    assert found.unasked == tuple("torch" for one in packages if one is UNKNOWN)


def test_a_flaw_is_named_with_what_mends_it_and_accepted_ones_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    assert judged({"dependencies": [WEAK]}).weak == ("jinja2 3.1.2: PYSEC-2024-1, mended in 3.1.3",)
    monkeypatch.setitem(audit.ACCEPTED, "CVE-2024-22195", "templates are ours alone")
    assert judged({"dependencies": [WEAK]}).verdict == "clean"


def test_a_file_that_pip_audit_cannot_read_is_an_error_and_not_a_pass() -> None:
    with pytest.raises(RuntimeError, match="pip-audit failed"):
        audit.asked("no-such-file.txt")
