"""The stages of a run as Prefect tasks: thin wrappers that build the clients, report progress and are safe to retry.

Each takes and returns values; what they do lies in plain functions of the verb modules. Prefect caches nothing: a
retry, or a second run with the same profile, finds on disk or at the provider what was done, under the digest of what
it was made from.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.runtime import flow_run
from prefect.tasks import Task, exponential_backoff

from tasks import (
    checkpoints,
    deploy,
    evaluate,
    failing,
    lost,
    measure,
    measure_family,
    plan,
    reconcile,
    storing,
    sunset,
    track_steps,
    train,
    upload,
    wait,
)
from tasks.artifacts import Dataset, workspace
from tasks.cancellation import cancellation_of
from tasks.clients import openai_client
from tasks.core.config import ArmConfig, Profile
from tasks.core.dataset import UploadedFile
from tasks.core.errors import ProviderUnavailableError, ServiceError
from tasks.core.evaluation import Comparison, DecisionSet, EvalReport
from tasks.core.family import FamilyReport
from tasks.core.finding import Finding
from tasks.core.plan import Plan
from tasks.core.run import Story, TrackedRun
from tasks.core.standings import ArmOutcome, Standings
from tasks.core.training import TrainingJob, finished_model_id
from tasks.failing import Transcript
from tasks.progress import stage

P = ParamSpec("P")
R = TypeVar("R")

# What may pass by itself. All else, from a wrong key to a broken dataset, fails at once.
PASSING = (ServiceError, ProviderUnavailableError, TimeoutError)


def may_pass(task: Task[..., Any], task_run: TaskRun, state: State[Any]) -> bool:
    """Can the same task succeed when it is run again?"""
    return isinstance(state.result(raise_on_failure=False), PASSING)


def stage_task(
    name: str, run_name: str, timeout_seconds: float | None = None
) -> Callable[[Callable[P, R]], Task[P, R]]:
    """Make a function a Prefect task with the retries of this house."""
    return task(
        name=name,
        task_run_name=run_name,
        retries=3,
        retry_delay_seconds=exponential_backoff(2),
        retry_jitter_factor=0.3,
        retry_condition_fn=may_pass,
        timeout_seconds=timeout_seconds,
        cache_policy=NO_CACHE,
        persist_result=False,
    )


@stage_task("synthesis", "play the scenarios of {profile.name}")
def synthesis(profile: Profile) -> list[Path]:
    """Let the expert play the scenarios; return the files of conversations."""
    return measure.conversations(profile)


@stage_task("validation", "pass the conversations of {profile.name} through the gates")
def validation(profile: Profile, shards: list[Path]) -> Dataset:
    """Pass conversations through the gates; return the files of rows and the held-out decisions."""
    return measure.dataset(profile, shards)


@stage_task("store", "look for the dataset of {profile.name}", timeout_seconds=1800)
def fetching(profile: Profile) -> Dataset | None:
    """Return the dataset that another machine published, or None."""
    return storing.fetched_dataset(profile)


@stage_task("store", "publish the dataset of {profile.name}", timeout_seconds=1800)
def publishing(profile: Profile, dataset: Dataset) -> Dataset:
    """Publish a dataset, and return it with its address."""
    return storing.published_dataset(profile, dataset)


@stage_task("plan", "estimate what the run of {profile.name} takes")
def planning(profile: Profile, dataset: Dataset) -> Plan:
    """Estimate what the run takes, and refuse it where that is more than the profile allows."""
    with stage("plan") as progress:
        made = plan.plan_of(profile, dataset)
        plan.check_limit(profile, made)
        cost = "no price known" if made.cost is None else f"{made.cost:.2f} USD"
        progress.result(f"about {made.training.tokens:,} tokens to train on, {cost}")
    return made


@stage_task("upload", "upload the rows of {profile.name}", timeout_seconds=1800)
def uploading(profile: Profile, dataset: Dataset) -> tuple[UploadedFile, UploadedFile]:
    """Put the training and validation rows at the provider."""
    with stage("upload") as progress, openai_client(profile.provider) as client:
        files = (dataset.split.train, dataset.split.valid)
        upload.check_limits(profile.provider.kind, files)
        reused = all(upload.is_there(client, file) for file in files)
        sizes = [Path(file.path).stat().st_size for file in files]

        def sent(before: int) -> upload.Sent:
            return lambda now: progress.step((before + now) // 1024, sum(sizes) // 1024, unit="KiB")

        rows = upload.training_file(client, files[0], sent=sent(0))
        valid = upload.training_file(client, files[1], sent=sent(sizes[0]))
        progress.result(f"{(rows.bytes + valid.bytes) / 2**20:.1f} MiB", reused=reused)
    return rows, valid


@stage_task("fine-tuning", "start a job on {profile.training.base_model}", timeout_seconds=600)
def fine_tuning(profile: Profile, rows: UploadedFile, valid: UploadedFile) -> TrainingJob:
    """Adopt the job that trains exactly this, or create it."""
    log = get_run_logger()
    with stage("fine-tuning") as progress, openai_client(profile.provider) as client:
        version = train.version_of(client, profile.training.base_model)
        request = train.request_of(profile.provider, profile.training, rows, valid, base_version=version)
        job, adopted = train.start_job(client, request, workspace(profile).ledger, run_id=_root_run_id())
        progress.result(f"job {job.job_id}, {'adopted' if adopted else 'created'}", reused=adopted)
    log.info("%s job %s, which is %s.", "Adopted" if adopted else "Created", job.job_id, job.provider_state)
    return job


@stage_task("polling", "wait for {job.job_id}")
def polling(profile: Profile, job: TrainingJob, tracked: TrackedRun) -> TrainingJob:
    """Wait until the job has a model; stream its steps into MLflow meanwhile."""
    log = get_run_logger()
    with stage("training") as progress, openai_client(profile.provider) as client:

        def warn(text: str) -> None:
            log.warning(text)
            progress.warn(text)

        listeners = wait.Listeners(
            metrics=track_steps.StepLog(profile.tracking, tracked),
            progress=lambda now: progress.step(now.step, now.total_steps, _training_note(now)),
            warning=warn,
            is_cancelled=cancellation_of(_root_run_id()),
        )
        reused = job.state == "succeeded"
        sleep = workspace(profile).bells.sleeper(job.job_id)
        ended = wait.wait_for_model(client, job, profile.training, listeners, sleep=sleep)
        progress.result(f"model {finished_model_id(ended)}", reused=reused)
    return ended


def _training_note(now: wait.Progress) -> str:
    return now.state if now.train_loss is None else f"{now.state}, loss {now.train_loss:.4f}"


@stage_task("sunset", "see how long {profile.training.base_model} lives", timeout_seconds=600)
def sunset_checked(profile: Profile) -> list[str]:
    """Warn of a base model that its provider is about to retire, or refuse it, as the profile says."""
    log = get_run_logger()
    with stage("sunset") as progress, openai_client(profile.provider) as client:
        told = sunset.check(profile, client, datetime.now(UTC).date())
        for sentence in told:
            log.warning(sentence)
            progress.warn(sentence)
    return told


@stage_task("checkpoints", "choose the best checkpoint of {job.job_id}")
def best_checkpoint(profile: Profile, job: TrainingJob, dataset: Dataset) -> TrainingJob:
    """Return the job with the model of its best checkpoint in place of its last."""
    with stage("checkpoints") as progress:
        scored = checkpoints.best_checkpoint(profile, job, dataset)
        best = scored[0].checkpoint
        progress.result(f"{best.model_id}, best of {len(scored)}", reused=len(scored) == 1)
    return job.model_copy(update={"model_id": best.model_id})


@stage_task("serving", "make {model_id} answer", timeout_seconds=3600)
def serving(profile: Profile, model_id: str) -> str:
    """Return the name under which a model answers; it is deployed first where the provider asks for that."""
    with stage("serving") as progress:
        name = deploy.deployments_of(profile.provider).serve(model_id)
        progress.result("at once" if name == model_id else f"deployment {name}", reused=name == model_id)
    return name


@stage_task("evaluation", "ask {model_id} every decision")
def evaluation(profile: Profile, arm: str, model_id: str, decisions: DecisionSet) -> EvalReport:
    """Ask a model every held-out decision and score its answers."""
    return measure.report(profile, arm, model_id, decisions)


@stage_task("evaluation", "ask {arm.name} every decision")
def other_arm(profile: Profile, arm: ArmConfig, base_id: str, tuned_id: str, dataset: Dataset) -> ArmOutcome:
    """Measure an arm beside base and tuned, where it applies."""
    return measure.other_arm(profile, arm, base_id, tuned_id, dataset)


@stage_task("comparison", "rank all arms")
def ranking(
    profile: Profile, base: EvalReport, tuned: EvalReport, others: list[ArmOutcome], decisions: DecisionSet
) -> Standings:
    """Put all arms side by side, with their differences corrected for being several."""
    return evaluate.rank(base, tuned, others, decisions, profile.evaluation)


@stage_task("comparison", "compare {tuned.model_id} with {base.model_id}")
def comparison(profile: Profile, base: EvalReport, tuned: EvalReport, decisions: DecisionSet) -> Comparison:
    """Compare two models decision by decision."""
    with stage("comparison") as progress:
        compared = evaluate.compare_reports(base, tuned, decisions, profile.evaluation)
        progress.result(f"{len(compared.differences)} metrics")
    return compared


@stage_task("replay", "replay the story with {model_id}")
def replaying(profile: Profile, arm: str, model_id: str) -> Story:
    """Play the Noah Brown story with a model on a private sandbox of the shop, and judge it."""
    return measure.story(profile, arm, model_id)


@stage_task("replay family", "play the replay pack with {model_id}")
def replaying_family(profile: Profile, arm: str, model_id: str) -> FamilyReport:
    """Play the stories of the replay pack with a model."""
    return measure_family.family(profile, arm, model_id)


@stage_task("transcript", "put it into the replay pack")
def taking_in(profile: Profile, transcript: Transcript) -> str:
    """Make a failing transcript a story of the replay pack, and note what it was about."""
    return failing.take_in(profile, transcript).id


@stage_task("reconciling", "end the runs that were killed")
def reconciled_runs(profile: Profile) -> list[Finding]:
    """End the runs of this workspace whose process was killed."""
    return reconcile.runs(profile)


@stage_task("reconciling", "begin lost runs again")
def lost_runs(profile: Profile) -> list[Finding]:
    """Schedule the lost runs of the profile's deployments again."""
    return lost.begin_again(profile)


@stage_task("reconciling", "settle the jobs")
def reconciled_jobs(profile: Profile) -> list[Finding]:
    """Adopt, forget or report the jobs that no run holds."""
    with openai_client(profile.provider) as client:
        return reconcile.jobs(profile, client)


@stage_task("reconciling", "look for what lies idle")
def idle_things(profile: Profile) -> list[Finding]:
    """Report uploads without a job and deployments that may cost."""
    with openai_client(profile.provider) as client:
        return reconcile.idle_things(profile, client)


@stage_task("reconciling", "see how long the bases live")
def retiring_bases(profile: Profile) -> list[Finding]:
    """Report the bases, of the profile and of its last tuned model, that the provider is about to retire."""
    with openai_client(profile.provider) as client:
        return reconcile.retiring_bases(profile, client, datetime.now(UTC).date())


@stage_task("reconciling", "see whether the contract is still the one that was taught")
def drifted_models(profile: Profile) -> list[Finding]:
    """Report the last tuned model where policy or tools are others now than those that it was trained under."""
    return reconcile.drifted_models(profile)


def _root_run_id() -> str:
    return str(flow_run.root_flow_run_id or flow_run.id)
