"""From a conversation that went wrong to a story that every later model is held against, and more training like it."""

from prefect import flow

from flows.starting import named
from tasks import stages
from tasks.core.config import Profile
from tasks.failing import Transcript


@flow(name="add-transcript", flow_run_name=named("add a transcript to"))
def add_transcript(profile: Profile, transcript: Transcript) -> str:
    """Put a failing transcript into the replay pack and the scenario mix; return the id of its story."""
    return stages.taking_in(profile, transcript)
