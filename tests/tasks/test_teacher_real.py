"""The teacher with a model that this project's own server serves: a real one, as good or bad as it is."""

from pathlib import Path

import pytest

from infra.model_server.settings import Settings
from tasks.core.blueprint import Take
from tasks.teacher import teach
from tests.fake_provider import FakeProvider
from tests.infra.model_server.live import serving
from tests.own_agent import customer, own_agent


@pytest.mark.slow
def test_the_base_model_is_the_agent(tmp_path: Path) -> None:
    with serving(Settings(data=tmp_path / "server")) as port, FakeProvider(customer) as people:
        profile = own_agent(f"http://127.0.0.1:{port}/v1", "zava-base", people.base_url)
        report = teach(profile, tmp_path / "out").report
    takes = [Take.model_validate_json(file.read_bytes()) for file in (tmp_path / "out").glob("*/takes/*.json")]
    assert report.planned == len(takes) == 3
    assert all(take.conversation and take.usage.prompt_tokens > 100 for take in takes)
    assert any(message.tool_calls for take in takes if take.conversation for message in take.conversation.messages)
    # Whatever a small model gets wrong is its own fault: the customer keeps to their part.
    assert {blame.side for take in takes for blame in take.blames} <= {"agent"}
    assert all(take.passed or len(take.blames) == 2 for take in takes)
