"""From a profile to dataset rows and held-out decisions."""

from prefect import flow

from tasks import stages
from tasks.artifacts import Dataset
from tasks.core.config import Profile


@flow(name="build-dataset", flow_run_name="build the dataset of {profile.name}")
def build_dataset(profile: Profile) -> Dataset:
    """Play the scenarios and pass the conversations through the gates; what is there already is used again.

    With a store, a dataset that another machine published is fetched instead, and one that is made here is published.
    """
    if profile.storage.url is None:
        return stages.validation(profile, stages.synthesis(profile))
    return stages.fetching(profile) or stages.publishing(profile, stages.validation(profile, stages.synthesis(profile)))
