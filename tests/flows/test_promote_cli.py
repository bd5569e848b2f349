"""`zava promote` and `zava rollback`, and what `zava chat` uses by them."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest
from typer.testing import CliRunner

from flows.cli import app
from tasks.core.config import Profile, load_profile
from tasks.core.promotion import Promotion, Rollback
from tests.cases import faults, good_evidence
from tests.fake_finetuning import FakeFinetuning
from tests.promotions import a_finished_run, a_store, aliases, bundles, settings

# Found by a history and not by a summary: tests/tasks/test_promote.py and tests/flows/test_promote_model.py.
BY_HISTORY = {"champion", "not_rolled_back"}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return a_store(tmp_path_factory.mktemp("mlflow"))


class Shell:
    """Runs commands on one profile."""

    def __init__(self, given: tuple[str, ...]) -> None:
        self.profile: Profile = load_profile("local", given)
        self._given = [part for override in given for part in ("--set", override)]

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        # The commands set what Prefect and MLflow read; the tests after this one have their own.
        with mock.patch.dict(os.environ):
            result = CliRunner().invoke(app, [arguments[0], *self._given, *arguments[1:]])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def zava(store: Path, tmp_path: Path) -> Iterator[Shell]:
    with FakeFinetuning() as provider:
        yield Shell(settings(store, tmp_path, provider.base_url))


def test_without_a_run_or_a_champion_the_way_out_is_one_line(zava: Shell) -> None:
    code, _, err = zava("promote")
    assert (code, "`zava run` makes one" in err) == (1, True)
    code, _, err = zava("rollback")
    assert (code, "Nothing to go back to" in err, "Traceback" in err) == (1, True, False)


@pytest.mark.slow
def test_the_last_run_is_promoted_refused_by_each_rule_and_taken_back(zava: Shell, tmp_path: Path) -> None:
    first = a_finished_run(zava.profile, "ft:one")
    code, out, _ = zava("promote", "--reason", "first")
    assert code == 0
    assert "ft:one is the champion." in out
    assert "propagation passed +25.0 points at least -5.0 points" in " ".join(out.split())

    for rule, changes in faults(good_evidence(tmp_path)).items():
        if rule in BY_HISTORY:
            continue
        run_id = a_finished_run(zava.profile, "ft:bad", **changes)
        code, out, _ = zava("promote", "--json", "--run", run_id)
        made = Promotion.model_validate_json(out)
        assert (code, made.outcome, [one.rule for one in made.case.verdict.failed]) == (1, "refused", [rule])
        assert len(bundles(zava.profile, run_id)) == 1
    assert aliases(zava.profile) == {"champion": "ft:one"}

    second = a_finished_run(zava.profile, "ft:two")
    assert zava("promote")[0] == 0
    assert zava("promote", "--run", second)[0] == 0
    assert aliases(zava.profile) == {"champion": "ft:two", "previous": "ft:one"}
    with FakeFinetuning(models={"ft:one"}) as provider:
        code, out, _ = zava("rollback", "--json", "--reason", "odd", "--set", f"provider.base_url={provider.base_url}")
    back = Rollback.model_validate_json(out)
    assert (code, back.restored.model_id, back.restored.run_id, back.reason) == (0, "ft:one", first, "odd")
    assert json.loads((zava.profile.workspace / "champion.json").read_text())["model_id"] == "ft:one"
