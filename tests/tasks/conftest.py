"""The decisions that planted models are asked."""

import pytest

from tasks import evaluate
from tasks.core.evaluation import DecisionSet
from tasks.evaluate import Decision
from tasks.prepare import write_eval_items
from tests.worlds import prepared


@pytest.fixture(scope="session")
def decision_set(tmp_path_factory: pytest.TempPathFactory) -> DecisionSet:
    folder = tmp_path_factory.mktemp("planted")
    return write_eval_items(prepared(folder, train=1, heldout=14).heldout, folder)


@pytest.fixture(scope="session")
def decisions(decision_set: DecisionSet) -> list[Decision]:
    return evaluate.read_decisions(decision_set)
