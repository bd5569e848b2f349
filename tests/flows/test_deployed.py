"""Flows as a worker runs them: with parameters that came as JSON."""

from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.flow_engine import run_flow
from prefect.flows import Flow

from flows.build_dataset import build_dataset
from flows.evaluate_model import evaluate_model
from flows.promote_model import promote_model, rollback_model
from flows.retrain import retrain
from flows.train_model import train_model
from tests.loop import Shared

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_server")]


@pytest.mark.parametrize(
    ("flow", "more", "name"),
    [
        (build_dataset, {}, "build the dataset of local"),
        (train_model, {}, "train base"),
        (evaluate_model, {"model_id": "base", "arm": "base"}, "evaluate base"),
        (retrain, {}, "retrain local by hand 20"),
    ],
    ids=["build", "train", "evaluate", "retrain"],
)
def test_each_flow_runs_alone_from_json_parameters(
    flow: Flow[..., Any], more: dict[str, str], name: str, shared: Shared
) -> None:
    parameters = {"profile": shared.profile.model_dump(mode="json"), **more}
    with get_client(sync_client=True) as client:
        created = client.create_flow_run(flow, parameters=parameters)
        run_flow(flow, flow_run=created)
        done = client.read_flow_run(created.id)
    assert done.state is not None
    assert done.state.is_completed()
    assert done.name.startswith(name)


@pytest.mark.parametrize("flow", [build_dataset, train_model, evaluate_model, promote_model, rollback_model, retrain])
def test_each_flow_shows_the_profile_as_a_form(flow: Flow[..., Any]) -> None:
    definitions = flow.parameters.definitions
    assert {"Profile", "SynthesisConfig", "TrainingConfig", "PromotionRules"} <= set(definitions)
