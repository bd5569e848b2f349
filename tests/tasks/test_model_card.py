"""A model is judged only under the contract that it was trained under."""

import json
from pathlib import Path

import pytest

from tasks import model_card, reconcile
from tasks.artifacts import Dataset
from tasks.core.config import Profile, load_profile
from tasks.core.contract import Contract, changes
from tasks.core.dataset import line_of
from tasks.core.errors import EvaluationError
from tasks.report import write_report
from tasks.world import open_shop, served_tools
from tests import runs
from zava_mcp import policy


@pytest.fixture
def profile(tmp_path: Path) -> Profile:
    return load_profile("local", (f"workspace={tmp_path}",))


@pytest.fixture
def dataset(profile: Profile, tmp_path: Path) -> Dataset:
    """A dataset whose rows hold what the shop serves now."""
    tools = served_tools(open_shop(profile.world))
    dataset = Dataset(split=runs.a_split(tmp_path), decisions=runs.a_decision_set(tmp_path))
    row = {"messages": [{"role": "system", "content": policy.text()}], "tools": tools}
    Path(dataset.split.train.path).write_bytes(line_of(row) + b"\n")
    Path(dataset.decisions.path).write_bytes(line_of({"item": row}) + b"\n")
    return dataset


def taught_another(profile: Profile, dataset: Dataset) -> None:
    """Let the model's card say that a tool was another one and that there was one more."""
    card = model_card.write_card(profile, dataset, runs.a_job(), "answers-here")
    tools = {**card.contract.tools, "cancel_pending_order": "0" * 64, "sing": "1" * 64}
    another = card.model_copy(update={"contract": Contract(policy_sha256="2" * 64, tools=tools)})
    for path in (profile.workspace / "models").iterdir():
        path.write_text(another.model_dump_json())


def test_a_model_of_the_contract_that_is_served_is_judged(profile: Profile, dataset: Dataset) -> None:
    card = model_card.write_card(profile, dataset, runs.a_job(), "answers-here")
    assert card.contract == model_card.served_contract(profile)
    for name in ("answers-here", str(runs.a_job().model_id), "a-base-model"):
        model_card.check_contract(profile, name, dataset.decisions)


def test_a_model_of_another_contract_is_refused_with_what_changed(profile: Profile, dataset: Dataset) -> None:
    taught_another(profile, dataset)
    with pytest.raises(EvaluationError, match="Train it again") as caught:
        model_card.check_contract(profile, "answers-here", dataset.decisions)
    told = str(caught.value)
    assert "the policy changed, tool 'cancel_pending_order' changed, tool 'sing' is gone" in told


def test_a_model_of_another_contract_is_found_by_reconcile_and_trained_anew_where_the_profile_wants_it(
    profile: Profile, dataset: Dataset, tmp_path: Path
) -> None:
    write_report(runs.a_summary(tmp_path / "last", model_id="answers-here"), tmp_path / "runs" / "m1")
    model_card.write_card(profile, dataset, runs.a_job(), "answers-here")
    assert reconcile.drifted_models(profile) == []
    taught_another(profile, dataset)
    [found] = reconcile.drifted_models(profile)
    assert (found.kind, found.id, found.outcome) == ("model", "answers-here", "reported")
    assert "tool 'sing' is gone" in found.note
    wanting = load_profile("local", (f"workspace={tmp_path}", "world.retrain=true"))
    assert reconcile.training_due(profile, [found]) is None
    assert reconcile.training_due(wanting, [found]) == wanting
    assert reconcile.training_due(wanting, []) is None


def test_decisions_of_another_contract_are_refused(profile: Profile, dataset: Dataset) -> None:
    path = Path(dataset.decisions.path)
    item = json.loads(path.read_text())
    del item["item"]["tools"][0]
    path.write_bytes(line_of(item) + b"\n")
    with pytest.raises(EvaluationError, match=r"is new\. Build the dataset again"):
        model_card.check_contract(profile, "a-base-model", dataset.decisions)


def test_equal_contracts_have_no_changes_and_one_fingerprint() -> None:
    one, other = (Contract(policy_sha256="p", tools=dict(pairs)) for pairs in ([("a", "1"), ("b", "2")],) * 2)
    assert changes(one, other) == []
    assert one.fingerprint == other.fingerprint
