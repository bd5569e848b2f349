"""Promotes a model or refuses it: evidence first, then the registry, then the file that agents read.

All of it is safe to repeat. Whatever is killed, the next promotion or rollback finishes what was begun.
"""

import hashlib
import time
from collections.abc import Callable

from pydantic import ValidationError

from tasks import cost, measure, model_card, report, storing, track, track_model
from tasks.artifacts import workspace
from tasks.champion import write_champion
from tasks.core.config import Profile
from tasks.core.errors import DataError, PromotionError, ProviderError, ProviderUnavailableError
from tasks.core.evaluation import Comparison
from tasks.core.promotion import (
    Case,
    Decision,
    Evidence,
    Outcome,
    Promotion,
    RegisteredVersion,
    hashes_of,
    judge,
)
from tasks.core.promotion_rules import PromotionRules
from tasks.core.run import RunSummary
from tasks.evaluate import compare_reports
from tasks.progress import stage
from tasks.registry import (
    BUNDLE_SHA_TAG,
    BUNDLE_TAG,
    BUNDLES,
    CHAMPION,
    LONGEST_REASON,
    ROLLED_BACK_TAG,
    Move,
    Registry,
    open_registry,
)
from tasks.rollback import finish, opened, write_bundle

Clock = Callable[[], float]


def promote(profile: Profile, run_id: str, decision: Decision) -> Promotion:
    """Examine the model of a finished run and settle it at once.

    Raises:
        PromotionError: There is no such run, or it began without a gate.
        ServiceError: MLflow does not answer.
        ProviderUnavailableError: The champion is to be asked, and the provider does not answer.
    """
    return settle(profile, examine(profile, run_id), decision)


def examine(profile: Profile, run_id: str) -> Case:
    """Register the model of a finished run, hold it against its gate, and make it the challenger where it passes.

    Raises:
        PromotionError: There is no such run, it began without a gate, or its model was trained under another contract
            than is served now.
        ServiceError: MLflow does not answer.
        ProviderUnavailableError: The champion is to be asked, and the provider does not answer.
    """
    summary = _summary(profile, run_id)
    rules = _rules_of(profile, run_id)
    if told := model_card.drift(profile, summary.model_id):
        raise PromotionError(told)
    source = track_model.model(profile.tracking, summary.tracked, summary.job, summary.model_id)
    with opened(profile, rules.registered_model) as registry:
        finish(profile, registry)
        candidate = registry.register(_wanted(profile, summary), source)
        champion = registry.version_at(CHAMPION)
        rolled_back = registry.tag_of(candidate.number, ROLLED_BACK_TAG)
    evidence = _evidence(profile, summary, None if champion == candidate else champion, rolled_back)
    with stage("promotion gate") as progress:
        verdict = judge(evidence, rules)
        if verdict.passed and champion != candidate:
            with opened(profile, rules.registered_model) as registry:
                registry.challenge(candidate.number)
        failed = ", ".join(result.rule for result in verdict.failed)
        progress.result(f"refused for {failed}" if failed else f"all {len(verdict.results)} rules passed")
    return Case(
        rules=rules,
        verdict=verdict,
        evidence=evidence,
        hashes=hashes_of(evidence, rules, summary.job.job_key),
        candidate=candidate,
        champion=champion,
        job_id=summary.job.job_id,
        prefect=summary.prefect,
        tracked=summary.tracked,
    )


def _summary(profile: Profile, run_id: str) -> RunSummary:
    path = workspace(profile).run_folder(run_id) / "summary.json"
    try:
        return RunSummary.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        have = ", ".join(sorted(found.parent.name for found in path.parent.parent.glob("*/summary.json"))) or "none"
        raise PromotionError(
            f"No finished run {run_id!r} in {str(profile.workspace)!r}. Finished ones: {have}. `zava run` makes one."
        ) from None
    except (ValidationError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not the summary of a run; remove its folder.") from error


def _rules_of(profile: Profile, run_id: str) -> PromotionRules:
    """Return the gate as it was written down when the run began; what the profile says now does not count."""
    with open_registry(profile.tracking, profile.promotion.registered_model, "read the gate of the run") as registry:
        text = registry.rules_of(run_id)
    try:
        return PromotionRules.model_validate_json(text)
    except ValidationError as error:
        raise PromotionError(
            f"Run {run_id!r} began without a gate that this version reads, so nothing says what its model must reach. "
            "`zava run` makes a run with one; the work that is done is found again."
        ) from error


def _wanted(profile: Profile, summary: RunSummary) -> RegisteredVersion:
    return RegisteredVersion(
        number="",
        model_id=summary.model_id,
        base_model=summary.base_model,
        provider=profile.provider.place,
        run_id=summary.tracked.run_id,
    )


def _evidence(profile: Profile, summary: RunSummary, champion: RegisteredVersion | None, rolled_back: str) -> Evidence:
    against, note = _against(profile, champion, summary) if champion else (None, "")
    return Evidence(
        comparison=summary.comparison,
        decisions=summary.decisions,
        dataset=summary.dataset,
        stories=summary.stories,
        families=summary.families,
        cost=summary.cost,
        against_champion=against,
        champion_note=note,
        rolled_back=rolled_back,
    )


def _against(profile: Profile, champion: RegisteredVersion, summary: RunSummary) -> tuple[Comparison | None, str]:
    """Ask the champion the decisions of the run, and compare; say why where it cannot be asked any more."""
    if champion.provider != profile.provider.place:
        return None, f"{champion.model_id!r}, the champion, is at {champion.provider!r} and was not asked."
    as_then = profile.model_copy(update={"evaluation": summary.evaluation})
    try:
        measured = measure.report(as_then, CHAMPION, champion.model_id, summary.decisions)
    except ProviderUnavailableError:
        raise
    except ProviderError as error:
        return None, f"{champion.model_id!r}, the champion, was not asked: {error}"
    return compare_reports(measured, summary.comparison.tuned, summary.decisions, summary.evaluation), ""


def settle(profile: Profile, case: Case, decision: Decision, *, now: Clock = time.time) -> Promotion:
    """Do what gate and decision say, leave the evidence bundle, and tell it in the report of the run.

    A model that this very run made the champion stays it, and its bundle is the one from then.

    Raises:
        PromotionError: Another model became the champion since the case was examined.
        ServiceError: MLflow does not answer.
    """
    with stage("promotion") as progress, opened(profile, case.rules.registered_model) as registry:
        finish(profile, registry)
        champion = registry.version_at(CHAMPION)
        made = _made_before(registry, case) if champion == case.candidate else None
        if made is None:
            outcome = _outcome(case, decision)
            if outcome == "promoted" and champion != case.champion:
                raise PromotionError(_overtaken(case, champion))
            made = Promotion(outcome=outcome, at=now(), decision=decision, case=case)
            _carry_out(profile, registry, made)
        write_champion(profile, registry)
        progress.result(made.sentence)
    tell(profile, made)
    return made


def _made_before(registry: Registry, case: Case) -> Promotion | None:
    """Return the bundle with which this run made its model the champion, or None where another run did."""
    run_id, _, name = registry.tag_of(case.candidate.number, BUNDLE_TAG).partition("/")
    return Promotion.model_validate_json(registry.kept(run_id, name)) if run_id == case.tracked.run_id else None


def _overtaken(case: Case, champion: RegisteredVersion | None) -> str:
    return (
        f"The champion of {case.rules.registered_model!r} is {champion and champion.model_id!r} now, and "
        f"{case.candidate.model_id!r} was not held against it. `zava promote --run {case.tracked.run_id}` does that."
    )


def _outcome(case: Case, decision: Decision) -> Outcome:
    if not case.verdict.passed:
        return "refused"
    if case.champion == case.candidate:
        return "unchanged"
    return "promoted" if decision.answer == "approved" else decision.answer


def _carry_out(profile: Profile, registry: Registry, made: Promotion) -> None:
    """Leave the bundle, then move: a promotion without its evidence is never there."""
    case, number = made.case, made.case.candidate.number
    run_id = case.tracked.run_id
    bundle = write_bundle(workspace(profile).run_folder(run_id) / BUNDLES, made.outcome, made.at, made)
    registry.keep(run_id, bundle, made.sentence)
    if made.outcome in {"refused", "declined"}:
        registry.retire_challenger(number)
    if made.outcome != "promoted":
        return
    sha256 = hashlib.sha256(bundle.read_bytes()).hexdigest()
    registry.mark(number, {BUNDLE_TAG: f"{run_id}/{bundle.name}", BUNDLE_SHA_TAG: sha256})
    previous = case.champion.number if case.champion else None
    by, reason = made.decision.by, made.decision.reason[:LONGEST_REASON]
    registry.write(
        Move(kind="promotion", key=run_id, champion=number, previous=previous, at=made.at, by=by, reason=reason)
    )
    finish(profile, registry)


def tell(profile: Profile, made: Promotion) -> None:
    """Write the report of the run again, with the verdict of the gate, and publish it anew.

    Raises:
        StorageError: The store refuses it.
        ServiceError: MLflow does not answer.
    """
    tracked = made.case.tracked
    folder = workspace(profile).run_folder(tracked.run_id)
    summary = _summary(profile, tracked.run_id)
    pages = report.write_pages(summary, folder, made, cost.cost_of(profile, summary))
    track.files(profile.tracking, tracked, pages, "report")
    storing.publish_report(profile, tracked.run_id)
