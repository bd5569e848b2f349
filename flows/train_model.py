"""From dataset rows to a tuned model."""

from prefect import flow

from flows.build_dataset import build_dataset
from flows.cancelling import cancel_jobs
from tasks import recording, stages
from tasks.artifacts import Dataset
from tasks.core.config import Profile
from tasks.core.run import TrackedRun
from tasks.core.training import TrainingJob


def prepared(profile: Profile, dataset: Dataset | None, tracked: TrackedRun) -> Dataset:
    """Return the dataset, made where it is not given; refuse a base that dies, or a price that is too high, in time.

    Nothing is asked of the models that are measured, nor trained, before.
    """
    recording.sunset_recorded(profile, tracked, stages.sunset_checked(profile))
    dataset = dataset or build_dataset(profile)
    recording.plan_recorded(profile, tracked, stages.planning(profile, dataset))
    return dataset


@flow(name="train-model", flow_run_name="train {profile.training.base_model}", on_cancellation=[cancel_jobs])
def train_model(profile: Profile, dataset: Dataset | None = None, tracked: TrackedRun | None = None) -> TrainingJob:
    """Upload the rows, adopt or create the job, and wait for its model; alone, it builds and records all it needs."""
    if tracked is None:
        with recording.tracked_run(profile) as tracked:
            return train_model(profile, prepared(profile, dataset, tracked), tracked)
    dataset = dataset or build_dataset(profile)
    rows, valid = stages.uploading(profile, dataset)
    job = stages.fine_tuning(profile, rows, valid)
    recording.job_recorded(profile, tracked, job)
    ended = stages.polling(profile, job, tracked)
    if profile.training.checkpoint_decisions and ended.model_id:
        ended = stages.best_checkpoint(profile, ended, dataset)
    recording.results_recorded(profile, tracked, ended)
    return ended
