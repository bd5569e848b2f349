"""The OpenAPI document is true: whatever it allows to be asked is answered as it says, and never with a 500."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from openai import OpenAI
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from infra.model_server.settings import Settings
from tests.infra.model_server import live, tiny

KEY = "sk-fuzz"
AUTHORISED = {"authorization": f"Bearer {KEY}"}
FUZZ = settings(
    max_examples=8, deadline=None, derandomize=True, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
)
"""A few cases for each operation and kind of data; the properties of test_surface.py go deeper where it matters."""
CHECKED = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory, models_dir: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """A server that may be filled and emptied, and the ids of what is there."""
    limits = {"max_queued_jobs": 3, "max_upload_bytes": 100_000}
    folder = tmp_path_factory.mktemp("fuzzed")
    with live.serving(Settings(data=folder, models=models_dir, api_key=KEY, **limits)) as port:
        with OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key=KEY) as client:
            file_id = client.files.create(file=("a.jsonl", tiny.jsonl(2)), purpose="fine-tune").id
            job_id = client.fine_tuning.jobs.create(model="tiny", training_file=file_id).id
            client.fine_tuning.jobs.pause(job_id)
        yield port, {"file_id": file_id, "job_id": job_id, "model_id": "tiny"}


def test_every_operation_answers_as_documented(fuzzed: tuple[int, dict[str, str]]) -> None:
    port, known = fuzzed
    schema = schemathesis.openapi.from_url(f"http://127.0.0.1:{port}/openapi.json", headers=AUTHORISED)
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) == 18
    statuses: set[int] = set()
    for operation in operations:
        for mode in GenerationMode:
            statuses |= fuzz(operation, mode, known)
    assert {200, 400, 404} <= statuses
    assert max(statuses) < 500


def fuzz(operation: Any, mode: Any, known: dict[str, str]) -> set[int]:
    """Send generated requests to an operation, some of them about things that exist; return the statuses."""
    statuses: set[int] = set()
    numbers = iter(range(10**6))

    @FUZZ
    @given(case=operation.as_strategy(generation_mode=mode))
    def send(case: Any) -> None:
        if next(numbers) % 2:
            case.path_parameters = {**case.path_parameters, **{k: v for k, v in known.items() if k in operation.path}}
        answer = case.call(headers=AUTHORISED, timeout=60)
        case.validate_response(answer, checks=CHECKED)
        statuses.add(answer.status_code)

    send()
    return statuses
