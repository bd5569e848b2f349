"""What a person sees of a run in Prefect's UI and of several in MLflow's, in a real browser, each with its picture.

    python -m tests.watching --profile smoke    # the last two runs of a workspace whose services are up

draws the pictures of `docs/pictures` anew.
"""

import argparse
import io
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page

from tasks.artifacts import summaries
from tasks.clients import mlflow_client
from tasks.core.config import Profile, load_profile
from tasks.core.run import RunSummary
from tasks.track_steps import PREFIX
from tests.browser import a_page, picture

PICTURES = Path("docs/pictures")
LOSS = f"{PREFIX}train_loss"
PATIENCE_MS = 120_000
COLOURS = 96
# The panel of an assistant that is not there.
WITHOUT_ASSISTANT = """
for (const key of ["mlflow.assistant.fab.autoOpenedOnFirstLoad_v1", "mlflow.assistant.panelOpen_v1"])
  localStorage.setItem(key, key.includes("auto") ? "true" : "false");
"""


class Seen:
    """The pages of two UIs, one after another."""

    def __init__(self, page: Page, folder: Path) -> None:
        """Draw pictures into the folder."""
        self.page = page
        self._folder = folder
        page.set_default_timeout(PATIENCE_MS)
        page.add_init_script(WITHOUT_ASSISTANT)

    def run_in_prefect(self, summary: RunSummary) -> str:
        """Open the flow run; return what the page says of it and of the flows in it."""
        self.page.goto(summary.prefect.address)
        self.page.get_by_text(summary.prefect.name).first.wait_for()
        self.page.get_by_text("Completed").first.wait_for()
        self._draw("prefect-run")
        self.page.get_by_text("Subflow Runs", exact=True).click()
        self.page.get_by_text("build-dataset").first.wait_for()
        return self.page.inner_text("body")

    def comparison(self, mlflow: str, experiment_id: str, run_ids: Sequence[str], name: str, metric: str) -> str:
        """Open MLflow's comparison of runs, then one metric of them; return what both say."""
        ids, experiments = json.dumps(list(run_ids)), json.dumps([experiment_id])
        self.page.goto(f"{mlflow}/#/compare-runs?runs={ids}&experiments={experiments}")
        self.page.get_by_text(f"Comparing {len(run_ids)} Runs").first.wait_for()
        self.page.get_by_role("link", name="act_accuracy", exact=True).wait_for()
        said = self.page.inner_text("body")
        shown = f"metric={json.dumps(metric)}&plot_metric_keys={json.dumps([metric])}"
        self.page.goto(f"{mlflow}/#/metric?runs={ids}&experiments={experiments}&{shown}")
        self.page.locator(".plot-container").first.wait_for()
        if (steps := self.page.get_by_text("Step", exact=True)).count():
            steps.first.click()  # of several figures a run; by time at first
        self._draw(name)
        return said + self.page.inner_text("body")

    def training(self, tracked_address: str) -> str:
        """Open the charts of a run's training; return what they are of."""
        self.page.goto(f"{tracked_address}/model-metrics")
        self.page.get_by_placeholder("Search metric charts").fill("training/")
        self.page.get_by_text("train_loss").first.wait_for()
        self._draw("mlflow-training")
        return self.page.inner_text("body")

    def conversation(self, mlflow: str, experiment_id: str, trace_id: str) -> str:
        """Open a replayed story, step by step; return what it says."""
        self.page.goto(f"{mlflow}/#/experiments/{experiment_id}/traces?selectedEvaluationId={trace_id}")
        self.page.get_by_text("execute_tool").first.wait_for()
        self._draw("mlflow-conversation")
        return self.page.inner_text("body")

    def _draw(self, name: str) -> None:
        self.page.wait_for_timeout(6000)  # charts grow into their place; these pages never stop asking
        path = picture(self.page, self._folder / f"{name}.png")
        small = Image.open(io.BytesIO(path.read_bytes())).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
        small.save(path, optimize=True)


@contextmanager
def seen(folder: Path) -> Iterator[Seen]:
    """Open a browser whose pictures go into a folder; no page may ask another machine for anything."""
    with a_page(1280, 860) as (page, foreign):
        yield Seen(page, folder)
    assert foreign == []


def arms_of(profile: Profile, summary: RunSummary) -> dict[str, str]:
    """Return the MLflow runs of a run's arms, by name."""
    client, tracked = mlflow_client(profile.tracking), summary.tracked
    children = client.search_runs([tracked.experiment_id], f"tags.`mlflow.parentRunId` = '{tracked.run_id}'")
    return {child.info.run_name: child.info.run_id for child in children}


def story_of(profile: Profile, summary: RunSummary, arm: str) -> str:
    """Return the trace of the story as an arm played it."""
    run_id = arms_of(profile, summary)[arm]
    found = mlflow_client(profile.tracking).search_traces(
        locations=[summary.tracked.experiment_id], run_id=run_id, include_spans=False
    )
    return next(trace.info.trace_id for trace in found if trace.info.tags["mlflow.traceName"] == "replay Noah Brown")


def main() -> None:
    """Draw the last two runs of a workspace."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="local")
    parser.add_argument("--set", action="append", default=[])
    options = parser.parse_args()
    profile = load_profile(options.profile, tuple(options.set))
    last, before = [run for run, _ in zip(summaries(profile), range(2), strict=False)]
    mlflow, experiment = profile.tracking.mlflow_uri, last.tracked.experiment_id
    story = story_of(profile, last, "tuned")
    with seen(PICTURES) as browser:
        browser.run_in_prefect(last)
        browser.comparison(mlflow, experiment, [before.tracked.run_id, last.tracked.run_id], "mlflow-runs", LOSS)
        browser.training(last.tracked.address)
        browser.conversation(mlflow, experiment, story)


if __name__ == "__main__":
    main()
