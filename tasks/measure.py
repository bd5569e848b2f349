"""The stages that need no Prefect: conversations, dataset, evaluation and replay of a profile, each found or made."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from tasks import card, deploy, evaluate, model_card, prepare, prompts, replay, simulate, teacher, tracing
from tasks.artifacts import Dataset, read_dataset, workspace, write_dataset
from tasks.clients import async_openai_client
from tasks.core.config import ArmConfig, Profile
from tasks.core.dataset import SEEN_PHRASING
from tasks.core.errors import ConfigError
from tasks.core.evaluation import DecisionSet, EvalReport
from tasks.core.run import Story
from tasks.core.standings import ArmOutcome
from tasks.episode import Step
from tasks.progress import stage
from tasks.prompts import Prompt
from tasks.world import open_shop, open_world
from zava_mcp import policy

Watch = Callable[[str | Step], None]

_UNREAD = "the model does not read the system prompt (it counts as many tokens without it)"


def require_shop(profile: Profile) -> None:
    """Refuse a world whose agent can be given data, but not the replay that the whole loop ends with.

    Raises:
        ConfigError: The world of the profile is a server.
    """
    if profile.world.has_server:
        raise ConfigError(
            f"The loop replays a story of the shop, and the world of profile {profile.name!r} is a server. Make its "
            "dataset and decisions with `zava synthesize`, and measure a model on them with `zava evaluate`."
        )


def conversations(profile: Profile) -> list[Path]:
    """Let the expert, or the teacher of a profile, play its scenarios; return the files of conversations.

    Raises:
        SynthesisError: No scenario could be drawn, or the expert could not play one, or the budget is spent.
        ProviderError: A model of the teacher is refused, or does not answer.
        DataError: A file cannot be written, or the snapshot not read.
    """
    folder = workspace(profile).conversations
    before = set(folder.glob("*"))
    with stage("synthesis") as progress:
        if profile.teacher:
            taught = teacher.teach(profile, folder, progress.step)
            progress.result(taught.report.sentence(), reused=before.issuperset(taught.shards))
            return taught.shards
        shards = simulate.simulate(profile, folder, progress.step)
        again = f"{profile.synthesis.heldout_conversations:,} again in training's words"
        note = f"{profile.synthesis.conversations:,} conversations, {again}"
        progress.result(note, reused=before.issuperset(shards))
    return shards


def dataset(profile: Profile, shards: list[Path]) -> Dataset:
    """Pass conversations through the gates; return the files of rows and the held-out decisions.

    Raises:
        DataError: Too few conversations pass, the splits leak, or a file is unusable.
    """
    folder = workspace(profile).dataset_folder(profile, shards)
    with stage("validation") as progress:
        found = read_dataset(folder)
        made = found or _prepared(profile, shards, folder, progress.step)
        rows, funnel = made.split.train.rows, made.split.funnel
        note = f"{rows:,} rows to train on, {funnel.kept:,} of {funnel.played:,} passed"
        progress.result(note, reused=found is not None)
    return made


def _prepared(profile: Profile, shards: list[Path], folder: Path, step: simulate.Progress) -> Dataset:
    split = prepare.prepare_dataset(shards, open_world(profile.world), profile.validation, folder, step)
    taught = teacher.report_of(shards) if profile.teacher else None
    seen = split.seen_phrasing
    made = Dataset(
        split=split,
        decisions=prepare.write_eval_items(split.heldout, folder),
        seen_decisions=prepare.write_eval_items(seen, folder, f"{SEEN_PHRASING}.items") if seen else None,
        taught=taught,
    )
    card.write_card(made, profile, folder)
    write_dataset(folder, made)
    return made


def report(profile: Profile, arm: str, model_id: str, decisions: DecisionSet) -> EvalReport:
    """Ask a model every held-out decision and score its answers; those on disk are not asked again.

    Raises:
        ProviderUnavailableError: The provider does not answer.
        ProviderError: There is no such model.
        EvaluationError: Not one decision was answered, or the model was trained under another contract.
    """
    return _measured(profile, arm, model_id, decisions, prompts.as_recorded)


def partial_report(profile: Profile, arm: str, model_id: str, decisions: DecisionSet) -> EvalReport | None:
    """Return what an evaluation that was stopped has so far, or None.

    Raises:
        DataError: Its report is broken.
    """
    return evaluate.read_partial(_folder(profile, model_id, decisions), arm)


def other_arm(profile: Profile, arm: ArmConfig, base_id: str, tuned_id: str, data: Dataset) -> ArmOutcome:
    """Measure an arm beside base and tuned.

    A model that does not read the system prompt gets its examples as turns of the conversation; an arm of it that has
    none cannot differ from the model itself and is left out, with the reason.

    Raises:
        ConfigError: The key of the arm's provider is missing.
        ProviderUnavailableError: The provider does not answer.
        ProviderError: There is no such model.
        EvaluationError: Not one decision was answered.
    """
    own = profile.model_copy(update={"provider": arm.provider or profile.provider})
    model_id = {"base": base_id, "tuned": tuned_id}.get(arm.model, arm.model)
    prompt, note = prompts.prompt_of(arm, profile.evaluation, data.split.train), ""
    if prompt is not prompts.as_recorded and not _reads(own, model_id, data.decisions, prompt):
        if not isinstance(prompt, prompts.Examples):
            return _left_out(arm, model_id)
        prompt, note = prompt.as_turns, f"{arm.examples} examples as turns before the conversation: {_UNREAD}"
    made = _measured(own, arm.name, model_id, data.decisions, prompt)
    return ArmOutcome(arm=arm.name, model_id=model_id, report=made, note=note)


def _left_out(arm: ArmConfig, model_id: str) -> ArmOutcome:
    reason = f"does not apply: {_UNREAD}"
    with stage(f"evaluation of {arm.name}") as progress:
        progress.result(reason)
    return ArmOutcome(arm=arm.name, model_id=model_id, skipped=reason)


def _reads(profile: Profile, model_id: str, decisions: DecisionSet, prompt: Prompt) -> bool:
    folder = _folder(profile, model_id, decisions)

    async def ask() -> bool:
        async with async_openai_client(profile.provider) as client:
            return await evaluate.reads_prompt(client, model_id, decisions, profile.evaluation, folder, prompt)

    return asyncio.run(ask())


def _folder(profile: Profile, model_id: str, decisions: DecisionSet) -> Path:
    version = deploy.version_of(profile.provider, model_id)
    return workspace(profile).evaluation_folder(decisions, model_id, version)


def _measured(profile: Profile, arm: str, model_id: str, decisions: DecisionSet, prompt: Prompt) -> EvalReport:
    with stage(f"evaluation of {arm}") as progress:
        model_card.check_contract(profile, model_id, decisions)
        folder = _folder(profile, model_id, decisions)
        # What else a call could have done is judged on the shop's records; a server keeps its own to itself.
        shop = None if profile.world.has_server else open_shop(profile.world)
        done_before: list[int] = []

        def step(done: int, total: int) -> None:
            done_before.append(done)
            progress.step(done, total)

        async def ask() -> EvalReport:
            async with async_openai_client(profile.provider) as client:
                return await evaluate.evaluate_model(
                    client, model_id, arm, decisions, profile.evaluation, folder, step, shop, prompt
                )

        made = asyncio.run(ask())
        note = f"{decisions.items:,} decisions, {made.errored} without an answer"
        progress.result(note, reused=done_before[0] == decisions.items)
    return made


def story(profile: Profile, arm: str, model_id: str, watch: Watch = lambda _: None) -> Story:
    """Play the Noah Brown story with a model on a private sandbox of the shop, and judge it.

    Raises:
        DataError: The shop does not know the customer of the story.
        ProviderError: The provider is not there, or refuses the model.
    """
    with stage(f"replay of {arm}") as progress:
        shop = open_shop(profile.world)

        async def play() -> replay.ReplayResult:
            async with async_openai_client(profile.provider) as client:
                return await replay.replay(client, model_id, shop, policy.text(), profile.evaluation, watch)

        traces = workspace(profile).story_traces(model_id)
        with tracing.written_to(traces):
            result = asyncio.run(play())
        progress.result("passed" if result.verdict.passed else "failed")
    return Story(
        arm=arm,
        model_id=model_id,
        passed=result.verdict.passed,
        reasons=tuple(result.verdict.reasons),
        calls=len(result.calls),
        seconds=result.seconds,
        messages=result.messages,
        traces_path=str(traces),
    )
