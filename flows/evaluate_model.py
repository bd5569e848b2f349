"""From a model to its scores and its replays."""

from prefect import flow

from flows.build_dataset import build_dataset
from tasks import recording, stages
from tasks.artifacts import Dataset
from tasks.core.config import Profile
from tasks.core.evaluation import EvalReport
from tasks.core.family import FamilyReport
from tasks.core.record import Record
from tasks.core.run import Story, TrackedRun
from tasks.core.standings import ArmOutcome


class Evaluation(Record):
    """What was measured of one arm."""

    report: EvalReport
    story: Story
    family: FamilyReport


@flow(name="evaluate-model", flow_run_name="evaluate {model_id}")
def evaluate_model(
    profile: Profile,
    model_id: str,
    arm: str = "tuned",
    dataset: Dataset | None = None,
    tracked: TrackedRun | None = None,
) -> Evaluation:
    """Ask a model every held-out decision and replay the stories; alone, it builds and records all it needs."""
    if tracked is None:
        with recording.tracked_run(profile) as tracked:
            return evaluate_model(profile, model_id, arm, dataset, tracked)
    dataset = dataset or build_dataset(profile)
    report = stages.evaluation(profile, arm, model_id, dataset.decisions)
    story = stages.replaying(profile, arm, model_id)
    family = stages.replaying_family(profile, arm, model_id)
    recording.arm_recorded(profile, tracked, report, dataset.decisions, story, family)
    return Evaluation(report=report, story=story, family=family)


@flow(name="evaluate-arms", flow_run_name="evaluate the other arms of {profile.name}")
def evaluate_arms(
    profile: Profile, base_id: str, tuned_id: str, dataset: Dataset, tracked: TrackedRun
) -> list[ArmOutcome]:
    """Measure what the profile wants beside base and tuned, such as the base with examples, or a teacher."""
    outcomes = [stages.other_arm(profile, arm, base_id, tuned_id, dataset) for arm in profile.evaluation.arms]
    for outcome in outcomes:
        if outcome.report:
            recording.arm_recorded(profile, tracked, outcome.report, dataset.decisions)
    return outcomes
