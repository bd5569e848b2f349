"""Remembers under which contract a model was trained, and refuses to judge it under another."""

from pathlib import Path

from pydantic import ValidationError

from tasks.artifacts import Dataset, workspace
from tasks.core.config import Profile
from tasks.core.contract import Contract, changes, contract_of
from tasks.core.errors import EvaluationError
from tasks.core.evaluation import DecisionSet
from tasks.core.record import Record, sha256_of
from tasks.core.training import TrainingJob
from tasks.files import parse_json_lines, read_bytes, write_atomically
from tasks.world import open_world


class ModelCard(Record):
    """Where a tuned model comes from. `names` are the ids under which it answers."""

    names: tuple[str, ...]
    base_model: str
    job_key: str
    train_sha256: str
    contract: Contract


def served_contract(profile: Profile) -> Contract:
    """Return the contract of the profile's world as it is served now.

    Raises:
        ConfigError: The policy of a server cannot be read.
        DataError: The snapshot is missing or broken.
        ServiceError: The server of the world does not answer.
    """
    world = open_world(profile.world)
    return contract_of(world.policy, world.tools)


def dataset_contract(dataset: Dataset) -> Contract:
    """Return the contract that a dataset was played under: each of its rows holds it.

    Raises:
        DataError: The dataset cannot be read.
    """
    path = Path(dataset.split.train.path)
    _, row = next(parse_json_lines(read_bytes(path), path))
    return contract_of(row["messages"][0]["content"], row["tools"])


def write_card(profile: Profile, dataset: Dataset, job: TrainingJob, served_as: str) -> ModelCard:
    """Write the card of a tuned model under its id and the name that it answers to.

    Raises:
        DataError: The workspace cannot be written.
    """
    card = ModelCard(
        names=tuple(sorted({str(job.model_id), served_as})),
        base_model=job.base_model,
        job_key=job.job_key,
        train_sha256=dataset.split.train.sha256,
        contract=dataset_contract(dataset),
    )
    keep_card(profile, card)
    return card


def keep_card(profile: Profile, card: ModelCard) -> None:
    """Write a card under each of its names.

    Raises:
        DataError: The workspace cannot be written.
    """
    for name in card.names:
        write_atomically(_path(profile, name), card.model_dump_json(indent=2).encode())


def read_card(profile: Profile, name: str) -> ModelCard | None:
    """Return the card of the model that answers under a name, or None for a base model or a stranger."""
    try:
        return ModelCard.model_validate_json(_path(profile, name).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValidationError, UnicodeDecodeError):
        return None


def check_contract(profile: Profile, name: str, decisions: DecisionSet) -> None:
    """See that a model and a decision set belong to the contract that is served now.

    Raises:
        ConfigError: The policy of a server cannot be read.
        ServiceError: The server of the world does not answer.
        EvaluationError: One of them was made under another contract; the message says what changed.
    """
    path = Path(decisions.path)
    _, item = next(parse_json_lines(read_bytes(path), path))
    # The prompt of a decision may be a shorter one on purpose, so only its tools are compared.
    if tools := item["item"].get("tools"):
        served = served_contract(profile)
        asked = served.model_copy(update={"tools": contract_of("", tools).tools})
        if told := changes(asked, served):
            what = f"The decisions in {decisions.path!r} were made"
            raise EvaluationError(_differs(what, told, "Build the dataset again."))
    if drifted := drift(profile, name):
        raise EvaluationError(drifted)


def drift(profile: Profile, name: str) -> str:
    """Return in words how the contract that is served now differs from the one that a model was trained under.

    It is empty where they are the same, and of a base model or a stranger.

    Raises:
        ConfigError: The policy of a server cannot be read.
        ServiceError: The server of the world does not answer.
    """
    card = read_card(profile, name)
    told = changes(card.contract, served_contract(profile)) if card else []
    return _differs(f"Model {name!r} was trained", told, "Train it again: `zava run`.") if told else ""


def _differs(what: str, told: list[str], way_out: str) -> str:
    return f"{what} under another contract than is served now: {', '.join(told)}. {way_out}"


def _path(profile: Profile, name: str) -> Path:
    return workspace(profile).models / f"{sha256_of(name)[:16]}.json"
