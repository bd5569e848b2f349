"""Small valid values of a run: a dataset on disk, reports, a comparison and a whole summary."""

import hashlib
import json
from pathlib import Path

from tasks.core.conversation import Message, ToolCall
from tasks.core.dataset import DatasetFile, DatasetSplit, Funnel, Split
from tasks.core.evaluation import Comparison, DecisionSet, Difference, EvalReport, FailureExample, Metric
from tasks.core.family import FamilyReport, MemberResult
from tasks.core.promotion import Champion
from tasks.core.run import Cost, PrefectRun, RunSummary, Stage, Story, TrackedRun
from tasks.core.standings import ArmOutcome, Contrast, Standings
from tasks.core.training import TrainingJob, TrainingMetric


def _write(path: Path, text: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return hashlib.sha256(text.encode()).hexdigest()


def a_file(folder: Path, split: Split, rows: int = 2) -> DatasetFile:
    path, meta = folder / f"{split}.jsonl", folder / f"{split}.meta.jsonl"
    sha = _write(path, (json.dumps({"messages": [{"role": "user", "content": split}], "tools": []}) + "\n") * rows)
    _write(meta, '{"row_sha256": ""}\n' * rows)
    return DatasetFile(path=str(path), meta_path=str(meta), split=split, rows=rows, sha256=sha)


def a_split(folder: Path) -> DatasetSplit:
    return DatasetSplit(
        train=a_file(folder, "train", 3),
        valid=a_file(folder, "valid"),
        heldout=a_file(folder, "heldout"),
        funnel=Funnel(played=10, stopped={"format": 1, "execution": 0, "provenance": 2}, reasons={"odd": 3}, kept=7),
        policy_sha256="p" * 64,
        tools_sha256="t" * 64,
    )


def a_decision_set(folder: Path) -> DecisionSet:
    path, meta = folder / "decisions.jsonl", folder / "decisions.meta.jsonl"
    sha = _write(path, '{"item": {}}\n' * 4)
    _write(meta, "{}\n" * 4)
    return DecisionSet(path=str(path), meta_path=str(meta), items=4, call_items=3, conversations=2, sha256=sha)


def a_report(folder: Path, arm: str, share: float, decisions: str = "d" * 64) -> EvalReport:
    metric = Metric(value=share, low=share - 0.05, high=share + 0.04, n=260, worst=share, best=share + 0.02)
    right = round(260 * share)
    path = folder / f"{arm}.scores.jsonl"
    return EvalReport(
        arm=arm,
        model_id="ft:base:retail" if arm == "tuned" else "base",
        decision_set_sha256=decisions,
        metrics={"next_tool_call_accuracy": metric, "invented_argument_rate": metric},
        slices={
            "intent=cancel": {"next_tool_call_accuracy": metric},
            "tool=get_user_details": {"next_tool_call_accuracy": metric},
        },
        outcomes={"read": {"right": right, "invented_id": 260 - right}, "ask": {"right": 190, "no_answer": 10}},
        acts={"ask": {"ask": 120, "hand over": 70, "no answer": 10}},
        examples=(FailureExample(kind="invented_id", item_id="c1/3", explanation="user_id 'noah_brown_<80279>'"),),
        errored=10,
        latency_p50_s=0.2,
        latency_p95_s=0.4,
        prompt_tokens=1000,
        completion_tokens=100,
        seconds=12.0,
        scores_path=str(path),
        scores_sha256=_write(path, "{}\n"),
    )


def a_comparison(folder: Path, base: float = 0.3, tuned: float = 0.9, spread: float = 0.05) -> Comparison:
    gain = tuned - base
    change = Difference(
        metric="next_tool_call_accuracy",
        first=base,
        second=tuned,
        difference=gain,
        low=gain - spread,
        high=gain + spread,
        p_value=0.0001,
        n=260,
        p_clustered=0.0005,
        detectable=0.061,
        needed=387,
    )
    return Comparison(
        base=a_report(folder, "base", base), tuned=a_report(folder, "tuned", tuned), differences=(change,)
    )


def a_standings(compared: Comparison) -> Standings:
    [change] = compared.differences
    large = compared.base.model_copy(update={"arm": "large", "model_id": "base-large"})
    return Standings(
        reports=(compared.base, compared.tuned, large),
        contrasts=(
            Contrast(arm="tuned", against="base", difference=change, p_holm=0.0015),
            Contrast(arm="large", against="tuned", difference=change, p_holm=0.25),
        ),
        notes={"large": "2 examples as turns"},
        skipped=(ArmOutcome(arm="base-examples", model_id="base", skipped="does not apply: no <system> prompt"),),
    )


def a_job() -> TrainingJob:
    return TrainingJob(
        job_id="ftjob-1",
        job_key="k" * 64,
        provider="",
        base_model="base",
        state="succeeded",
        provider_state="succeeded",
        model_id="ft:base:retail",
        trained_tokens=2_500_000,
    )


def a_story(arm: str, *, passed: bool) -> Story:
    call = ToolCall(id="c1", name="get_user_details", arguments='{"user_id": "noah_brown_<80279>"}')
    messages = (
        Message(role="system", content="Be <b>good</b>."),
        Message(role="user", content="I am Noah Brown & my zip is 80279."),
        Message(role="assistant", tool_calls=(call,)),
        Message(role="tool", content="No user 'noah_brown_<80279>'.", tool_call_id="c1"),
        Message(role="assistant", content="I cannot find you."),
    )
    return Story(
        arm=arm,
        model_id=arm,
        passed=passed,
        reasons=() if passed else ("The address is not changed.",),
        calls=1,
        seconds=1.5,
        messages=messages,
    )


def a_family(arm: str, *passed: bool, pack: str = "p") -> FamilyReport:
    """Return what an arm made of stories of two kinds, one after the other."""
    results = tuple(
        MemberResult(
            member_id=f"{kind}/{number}",
            kind=kind,
            passed=right,
            reasons=() if right else ("get_user_details was called with '<b>'",),
            calls=1,
            messages=(),
        )
        for number, (kind, right) in enumerate(zip(("id_near_zip", "email") * len(passed), passed, strict=False))
    )
    return FamilyReport(arm=arm, model_id=arm, pack_sha256=pack, results=results, seconds=1.0)


def a_champion(model_id: str) -> Champion:
    return Champion(
        model_id=model_id,
        base_model="base",
        provider="local",
        base_url=None,
        registered_model="zava-retail",
        version="1",
        mlflow_run_id="m1",
        since=1_795_000_000.0,
    )


def a_curve(steps: int = 20) -> tuple[TrainingMetric, ...]:
    return tuple(
        TrainingMetric(
            step=step,
            train_loss=2.0 / step,
            train_mean_token_accuracy=1 - 0.5 / step,
            valid_loss=2.1 / step if step % 5 == 0 else None,
        )
        for step in range(1, steps + 1)
    )


def a_summary(folder: Path, **changes: object) -> RunSummary:
    summary = RunSummary(
        profile="local",
        provider="local",
        started_at=1_795_000_000.0,
        seconds=611.0,
        base_model="base",
        model_id="ft:base:retail",
        dataset=a_split(folder),
        decisions=a_decision_set(folder),
        job=a_job(),
        curve=a_curve(),
        comparison=a_comparison(folder),
        standings=a_standings(a_comparison(folder)),
        stories=(a_story("base", passed=False), a_story("tuned", passed=True)),
        stages=(Stage(name="synthesis", seconds=20.5), Stage(name="fine-tuning", seconds=1.0, reused=True)),
        cost=Cost(amount=0.0, cpu_minutes=12.3, trained_tokens=2_500_000),
        prefect=PrefectRun(run_id="p-1", name="retrain local", address="http://127.0.0.1:4200/runs/flow-run/p-1"),
        tracked=TrackedRun(experiment_id="1", run_id="m1", address="http://127.0.0.1:5000/#/experiments/1/runs/m1"),
        report_path=str(folder / "report.html"),
    )
    return summary.model_copy(update=changes)
