"""Fine-tuning jobs, through the openai client: what they say of themselves and what is refused."""

import csv
import io
import sqlite3
from pathlib import Path

import openai
import pytest
from openai import OpenAI
from openai.types.fine_tuning import FineTuningJob

from infra.model_server.database import _MIGRATIONS, Database
from infra.model_server.errors import InvalidRequestError, QueueFullError
from infra.model_server.jobs import JobStore, NewJob
from infra.model_server.progress import Hyperparameters
from tests.infra.model_server import live, tiny

STEPS = 36


def upload(client: OpenAI, content: bytes = b"") -> str:
    return client.files.create(file=("t.jsonl", content or tiny.jsonl(4)), purpose="fine-tune").id


def test_a_job_succeeds_and_states_what_it_did(client: OpenAI, trained: FineTuningJob) -> None:
    assert (trained.status, trained.error, trained.seed) == ("succeeded", None, 7)
    assert trained.fine_tuned_model == f"ft:tiny:agent::{trained.id[-8:]}"
    assert trained.hyperparameters.model_dump() == {"n_epochs": 3, "batch_size": 4, "learning_rate_multiplier": 5.0}
    assert trained.trained_tokens is not None
    assert trained.trained_tokens > 48 * 3 * 50
    assert trained.finished_at is not None
    assert trained.finished_at >= trained.created_at
    assert trained.metadata == {"key": "value", "run": "first"}
    assert trained.estimated_finish is None


def test_training_lowers_the_loss(client: OpenAI, trained: FineTuningJob) -> None:
    rows = list(csv.DictReader(io.StringIO(client.files.content(trained.result_files[0]).text)))
    losses = [float(row["train_loss"]) for row in rows]
    assert losses[-1] < losses[0] / 2
    assert float(rows[-1]["train_accuracy"]) > 0.8
    assert float(rows[-1]["valid_loss"]) < float(rows[11]["valid_loss"])


def test_the_result_file_has_one_line_a_step(client: OpenAI, trained: FineTuningJob) -> None:
    [file_id] = trained.result_files
    assert client.files.retrieve(file_id).purpose == "fine-tune-results"
    text = client.files.content(file_id).text
    assert text.splitlines()[0] == "step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy"
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [int(row["step"]) for row in rows] == list(range(1, STEPS + 1))
    assert [row["step"] for row in rows if row["valid_loss"]] == ["12", "24", "36"]


def test_events_are_paged_newest_first_with_one_for_each_step(client: OpenAI, trained: FineTuningJob) -> None:
    events = list(client.fine_tuning.jobs.list_events(trained.id, limit=7))
    assert len({event.id for event in events}) == len(events)
    assert events[0].message == "The job has successfully completed"
    assert events[-1].message == f"Created fine-tuning job: {trained.id}"
    assert live.steps_of(client, trained.id) == list(range(1, STEPS + 1))
    last = next(event for event in events if event.type == "metrics")
    assert isinstance(last.data, dict)
    assert {"step", "train_loss", "train_mean_token_accuracy", "valid_loss", "full_valid_loss"} <= set(last.data)
    assert last.message.startswith("Step 36/36: training loss=")


def test_each_epoch_leaves_a_checkpoint_that_can_be_sampled(client: OpenAI, trained: FineTuningJob) -> None:
    checkpoints = list(client.fine_tuning.jobs.checkpoints.list(trained.id, limit=2))
    assert [checkpoint.step_number for checkpoint in checkpoints] == [36, 24, 12]
    names = [checkpoint.fine_tuned_model_checkpoint for checkpoint in checkpoints]
    assert names[0] == f"ft:tiny:agent:{trained.id[-8:]}:ckpt-step-36"
    losses = [checkpoint.metrics.full_valid_loss for checkpoint in checkpoints]
    assert None not in losses
    assert losses == sorted(losses)  # type: ignore[type-var]
    messages: list[openai.types.chat.ChatCompletionMessageParam] = [{"role": "user", "content": "Please find k1."}]
    assert client.chat.completions.create(model=names[-1], messages=messages, max_tokens=4).choices


def test_the_tuned_model_answers_at_once_and_calls_the_tool(client: OpenAI, trained: FineTuningJob) -> None:
    assert trained.fine_tuned_model is not None
    assert client.models.retrieve(trained.fine_tuned_model).owned_by == "local"
    answer = client.chat.completions.create(
        model=trained.fine_tuned_model,
        messages=[{"role": "user", "content": "Please find k3."}],
        tools=tiny.TOOLS,  # type: ignore[arg-type]
        temperature=0,
    )
    [choice] = answer.choices
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content is None
    assert choice.message.tool_calls is not None
    assert choice.message.tool_calls[0].type == "function"
    assert choice.message.tool_calls[0].function.name == "look_up"


def test_jobs_are_found_by_metadata(client: OpenAI, trained: FineTuningJob) -> None:
    jobs = client.fine_tuning.jobs
    assert [job.id for job in jobs.list(metadata={"run": "first", "key": "value"})] == [trained.id]
    assert list(jobs.list(metadata={"run": "second"})) == []
    assert list(jobs.list(metadata={"run": "first", "other": "x"})) == []


def test_an_ended_job_is_not_cancelled(client: OpenAI, trained: FineTuningJob) -> None:
    with pytest.raises(openai.BadRequestError, match="has succeeded already"):
        client.fine_tuning.jobs.cancel(trained.id)
    assert client.fine_tuning.jobs.retrieve(trained.id).status == "succeeded"


@pytest.mark.parametrize(
    ("change", "status", "param", "says"),
    [
        ({"model": "gpt-9"}, 404, "model", "The model 'gpt-9' does not exist. Base models: tiny, tiny-conv."),
        ({"training_file": "file-none"}, 400, "training_file", "File with id 'file-none' not found."),
        ({"suffix": "no spaces"}, 400, "suffix", "String should match pattern"),
        ({"seed": -1}, 400, "seed", "greater than or equal to 0"),
        ({"metadata": {"k": "v" * 513}}, 400, "metadata.k", "at most 512 characters"),
        ({"method": {"type": "reinforcement"}}, 400, "method.type", "Input should be 'supervised' or 'dpo'"),
        ({"extra_body": {"sufix": "a"}}, 400, "sufix", "Unrecognized request argument supplied: sufix"),
    ],
)
def test_a_request_that_cannot_be_met_is_refused(
    client: OpenAI, change: dict[str, object], status: int, param: str, says: str
) -> None:
    asked: dict[str, object] = {"model": "tiny", "training_file": upload(client), **change}
    with pytest.raises(openai.APIStatusError) as refusal:
        client.fine_tuning.jobs.create(**asked)  # type: ignore[arg-type]
    assert (refusal.value.status_code, refusal.value.param) == (status, param)
    assert says in refusal.value.message


def test_hyperparameters_out_of_bounds_are_refused(client: OpenAI) -> None:
    for name, value in (("n_epochs", 0), ("batch_size", "big"), ("learning_rate_multiplier", -1.0)):
        with pytest.raises(openai.BadRequestError, match=name):
            client.fine_tuning.jobs.create(
                model="tiny", training_file=upload(client),
                method={"type": "supervised", "supervised": {"hyperparameters": {name: value}}},  # type: ignore[misc]
            )  # fmt: skip


def test_a_file_that_was_found_broken_is_refused_with_its_line(client: OpenAI) -> None:
    broken = upload(client, tiny.jsonl(2) + b"{\n")
    with pytest.raises(openai.BadRequestError, match="Line 3 is not JSON"):
        client.fine_tuning.jobs.create(model="tiny", training_file=broken)


def test_an_unknown_job_is_not_found(client: OpenAI) -> None:
    jobs = client.fine_tuning.jobs
    for ask in (jobs.retrieve, jobs.cancel, jobs.pause, jobs.resume):
        with pytest.raises(openai.NotFoundError, match="Could not find fine-tune job: ftjob-none"):
            ask("ftjob-none")
    with pytest.raises(openai.NotFoundError):
        client.fine_tuning.jobs.list_events("ftjob-none")


def test_a_failed_job_names_the_parameter_at_fault(tmp_path: Path) -> None:
    jobs = JobStore(Database(tmp_path / "state.sqlite3"))
    new = NewJob("tiny", "file-a", None, None, 1, Hyperparameters(), None)
    jobs.create(new, job_id="ftjob-a", most_waiting=1)
    jobs.fail("ftjob-a", "invalid_training_file", "Row 1 is odd.")
    jobs.fail("ftjob-a", "late", "A job fails once.")
    job = FineTuningJob.model_validate(jobs.get("ftjob-a"), strict=True)
    assert job.status == "failed"
    assert job.error is not None
    assert job.error.model_dump() == {
        "code": "invalid_training_file", "message": "Row 1 is odd.", "param": "training_file"
    }  # fmt: skip


def test_more_jobs_than_may_wait_are_refused(tmp_path: Path) -> None:
    jobs = JobStore(Database(tmp_path / "state.sqlite3"))
    new = NewJob("tiny", "file-a", None, None, 1, Hyperparameters(), None)
    jobs.create(new, job_id="ftjob-a", most_waiting=1)
    with pytest.raises(QueueFullError, match="1 jobs wait already"):
        jobs.create(new, job_id="ftjob-b", most_waiting=1)


def test_a_paused_job_waits_until_it_is_resumed_and_an_ended_one_is_refused(tmp_path: Path) -> None:
    jobs = JobStore(Database(tmp_path / "state.sqlite3"))
    new = NewJob("tiny", "file-a", None, None, 1, Hyperparameters(), None)
    jobs.create(new, job_id="ftjob-a", most_waiting=1)
    for _ in range(2):
        assert jobs.pause("ftjob-a")["status"] == "paused"
    assert jobs.next_queued() is None
    assert not jobs.start("ftjob-a")
    with pytest.raises(QueueFullError):
        jobs.create(new, job_id="ftjob-b", most_waiting=1)
    for _ in range(2):
        assert jobs.resume("ftjob-a")["status"] == "queued"
    assert jobs.start("ftjob-a")
    assert jobs.resume("ftjob-a")["status"] == "running"
    assert jobs.pause("ftjob-a")["status"] == "paused"
    assert jobs.cancel("ftjob-a")["status"] == "cancelled"
    for move in (jobs.pause, jobs.resume):
        with pytest.raises(InvalidRequestError, match="has cancelled already and cannot be"):
            move("ftjob-a")
    messages = [event["message"] for event in jobs.events("ftjob-a", after=None, limit=9)["data"]]
    assert messages[:-2] == [
        "Fine-tuning job cancelled", "Fine-tuning job paused", "Fine-tuning job started", "Fine-tuning job resumed",
        "Fine-tuning job paused",
    ]  # fmt: skip


def test_a_database_of_an_earlier_version_is_brought_to_this_one(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite3"
    old = sqlite3.connect(path)
    old.executescript(f"{_MIGRATIONS[0]} PRAGMA user_version = 1;")
    old.execute("INSERT INTO models (id, folder, base, job_id, created_at) VALUES ('ft:a', 'a', 'b', 'c', 1)")
    old.commit()
    old.close()
    for _ in range(2):
        database = Database(path)
        assert [row["id"] for row in database.rows("SELECT id FROM models")] == ["ft:a"]
        assert database.rows("SELECT * FROM deliveries") == []
        database.close()
