"""The whole loop: from simulated conversations to a tuned model, the proof that it is better, and its promotion."""

from prefect import flow, get_run_logger

from flows.bookkeeping import Bookkeeping
from flows.cancelling import cancel_jobs
from flows.evaluate_model import evaluate_arms, evaluate_model
from flows.promote_model import promote_model
from flows.starting import named, wait_for_turn
from flows.train_model import prepared, train_model
from tasks import measure, mix, recording, stages
from tasks.core.config import Profile
from tasks.core.run import RunSummary, verdict
from tasks.core.training import finished_model_id


@flow(name="retrain", flow_run_name=named("retrain"), on_cancellation=[cancel_jobs])
def retrain(profile: Profile) -> RunSummary:
    """Fine-tune the base on played conversations, measure both on held-out ones, promote what passes the gate.

    What failing transcripts were about is played more often. Safe to repeat: what an earlier run with the same profile
    made, also one that was killed, is used again.
    """
    measure.require_shop(profile)
    wait_for_turn(profile, "retrain")
    profile = mix.steered(profile)
    log, books = get_run_logger(), Bookkeeping(profile)
    with books, recording.tracked_run(profile) as tracked:
        dataset = prepared(profile, None, tracked)
        recording.dataset_recorded(profile, tracked, dataset)

        base_id = stages.serving(profile, profile.training.base_model)
        base = evaluate_model(profile, base_id, "base", dataset, tracked)
        job = train_model(profile, dataset, tracked)
        model_id = stages.serving(profile, finished_model_id(job) or "")
        recording.card_recorded(profile, tracked, dataset, job, model_id)
        tuned = evaluate_model(profile, model_id, "tuned", dataset, tracked)

        others = evaluate_arms(profile, base_id, model_id, dataset, tracked) if profile.evaluation.arms else []
        compared = stages.comparison(profile, base.report, tuned.report, dataset.decisions)
        ranked = stages.ranking(profile, base.report, tuned.report, others, dataset.decisions)
        log.info(verdict(compared).sentence)
        summary = books.summary(dataset, job, compared, ranked, (base.story, tuned.story), tracked)
        summary = summary.model_copy(update={"families": (base.family, tuned.family)})
        summary = recording.outcome_recorded(profile, summary)
    promote_model(profile, tracked.run_id)
    return summary
