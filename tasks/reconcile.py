"""Puts in order what killed workers left behind: runs, jobs, uploads and deployments that belong to nobody any more."""

import re
import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from uuid import UUID

from openai import OpenAI
from openai.types import FileObject
from openai.types.fine_tuning import FineTuningJob
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterParentFlowRunId
from prefect.exceptions import ObjectNotFound
from prefect.states import Crashed

from tasks import liveness, mlflow_store, model_card, sunset, train
from tasks.artifacts import latest_summary, workspace
from tasks.core.config import Profile, TrackingConfig
from tasks.core.finding import Finding
from tasks.core.training import FINISHED, JOB_STATES
from tasks.deploy import deployments_of
from tasks.ledger import Ledger, LedgerEntry
from tasks.provider_errors import translated
from tasks.track import RUN_TAG

# Younger than this, what belongs to nobody may just be on its way to somebody.
GRACE_S = 3600.0
OUR_FILE = re.compile(r"zava-[0-9a-f]{12}-(train|valid)\.jsonl")
KILLED = "Its process was killed; `zava reconcile` found it."


def runs(profile: Profile) -> list[Finding]:
    """End the runs of this workspace whose process was killed, in Prefect and in MLflow.

    Raises:
        ServiceError: MLflow does not answer.
    """
    folder = workspace(profile).alive
    found = []
    for run_id in liveness.dead_runs(folder):
        with get_client(sync_client=True) as client:
            ended = _crash(client, UUID(run_id))
        ended += _end_in_mlflow(profile.tracking, run_id)
        liveness.bury(folder, run_id)
        note = f"Killed; ended in {' and '.join(ended)}." if ended else "Killed; nothing knew it any more."
        found.append(
            Finding(kind="run", id=run_id, outcome="finished", note=f"{note} The next run goes on with its work.")
        )
    return found


def _crash(client: SyncPrefectClient, run_id: UUID) -> list[str]:
    """End a flow run and the runs under it as crashed, where they have not ended."""
    try:
        state = client.read_flow_run(run_id).state
    except ObjectNotFound:
        return []
    below = FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[run_id]))
    for child in client.read_flow_runs(flow_run_filter=below):
        _crash(client, child.id)
    if state is None or state.is_final():
        return []
    client.set_flow_run_state(run_id, Crashed(message=KILLED), force=True)
    return ["Prefect"]


def _end_in_mlflow(tracking: TrackingConfig, run_id: str) -> list[str]:
    with mlflow_store.connected(tracking, "end a killed run") as client:
        experiment = mlflow_store.experiment(client, tracking.experiment)
        found = client.search_runs([experiment], f"tags.`{RUN_TAG}` = '{run_id}' and attributes.status = 'RUNNING'")
        for run in found:
            client.set_tag(run.info.run_id, "zava.ended_by", "reconcile")
            client.set_terminated(run.info.run_id, "KILLED")
    return ["MLflow"] if found else []


def jobs(profile: Profile, client: OpenAI) -> list[Finding]:
    """Adopt the jobs that no run remembers, forget those that are gone, and tell of those that nobody waits for.

    Raises:
        ProviderUnavailableError: The provider does not answer.
    """
    ledger, alive = workspace(profile).ledger, workspace(profile).alive
    listed = {job.id: job for job in _all_jobs(client)}
    entries = [
        entry
        for entry in ledger.entries()
        if _is_of(profile, entry, listed) and not (entry.run_id and liveness.is_alive(alive, entry.run_id))
    ]
    found = [finding for entry in entries if (finding := _settled(client, ledger, entry, listed))]
    known = {entry.job_key for entry in ledger.entries()}
    for job in listed.values():
        key = (job.metadata or {}).get(train.KEY_IN_METADATA)
        if key and key not in known and _is_promising(job):
            ledger.write(key, job_id=job.id, run_id=None)
            known.add(key)
            found.append(_adopted(job))
    return [*found, *_runs_without_a_job(profile, listed)]


def _all_jobs(client: OpenAI) -> list[FineTuningJob]:
    with translated(client, "list the fine-tuning jobs"):
        return list(client.fine_tuning.jobs.list(limit=train.PAGE))


def _is_of(profile: Profile, entry: LedgerEntry, listed: Mapping[str, FineTuningJob]) -> bool:
    """Is an entry about this provider? A workspace may have used several."""
    if entry.request is None:
        return entry.job_id in listed
    return entry.request.provider == profile.provider.place


def _is_promising(job: FineTuningJob) -> bool:
    return JOB_STATES.get(str(job.status), "unknown") not in {"failed", "cancelled"}


def _adopted(job: FineTuningJob) -> Finding:
    note = f"No run of this workspace knew this job, which is {job.status!r}; a run with its profile takes it over."
    return Finding(kind="job", id=job.id, outcome="adopted", note=note)


def _settled(client: OpenAI, ledger: Ledger, entry: LedgerEntry, listed: Mapping[str, FineTuningJob]) -> Finding | None:
    """Bring an entry that no living run holds in line with what the provider says."""
    with ledger.locked(entry.job_key):
        if ledger.read(entry.job_key) != entry:
            return None  # a run has come to it meanwhile
        if entry.job_id is None:
            return _settled_creation(ledger, entry, listed.values())
        # A list may lag behind, so that a job is gone only where it is not found by its id either.
        job = train.known_job(client, entry.job_id, entry.job_key)
        if job is None:
            ledger.forget(entry.job_key)
            note = "The provider no longer knows it; forgotten."
            return Finding(kind="job", id=entry.job_id, outcome="finished", note=note)
    if job.state in FINISHED:
        return None
    note = f"It is {job.provider_state!r} and no run waits for it: run again to go on with it, or cancel it."
    return Finding(kind="job", id=job.job_id, outcome="reported", note=note)


def _settled_creation(ledger: Ledger, entry: LedgerEntry, listed: Iterable[FineTuningJob]) -> Finding | None:
    """Find out whether a creation that was begun, and never heard of again, made a job."""
    taken = ledger.job_ids_of_others(entry.job_key)
    for job in filter(_is_promising, listed):
        by_key = (job.metadata or {}).get(train.KEY_IN_METADATA) == entry.job_key
        by_inputs = not job.metadata and job.id not in taken and entry.request is not None
        if by_key or (by_inputs and entry.request and train.is_made_from(job, entry.request)):
            ledger.write(entry.job_key, job_id=job.id, run_id=entry.run_id, request=entry.request)
            return _adopted(job)
    if time.time() - entry.written_at < GRACE_S:
        return None
    ledger.forget(entry.job_key)
    note = "A creation was begun and made no job; forgotten."
    return Finding(kind="job", id=entry.job_key[:12], outcome="finished", note=note)


def _runs_without_a_job(profile: Profile, listed: Mapping[str, FineTuningJob]) -> Iterator[Finding]:
    """Tell of runs whose job the provider does not know: their model cannot be trained on or asked for again."""
    with mlflow_store.connected(profile.tracking, "look for runs") as client:
        experiment = mlflow_store.experiment(client, profile.tracking.experiment)
        here = f"params.`provider.base_url` = '{profile.provider.base_url}' and tags.`zava.job_id` != ''"
        for run in client.search_runs([experiment], here, max_results=100):
            job_id = run.data.tags["zava.job_id"]
            if job_id not in listed:
                note = f"Its job {job_id} is not at the provider any more."
                yield Finding(kind="run", id=run.info.run_id, outcome="reported", note=note)


def unused_uploads(client: OpenAI, now: float) -> list[FileObject]:
    """Return the files that this project uploaded an hour ago or more and that no job is made from.

    Raises:
        ProviderUnavailableError: The provider does not answer.
    """
    used = {file_id for job in _all_jobs(client) for file_id in (job.training_file, job.validation_file)}
    with translated(client, "list the files"):
        ours = [file for file in client.files.list(purpose="fine-tune") if OUR_FILE.fullmatch(file.filename)]
    return [file for file in ours if file.id not in used and now - file.created_at > GRACE_S]


def idle_things(profile: Profile, client: OpenAI) -> list[Finding]:
    """Tell of uploads without a job and of deployments that this project made, which may cost by the hour.

    Raises:
        ProviderUnavailableError: The provider does not answer.
    """
    found = [
        Finding(kind="upload", id=file.id, outcome="reported", note=f"{file.filename}: no job is made from it.")
        for file in unused_uploads(client, time.time())
    ]
    ours = [held for held in deployments_of(profile.provider).existing() if held.is_ours]
    with translated(client, "list the models"):
        models = {model.id for model in client.models.list()} if ours else set()
    for held in ours:
        what = f"serves {held.model_id}" if held.model_id in models else f"its model {held.model_id} is gone"
        found.append(Finding(kind="deployment", id=held.name, outcome="reported", note=f"{held.state}, {what}."))
    return found


def retiring_bases(profile: Profile, client: OpenAI, today: date) -> list[Finding]:
    """Tell of the bases, of the profile and of its last tuned model, that the provider is about to retire.

    Raises:
        ProviderUnavailableError: The provider does not answer.
        ConfigError: The file of dates is broken.
    """
    last = latest_summary(profile)
    bases = {profile.training.base_model} | ({last.job.base_model} if last else set())
    return [
        Finding(kind="base", id=base, outcome="reported", note=f"{ending.sentence(base)}: train on another one.")
        for base in sorted(bases)
        for ending in sunset.due(profile, client, base, today)
    ]


def drifted_models(profile: Profile) -> list[Finding]:
    """Tell of the last tuned model where policy or tools are others now than those that it was trained under.

    Raises:
        ConfigError: The policy of a server cannot be read.
        ServiceError: The server of the world does not answer.
    """
    last = latest_summary(profile)
    told = model_card.drift(profile, last.model_id) if last else ""
    return [Finding(kind="model", id=last.model_id, outcome="reported", note=told)] if last and told else []


def training_due(profile: Profile, found: Iterable[Finding]) -> Profile | None:
    """Return the profile to train with now that a base is dying or the contract changed; None where none is wanted.

    A base has its successor in the profile; for the contract, the profile says whether to (`world.retrain`).
    """
    kinds = {finding.kind for finding in found}
    if "base" in kinds and (successor := _successor_due(profile)):
        return successor
    return profile if "model" in kinds and profile.world.retrain else None


def _successor_due(profile: Profile) -> Profile | None:
    successor, last = profile.sunset.successor, latest_summary(profile)
    if successor is None:
        return None
    if last and last.job.base_model == successor:
        return None
    training = profile.training.model_copy(update={"base_model": successor})
    return profile.model_copy(update={"training": training})


def removed(profile: Profile, client: OpenAI, findings: Iterable[Finding]) -> list[Finding]:
    """Remove uploads and deployments that `idle_things` found; return what was removed.

    Raises:
        ProviderUnavailableError: The provider does not answer.
    """
    done = []
    for finding in findings:
        if finding.kind == "deployment":
            deployments_of(profile.provider).remove(finding.id)
        elif finding.kind == "upload":
            with translated(client, f"delete file {finding.id}"):
                client.files.delete(finding.id)
        done.append(finding.model_copy(update={"outcome": "finished"}))
    return done
