"""Chooses the best checkpoint of a job, not the last, by a small set of decisions that neither trains nor judges."""

import hashlib
import math
from pathlib import Path
from typing import NamedTuple

from openai import OpenAI

from tasks import deploy, measure, prepare
from tasks.artifacts import Dataset, workspace
from tasks.clients import openai_client
from tasks.core.config import Profile
from tasks.core.evaluation import DecisionSet, ItemMeta
from tasks.core.metrics import HEADLINE
from tasks.core.training import TrainingJob
from tasks.files import read_bytes, write_atomically
from tasks.provider_errors import translated


class Checkpoint(NamedTuple):
    """A model that a job made on its way; the one it ended with has no step."""

    step: float
    model_id: str


class Scored(NamedTuple):
    """A checkpoint and how it did; of two that did equally well the later one is greater."""

    accuracy: float
    checkpoint: Checkpoint


def checkpoints_of(client: OpenAI, job: TrainingJob) -> list[Checkpoint]:
    """Return the checkpoints of a finished job in order, its own model last.

    Raises:
        ProviderUnavailableError: The provider does not answer.
    """
    with translated(client, f"list the checkpoints of fine-tuning job {job.job_id}"):
        listed = client.fine_tuning.jobs.checkpoints.list(job.job_id, limit=100)
        steps = {held.fine_tuned_model_checkpoint: float(held.step_number) for held in listed}
    steps[str(job.model_id)] = math.inf
    return sorted(Checkpoint(step, model_id) for model_id, step in steps.items())


def best_checkpoint(profile: Profile, job: TrainingJob, dataset: Dataset) -> list[Scored]:
    """Return the checkpoints with their scores, the best first; only the job's own model where there are no others.

    On a provider that deploys, each is deployed to be asked, and all but the best are removed again.

    Raises:
        ProviderUnavailableError: The provider does not answer.
        EvaluationError: Not one decision was answered.
    """
    with openai_client(profile.provider) as client:
        found = checkpoints_of(client, job)
    if len(found) == 1:
        return [Scored(math.nan, found[0])]
    folder = workspace(profile).checkpoint_folder(dataset.split.valid)
    decisions = small_set(prepare.write_eval_items(dataset.split.valid, folder), profile.training.checkpoint_decisions)
    deployments = deploy.deployments_of(profile.provider)
    served = {checkpoint: deployments.serve(checkpoint.model_id) for checkpoint in found}
    scored = sorted(
        (Scored(_accuracy(profile, checkpoint, name, decisions), checkpoint) for checkpoint, name in served.items()),
        reverse=True,
    )
    for loser in scored[1:]:
        if (name := served[loser.checkpoint]) != loser.checkpoint.model_id:
            deployments.remove(name)
    return scored


def _accuracy(profile: Profile, checkpoint: Checkpoint, name: str, decisions: DecisionSet) -> float:
    arm = "last-step" if math.isinf(checkpoint.step) else f"step-{checkpoint.step:.0f}"
    metric = measure.report(profile, arm, name, decisions).metrics.get(HEADLINE)
    return metric.value if metric else 0.0


def small_set(whole: DecisionSet, wanted: int) -> DecisionSet:
    """Return the first decisions of a set as a set of its own, beside it.

    Raises:
        DataError: The set cannot be read, or the folder not written.
    """
    path, meta_path = Path(whole.path).with_name("few.jsonl"), Path(whole.path).with_name("few.meta.jsonl")
    items, metas = (
        b"".join(read_bytes(Path(name)).splitlines(keepends=True)[:wanted]) for name in (whole.path, whole.meta_path)
    )
    write_atomically(path, items)
    write_atomically(meta_path, metas)
    read = [ItemMeta.model_validate_json(line) for line in metas.splitlines()]
    return DecisionSet(
        path=str(path),
        meta_path=str(meta_path),
        items=len(read),
        call_items=sum(meta.kind == "call" for meta in read),
        conversations=len({meta.conversation_id for meta in read}),
        sha256=hashlib.sha256(items).hexdigest(),
    )
