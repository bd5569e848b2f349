"""The loop as a person watches it: a run in Prefect's UI, two compared in MLflow's, in a browser on real servers."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from flows.retrain import retrain
from infra.services import catalog
from tasks.clients import mlflow_client
from tasks.core.config import Profile, TrackingConfig
from tasks.core.metrics import HEADLINE
from tasks.core.run import RunSummary
from tests.browser import chromium
from tests.fake_finetuning import FakeFinetuning, step_events
from tests.loop import a_profile, model_of
from tests.ports import free_port
from tests.watching import LOSS, Seen, arms_of, seen, story_of

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_server"), pytest.mark.timeout(900)]
LARGEST_PICTURE = 200_000


class Ran(NamedTuple):
    """A profile, and two runs of it that differ in their seed and in how long they trained."""

    profile: Profile
    runs: list[RunSummary]


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    chromium()  # without a browser, nothing need be started
    folder = tmp_path_factory.mktemp("mlflow")
    service = catalog.mlflow(free_port(), folder)
    supervisor = catalog.supervisor(folder, (service,))
    try:
        supervisor.up()
        yield service.address
    finally:
        supervisor.down()


@pytest.fixture(scope="module")
def ran(mlflow: str, prefect_server: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ran]:
    folder = tmp_path_factory.mktemp("watched")
    tracking = TrackingConfig(mlflow_uri=mlflow)
    # On the server, so that its UI finds the artifacts.
    mlflow_client(tracking).create_experiment(tracking.experiment)
    with FakeFinetuning(states=["succeeded"], events=step_events(12), models={"base"}) as provider:
        provider.chat = model_of(folder / "workspace")
        profile = a_profile(provider.base_url, folder, f"tracking.mlflow_uri={mlflow}")
        first = retrain(profile)
        provider.events = step_events(20)
        second = retrain(profile.model_copy(update={"training": profile.training.model_copy(update={"seed": 8})}))
        yield Ran(profile, [first, second])


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pictures")


@pytest.fixture(scope="module")
def watched(ran: Ran, pictures: Path) -> dict[str, str]:
    """Return what each page says, by the name of its picture."""
    first, second = ran.runs
    mlflow, experiment = ran.profile.tracking.mlflow_uri, first.tracked.experiment_id
    arms, story = arms_of(ran.profile, second), story_of(ran.profile, second, "tuned")

    def look(browser: Seen) -> dict[str, str]:
        runs = [first.tracked.run_id, second.tracked.run_id]
        return {
            "prefect-run": browser.run_in_prefect(second),
            "mlflow-runs": browser.comparison(mlflow, experiment, runs, "mlflow-runs", LOSS),
            "mlflow-arms": browser.comparison(
                mlflow, experiment, [arms["base"], arms["tuned"]], "mlflow-arms", HEADLINE
            ),
            "mlflow-training": browser.training(second.tracked.address),
            "mlflow-conversation": browser.conversation(mlflow, experiment, story),
        }

    with seen(pictures) as browser:
        return look(browser)


def test_the_run_and_its_parts_are_seen_in_prefect(ran: Ran, watched: dict[str, str]) -> None:
    page = watched["prefect-run"]
    assert ran.runs[1].prefect.name in page
    for part in ("Completed", "build the dataset of local", "train base", "evaluate base", "promote the model of"):
        assert part in page


def test_two_runs_are_compared_in_mlflow(ran: Ran, watched: dict[str, str]) -> None:
    page = watched["mlflow-runs"]
    for text in (*(run.prefect.name for run in ran.runs), "training.seed", "act_accuracy", LOSS):
        assert text in page


def test_base_and_tuned_are_compared_in_mlflow(watched: dict[str, str]) -> None:
    page = watched["mlflow-arms"]
    for text in ("base", "tuned", "ft:", HEADLINE):
        assert text in page


def test_the_loss_is_drawn_and_the_conversation_is_read_in_mlflow(watched: dict[str, str]) -> None:
    for text in (LOSS, "Step"):
        assert text in watched["mlflow-training"]
    for step in ("replay Noah Brown", "execute_tool find_user_id_by_name_zip", "execute_tool update_address"):
        assert step in watched["mlflow-conversation"]


def test_each_page_has_a_small_picture(watched: dict[str, str], pictures: Path) -> None:
    drawn = {path.stem: path.stat().st_size for path in pictures.glob("*.png")}
    assert drawn.keys() == watched.keys()
    assert max(drawn.values()) < LARGEST_PICTURE
