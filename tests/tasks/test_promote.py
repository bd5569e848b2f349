"""Promotion and rollback in a real MLflow registry, also when a process is killed between any two of its writes."""

import hashlib
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from tasks.champion import champion_here, champion_path, read_champion
from tasks.clients import mlflow_client
from tasks.core.config import Profile, load_profile
from tasks.core.errors import DataError, PromotionError, ServiceError
from tasks.core.promotion import Decision, Promotion
from tasks.model_card import ModelCard, keep_card, served_contract
from tasks.promote import examine, promote, settle
from tasks.registry import CHAMPION, Registry
from tasks.rollback import Order, rollback
from tests.fake_finetuning import FakeFinetuning
from tests.promotions import a_finished_run, a_store, aliases, bundles, holdings, settings

YES = Decision(answer="approved", by="ada", reason="looks good")
WRITES = (
    "create_registered_model",
    "create_model_version",
    "set_registered_model_alias",
    "delete_registered_model_alias",
    "set_registered_model_tag",
    "set_model_version_tag",
    "delete_model_version_tag",
    "log_artifact",
)


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return a_store(tmp_path_factory.mktemp("mlflow"))


@pytest.fixture
def provider() -> Iterator[FakeFinetuning]:
    # It serves no model, so that a champion cannot be asked: that path is in tests/flows.
    with FakeFinetuning() as provider:
        yield provider


@pytest.fixture
def profile(store: Path, provider: FakeFinetuning, tmp_path: Path) -> Profile:
    return load_profile("local", settings(store, tmp_path, provider.base_url))


def take_back(profile: Profile, reason: str = "", key: str = "k") -> str:
    return rollback(profile, Order("bob", reason, key)).restored.model_id


def test_the_first_promotion_leaves_alias_bundle_report_and_the_file_that_agents_read(profile: Profile) -> None:
    run_id = a_finished_run(profile, "ft:one")
    made = promote(profile, run_id, YES)
    assert made.outcome == "promoted"
    assert aliases(profile) == {"champion": "ft:one"}
    client, name = mlflow_client(profile.tracking), profile.promotion.registered_model
    version = client.get_model_version_by_alias(name, "champion")
    model = client.get_logged_model(str(version.source).removeprefix("models:/"))
    assert (model.tags["zava.model_id"], model.params["job_id"]) == ("ft:one", "ftjob-1")
    assert version.tags["zava.provider"] == "local"

    [bundle] = bundles(profile, run_id)
    content = Path(client.download_artifacts(run_id, f"promotion/{bundle}")).read_bytes()
    assert version.tags["zava.bundle_sha256"] == hashlib.sha256(content).hexdigest()
    assert Promotion.model_validate_json(content) == made
    assert client.get_run(run_id).data.tags["zava.promotion"] == "ft:one is the champion."

    champion = read_champion(profile)
    assert champion is not None
    assert (champion.model_id, champion.version, champion.mlflow_run_id) == ("ft:one", "1", run_id)
    assert (champion.base_url, champion.since) == (profile.provider.base_url, made.at)
    report = (profile.workspace / "runs" / run_id / "report.html").read_text()
    assert "ft:one is the champion." in report
    assert '<th scope="row">over calls</th>' in report
    recorded = Path(client.download_artifacts(run_id, "report/report.md")).read_text()
    assert "| gain | passed | +40.0 points | at least +5.0 points |" in recorded


def test_the_next_champion_makes_the_old_one_the_previous(profile: Profile) -> None:
    promote(profile, a_finished_run(profile, "ft:one"), YES)
    made = promote(profile, a_finished_run(profile, "ft:two"), YES)
    assert aliases(profile) == {"champion": "ft:two", "previous": "ft:one"}
    assert made.sentence == "ft:two is the champion in place of ft:one."
    assert "'ft:one', the champion, was not asked" in made.case.evidence.champion_note


def test_promoting_twice_changes_nothing(profile: Profile) -> None:
    promote(profile, a_finished_run(profile, "ft:one"), YES)
    run_id = a_finished_run(profile, "ft:two")
    first = promote(profile, run_id, YES)
    before = holdings(profile)
    assert promote(profile, run_id, YES) == first
    assert holdings(profile) == before


def test_another_run_with_the_model_of_the_champion_leaves_the_aliases(profile: Profile) -> None:
    promote(profile, a_finished_run(profile, "ft:one"), YES)
    before = holdings(profile)
    run_id = a_finished_run(profile, "ft:one")
    made = promote(profile, run_id, YES)
    assert made.outcome == "unchanged"
    assert holdings(profile) == before
    assert len(bundles(profile, run_id)) == 1


def test_the_gate_is_the_one_from_before_the_run_and_not_what_the_profile_says_now(profile: Profile) -> None:
    strict = profile.promotion.model_copy(update={"minimum_gain": 0.5})
    run_id = a_finished_run(profile.model_copy(update={"promotion": strict}), "ft:one")
    made = promote(profile, run_id, YES)
    assert profile.promotion.minimum_gain == 0.05
    assert (made.outcome, [one.rule for one in made.case.verdict.failed]) == ("refused", ["gain"])
    client = mlflow_client(profile.tracking)
    with pytest.raises(Exception, match=r"already logged|Changing param values"):
        client.log_param(run_id, "gate", profile.promotion.model_dump_json())


def test_a_rollback_moves_champion_and_previous_and_leaves_its_bundle(
    profile: Profile, provider: FakeFinetuning
) -> None:
    promote(profile, a_finished_run(profile, "ft:one"), YES)
    run_id = a_finished_run(profile, "ft:two")
    promote(profile, run_id, YES)
    provider.models |= {"ft:one", "ft:two"}
    made = rollback(profile, Order("bob", "wrong refunds", "k"), now=lambda: 1_795_000_000.0)
    assert made.sentence == "ft:one is the champion again, ft:two was taken back."
    assert aliases(profile) == {"champion": "ft:one", "previous": "ft:two"}
    assert champion_here(profile) == "ft:one"
    name = "20261118T110640.000000Z-rollback.json"
    assert name in bundles(profile, run_id)
    kept = json.loads((profile.workspace / "rollbacks" / name).read_text())
    assert (kept["by"], kept["reason"], kept["removed"]["model_id"]) == ("bob", "wrong refunds", "ft:two")
    tags = mlflow_client(profile.tracking).get_model_version(profile.promotion.registered_model, "1").tags
    assert kept["restored_bundle_sha256"] == tags["zava.bundle_sha256"]


def test_a_rollback_of_a_rollback_restores_what_was_there_before_both(
    profile: Profile, provider: FakeFinetuning
) -> None:
    promote(profile, a_finished_run(profile, "ft:one"), YES)
    promote(profile, a_finished_run(profile, "ft:two"), YES)
    provider.models |= {"ft:one", "ft:two"}
    assert [take_back(profile, key=key) for key in "abc"] == ["ft:one", "ft:two", "ft:one"]
    # The same order, such as a task that Prefect tries again, is carried out once.
    assert take_back(profile, key="c") == "ft:one"
    assert aliases(profile) == {"champion": "ft:one", "previous": "ft:two"}


def test_a_model_that_was_taken_back_is_refused_until_it_is_brought_back(
    profile: Profile, provider: FakeFinetuning
) -> None:
    promote(profile, a_finished_run(profile, "ft:one"), YES)
    run_id = a_finished_run(profile, "ft:two")
    promote(profile, run_id, YES)
    provider.models |= {"ft:one", "ft:two"}
    take_back(profile, "wrong refunds", key="a")
    provider.models.clear()
    again = promote(profile, run_id, YES)
    assert [(one.rule, one.note) for one in again.case.verdict.failed] == [("not_rolled_back", "by bob: wrong refunds")]
    assert aliases(profile) == {"champion": "ft:one", "previous": "ft:two"}
    provider.models |= {"ft:one", "ft:two"}
    take_back(profile, key="b")
    provider.models.clear()
    assert promote(profile, run_id, YES).outcome == "promoted"


@pytest.mark.parametrize(("answer", "challenger"), [("declined", {}), ("waiting", {"challenger": "ft:one"})])
def test_a_person_has_the_last_word(profile: Profile, answer: Any, challenger: dict[str, str]) -> None:
    run_id = a_finished_run(profile, "ft:one")
    case = examine(profile, run_id)
    assert aliases(profile) == {"challenger": "ft:one"}
    made = settle(profile, case, Decision(answer=answer, by="bob", reason="not yet"))
    assert made.outcome == answer
    assert aliases(profile) == challenger
    assert not champion_path(profile).exists()
    assert promote(profile, run_id, YES).outcome == "promoted"
    assert aliases(profile) == {"champion": "ft:one"}
    assert [name.split("-")[1] for name in bundles(profile, run_id)] == [f"{answer}.json", "promoted.json"]


def test_a_champion_that_changed_while_a_person_thought_is_not_replaced_unseen(profile: Profile) -> None:
    promote(profile, a_finished_run(profile, "ft:one"), YES)
    slow = examine(profile, a_finished_run(profile, "ft:slow"))
    promote(profile, a_finished_run(profile, "ft:two"), YES)
    with pytest.raises(PromotionError, match=r"is 'ft:two' now, and 'ft:slow' was not held against it\. `zava promote"):
        settle(profile, slow, YES)
    assert aliases(profile)["champion"] == "ft:two"


class Counted:
    """Counts the writes of all MLflow clients and ends the process, so to say, before one of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left: int | None = None
        for name in WRITES:
            monkeypatch.setattr(MlflowClient, name, self._counted(getattr(MlflowClient, name)))

    def _counted(self, write: Any) -> Any:
        def counted(*args: Any, **kwargs: Any) -> Any:
            if self.left is not None:
                if self.left == 0:
                    raise Killed
                self.left -= 1
            return write(*args, **kwargs)

        return counted

    def kill(self, after: int, action: Callable[[], object]) -> bool:
        """Do something and be killed after so many writes; return whether it came to that."""
        self.left = after
        try:
            action()
        except Killed:
            return True
        finally:
            self.left = None
        return False


def begun_anew(profile: Profile) -> None:
    """Forget the registered model; the runs stay."""
    client, name = mlflow_client(profile.tracking), profile.promotion.registered_model
    if client.search_registered_models(f"name='{name}'"):
        client.delete_registered_model(name)


@pytest.mark.slow
def test_a_promotion_killed_before_any_of_its_writes_ends_right_when_run_again(
    profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes = Counted(monkeypatch)
    one, two = (a_finished_run(profile, model_id) for model_id in ("ft:one", "ft:two"))
    for number in range(40):
        begun_anew(profile)
        promote(profile, one, YES)
        killed = writes.kill(number, partial(promote, profile, two, YES))
        made = promote(profile, two, YES)
        assert (made.outcome, made.case.candidate.model_id) == ("promoted", "ft:two"), number
        assert aliases(profile) == {"champion": "ft:two", "previous": "ft:one"}, number
        assert champion_here(profile) == "ft:two", number
        if not killed:
            break
    assert 6 < number < 39


@pytest.mark.slow
def test_a_rollback_killed_before_any_of_its_writes_is_finished_and_not_undone(
    profile: Profile, provider: FakeFinetuning, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes = Counted(monkeypatch)
    for model_id in ("ft:one", "ft:two"):
        promote(profile, a_finished_run(profile, model_id), YES)
    provider.models |= {"ft:one", "ft:two"}
    for number in range(40):
        before = aliases(profile)
        killed = writes.kill(number, partial(take_back, profile, key=f"{number}, killed"))
        # Killed before it was written down, the order is given again; after that, the next order finishes it.
        take_back(profile, key=f"{number}, again" if killed else f"{number}, killed")
        assert aliases(profile) == {"champion": before["previous"], "previous": before["champion"]}, number
        assert champion_here(profile) == before["previous"], number
        if not killed:
            break
    assert 4 < number < 39


def test_a_promotion_that_was_cut_short_is_finished_by_a_rollback_before_it_goes_back(
    profile: Profile, provider: FakeFinetuning, monkeypatch: pytest.MonkeyPatch
) -> None:
    promote(profile, a_finished_run(profile, "ft:one"), YES)
    run_id = a_finished_run(profile, "ft:two")
    with monkeypatch.context() as patch:

        def killed(*args: object) -> None:
            raise Killed

        patch.setattr(Registry, "carry_out", killed)
        with pytest.raises(Killed):
            promote(profile, run_id, YES)
    assert aliases(profile) == {"champion": "ft:one", "challenger": "ft:two"}
    provider.models |= {"ft:one", "ft:two"}
    assert take_back(profile) == "ft:one"
    assert aliases(profile) == {"champion": "ft:one", "previous": "ft:two"}


def test_each_dead_end_names_the_way_out(profile: Profile, provider: FakeFinetuning) -> None:
    with pytest.raises(PromotionError, match=r"No finished run 'nope'.*`zava run` makes one"):
        promote(profile, "nope", YES)
    with pytest.raises(PromotionError, match=r"Nothing to go back to: there is no champion.*`zava promote`"):
        take_back(profile)
    promote(profile, a_finished_run(profile, "ft:one"), YES)
    with pytest.raises(PromotionError, match="'ft:one' is the first champion"):
        take_back(profile)
    promote(profile, a_finished_run(profile, "ft:two"), YES)
    with pytest.raises(PromotionError, match=r"Cannot go back to 'ft:one', version 1: .*the alias 'previous'"):
        take_back(profile)
    assert aliases(profile)["champion"] == "ft:two"


def test_a_run_without_a_gate_is_told_to_run_again(profile: Profile) -> None:
    run_id = a_finished_run(profile, "ft:one")
    client = mlflow_client(profile.tracking)
    bare = client.create_run(client.get_run(run_id).info.experiment_id).info.run_id
    folder = profile.workspace / "runs"
    (folder / run_id).rename(folder / bare)
    with pytest.raises(PromotionError, match=r"began without a gate.*`zava run` makes a run with one"):
        promote(profile, bare, YES)


def test_a_model_that_learned_another_contract_than_is_served_now_is_refused(profile: Profile) -> None:
    run_id = a_finished_run(profile, "ft:old")
    card = ModelCard(
        names=("ft:old",),
        base_model="base",
        job_key="k",
        train_sha256="t",
        contract=served_contract(profile).model_copy(update={"policy_sha256": "another"}),
    )
    keep_card(profile, card)
    with pytest.raises(PromotionError, match=r"than is served now: the policy changed\. Train it again"):
        promote(profile, run_id, YES)
    assert aliases(profile) == {}
    keep_card(profile, card.model_copy(update={"contract": served_contract(profile)}))
    promote(profile, run_id, YES)
    assert aliases(profile) == {"champion": "ft:old"}


def test_a_provider_that_is_down_does_not_stand_in_the_way_of_a_rollback(profile: Profile) -> None:
    for model_id in ("ft:one", "ft:two"):
        promote(profile, a_finished_run(profile, model_id), YES)
    down = profile.provider.model_copy(update={"base_url": "http://127.0.0.1:9/v1"})
    assert take_back(profile.model_copy(update={"provider": down})) == "ft:one"


def test_a_champion_of_another_provider_is_not_used_here(profile: Profile) -> None:
    promote(profile, a_finished_run(profile, "ft:one"), YES)
    hosted = profile.provider.model_copy(update={"kind": "compatible", "base_url": "http://127.0.0.1:9/v1"})
    assert champion_here(profile.model_copy(update={"provider": hosted})) is None


def test_a_version_that_was_registered_by_hand_is_named(profile: Profile) -> None:
    promote(profile, a_finished_run(profile, "ft:one"), YES)
    client, name = mlflow_client(profile.tracking), profile.promotion.registered_model
    version = client.create_model_version(name, source="s3://somewhere/else").version
    client.set_registered_model_alias(name, CHAMPION, str(version))
    with pytest.raises(PromotionError, match=r"Version 2 .* has no tag 'zava.model_id'. Set it"):
        take_back(profile)


def test_a_broken_file_of_the_champion_is_named(profile: Profile) -> None:
    champion_path(profile).parent.mkdir(parents=True)
    champion_path(profile).write_text("{")
    with pytest.raises(DataError, match="remove it, and `zava promote` writes it again"):
        read_champion(profile)


def test_a_registry_that_is_down_is_told_with_the_way_out(profile: Profile, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = a_finished_run(profile, "ft:one")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    tracking = profile.tracking.model_copy(update={"mlflow_uri": "http://127.0.0.1:9"})
    with pytest.raises(ServiceError, match=r"Cannot read the gate of the run in MLflow.*zava status"):
        promote(profile.model_copy(update={"tracking": tracking}), run_id, YES)
