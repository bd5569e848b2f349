"""What a dataset is made from, as one digest that is known before it is made."""

from tasks import simulate, teacher
from tasks.artifacts import PREPARING, code_sha256, workspace
from tasks.blueprints import read_hints
from tasks.core.config import Profile
from tasks.core.phrases import load_phrases
from tasks.core.record import sha256_of
from tasks.world import open_shop, open_world


def recipe_of(profile: Profile) -> str:
    """Return the digest of all that shapes a dataset: the expert makes the same bytes by the same recipe, anywhere.

    Raises:
        ServiceError: The world does not start or answer.
        DataError: The snapshot, or the file of hints, is broken.
    """
    shape = profile.synthesis.model_dump(mode="json", include=simulate.SHAPE_ONLY)
    gates = profile.validation.model_dump(mode="json")
    return sha256_of([_conversations_key(profile), shape, gates, code_sha256(PREPARING)])


def _conversations_key(profile: Profile) -> str:
    if profile.teacher is None:
        return simulate.simulation_key(profile, open_shop(profile.world), load_phrases(simulate.PHRASES))
    return teacher.teaching_key(profile, profile.teacher, open_world(profile.world), read_hints(profile.world.hints))


def is_played(profile: Profile) -> bool:
    """Return whether the conversations of a profile lie in its workspace.

    Raises:
        ServiceError: The world does not start or answer.
        DataError: The report of the teacher, the snapshot, or the file of hints, is broken.
    """
    folder = workspace(profile).conversations
    if profile.teacher is None:
        shop, phrases = open_shop(profile.world), load_phrases(simulate.PHRASES)
        return all(shard.path.is_file() for shard in simulate.plan_shards(profile, shop, phrases, folder))
    return teacher.finished_report(profile, folder) is not None
