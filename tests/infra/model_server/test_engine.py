"""The engine gives each sequence the answer that it would have alone, whatever runs beside it."""

import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from infra.model_server.caches import PrefixCache, Snapshot, as_text
from infra.model_server.database import Database
from infra.model_server.engine import Engine
from infra.model_server.engines import Engines
from infra.model_server.errors import ModelFailedError, QueueFullError
from infra.model_server.generation import Finished, Generation
from infra.model_server.loaded import LoadedModel, ModelPool
from infra.model_server.registry import Registry
from infra.model_server.sampling import pick, sampler
from infra.model_server.settings import Settings
from tests.infra.model_server import tiny


def load(models_dir: Path, name: str, *, prefix_cache_bytes: int = 1 << 20) -> LoadedModel:
    settings = Settings(data=models_dir, models=models_dir, prefix_cache_bytes=prefix_cache_bytes)
    registry = Registry(Database(models_dir / "state.sqlite3"), settings)
    return ModelPool(settings, registry).get(registry.get(name))


@pytest.fixture(scope="module", params=["qwen3", "lfm2", "mistral", "qwen3_next"])
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    models = tmp_path_factory.mktemp(request.param)
    tiny.build(models / "tiny", kind=request.param)
    return load(models, "tiny")


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    engine = Engine(max_waiting=200, max_batch=7)
    engine.start()
    yield engine
    engine.stop()


def prompt(draw: random.Random, length: int) -> list[int]:
    return [draw.randrange(10, 250) for _ in range(length)]


def assert_alone(loaded: LoadedModel, generation: Generation, finished: Finished) -> None:
    """Fail unless each token is the likeliest after all before it, read at once and without a cache."""
    with torch.inference_mode():
        whole = torch.tensor([generation.prompt + finished.tokens])
        likeliest = loaded.model(input_ids=whole).logits[0, len(generation.prompt) - 1 :].argmax(-1).tolist()
    assert finished.tokens == likeliest[:-1]
    stopped = likeliest[-1] in loaded.renderer.stop_ids
    full = len(finished.tokens) == generation.max_tokens
    assert finished.reason == ("length" if full else "stop")
    assert full or stopped
    assert not set(finished.tokens) & loaded.renderer.stop_ids


PROMPTS = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 60), st.integers(1, 12)), min_size=1, max_size=20)


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(PROMPTS, st.integers(0, 99))
def test_answers_do_not_depend_on_what_runs_beside(
    engine: Engine, loaded: LoadedModel, wanted: list[tuple[int, int, int]], seed: int
) -> None:
    draw = random.Random(seed)
    beginnings = [prompt(draw, 40) for _ in range(4)]
    generations = [
        Generation(loaded, beginnings[shared] + prompt(draw, length), sampler(0, 1, None), count)
        for shared, length, count in wanted
    ]
    engine.submit(generations)
    for generation in generations:
        assert_alone(loaded, generation, generation.future.result(60))


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(1, 60)), min_size=1, max_size=12), st.integers(0, 99))
def test_turns_of_a_conversation_read_at_once_are_answered_as_each_alone(
    loaded: LoadedModel, turns: list[tuple[int, int]], seed: int
) -> None:
    draw = random.Random(f"turns {seed}")
    conversations = [prompt(draw, 60) for _ in range(2)]
    generations = [Generation(loaded, conversations[which][:length], sampler(0, 1, None), 5) for which, length in turns]
    engine = Engine(max_waiting=12, max_batch=4)  # so few that some wait on after they are read
    engine.submit(generations)
    engine.start()
    for generation in generations:
        assert_alone(loaded, generation, generation.future.result(60))
    engine.stop()


def test_one_that_cannot_be_read_fails_without_those_that_were_read_with_it(loaded: LoadedModel) -> None:
    engine = Engine(max_waiting=9, max_batch=9)
    whole = [*prompt(random.Random("read with it"), 40), 10**6]
    generations = [Generation(loaded, whole[:length], sampler(0, 1, None), 3) for length in (20, 41, 40)]
    engine.submit(generations)
    engine.start()
    with pytest.raises(ModelFailedError, match="failed while it answered"):
        generations[1].future.result(60)
    for generation in (generations[0], generations[2]):
        assert_alone(loaded, generation, generation.future.result(60))
    engine.stop()


def test_a_shared_beginning_is_read_once_and_then_known(engine: Engine, models_dir: Path) -> None:
    loaded = load(models_dir, "tiny")
    draw = random.Random(5)
    beginning = prompt(draw, 50)

    def cached(tokens: list[int]) -> int:
        generation = Generation(loaded, tokens, sampler(0, 1, None), 1)
        engine.submit([generation])
        return generation.future.result(60).cached

    assert cached([*beginning, 1]) == 0
    assert cached([*beginning, 2]) == 0
    assert cached([*beginning, 3]) == 50
    assert cached([*beginning, 3]) == 51
    assert cached([*beginning, 3, 4, 5]) == 51


def test_prompts_that_wait_together_are_read_each_after_the_one_it_goes_on_from(loaded: LoadedModel) -> None:
    engine = Engine(max_waiting=9, max_batch=9)
    whole = [9, *prompt(random.Random("waiting together"), 99)]  # No other test draws a 9: read for the first time.
    lengths = [100, 40, 80, 60]
    generations = [Generation(loaded, whole[:length], sampler(0, 1, None), 3) for length in lengths]
    engine.submit(generations)
    engine.start()
    cached = [generation.future.result(60).cached for generation in generations]
    engine.stop()
    assert cached == [80, 0, 60, 40]
    for generation in generations:
        assert_alone(loaded, generation, generation.future.result(60))


def test_the_turns_of_a_conversation_that_wait_together_go_to_one_engine(
    loaded: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.get_num_threads", lambda: 2)
    engines = Engines(Settings(data=tmp_path))
    whole = prompt(random.Random(9), 60)
    for tokens in (whole[:40], [20], whole, whole[:50], [20]):
        engines.submit([Generation(loaded, tokens, sampler(0, 1, None), 1)])
    assert [engine.load for engine in engines._engines] == [3, 2]


def test_the_prefix_cache_stays_within_its_size(models_dir: Path) -> None:
    loaded = load(models_dir, "tiny", prefix_cache_bytes=200_000)
    engine = Engine(max_waiting=200, max_batch=4)
    engine.start()
    draw = random.Random(1)
    generations = [Generation(loaded, prompt(draw, 30), sampler(0, 1, None), 2) for _ in range(60)]
    engine.submit(generations)
    for generation in generations:
        generation.future.result(60)
    engine.stop()
    held = sum(snapshot.size for snapshot in loaded.prefixes._snapshots.values())
    assert 0 < held <= 200_000
    assert held == loaded.prefixes._size


def test_no_more_join_than_the_memory_has_room_for(loaded: LoadedModel) -> None:
    draw = random.Random(8)
    together: list[int] = []

    def asks(engine: Engine) -> int:
        def note(_: list[int]) -> None:
            together.append(engine._active())

        together.clear()
        generations = [Generation(loaded, prompt(draw, 30), sampler(0, 1, None), 6, on_token=note) for _ in range(9)]
        engine.submit(generations)
        engine.start()
        for generation in generations:
            assert_alone(loaded, generation, generation.future.result(60))
        engine.stop()
        return max(together)

    assert asks(Engine(max_waiting=9, max_batch=9, batch_bytes=1)) == 1
    assert asks(Engine(max_waiting=9, max_batch=9)) > 4


def test_a_cancelled_answer_ends_and_the_others_go_on(engine: Engine, loaded: LoadedModel) -> None:
    draw = random.Random(2)
    generations = [Generation(loaded, prompt(draw, 20), sampler(1, 1, 3), 400) for _ in range(3)]
    generations[1].cancelled = True
    engine.submit(generations)
    finished: list[Finished] = [generation.future.result(60) for generation in generations]
    assert finished[1].reason == "cancelled"
    assert finished[1].tokens == []
    assert "cancelled" not in (finished[0].reason, finished[2].reason)


def test_a_model_that_fails_fails_its_requests_only(engine: Engine, loaded: LoadedModel) -> None:
    bad = Generation(loaded, [10**6], sampler(0, 1, None), 2)
    good = Generation(loaded, [20, 21], sampler(0, 1, None), 2)
    engine.submit([bad, good])
    with pytest.raises(ModelFailedError, match="failed while it answered"):
        bad.future.result(60)
    assert_alone(loaded, good, good.future.result(60))


def test_a_full_queue_takes_nothing_of_a_request(loaded: LoadedModel) -> None:
    engine = Engine(max_waiting=2, max_batch=1)
    generations = [Generation(loaded, [20], sampler(0, 1, None), 1) for _ in range(3)]
    with pytest.raises(QueueFullError):
        engine.submit(generations)
    engine.start()
    engine.stop()
    assert not any(generation.future.done() for generation in generations)


def test_stopping_fails_what_is_not_complete(loaded: LoadedModel) -> None:
    engine = Engine(max_waiting=9, max_batch=1)
    generations = [Generation(loaded, [20], sampler(0, 1, None), 10**6) for _ in range(3)]
    engine.submit(generations)
    engine.start()
    engine.stop()
    for generation in generations:
        with pytest.raises(ModelFailedError, match="stopping"):
            generation.future.result(60)


@pytest.mark.filterwarnings("ignore:Exception in thread engine:pytest.PytestUnhandledThreadExceptionWarning")
def test_nothing_waits_for_an_engine_that_has_ended(loaded: LoadedModel) -> None:
    def end(_: list[int]) -> None:
        # Not among what an engine survives.
        raise SystemExit

    engine = Engine(max_waiting=9, max_batch=2)
    generations = [Generation(loaded, [20, 21], sampler(0, 1, None), 2, on_token=end) for _ in range(3)]
    engine.submit(generations)
    engine.start()
    for generation in generations:
        with pytest.raises(ModelFailedError, match="stopping"):
            generation.future.result(60)
    engine.join(60)
    assert not engine.is_alive()
    with pytest.raises(ModelFailedError, match="stopping"):
        engine.submit([Generation(loaded, [20], sampler(0, 1, None), 1)])


def test_engines_answer_together_what_each_would_alone(
    loaded: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.get_num_threads", lambda: 3)
    engines = Engines(Settings(data=tmp_path, max_batch=2))
    draw = random.Random(4)
    threads: set[int] = set()

    def note(_: list[int]) -> None:
        threads.add(threading.get_ident())

    beginning = prompt(draw, 40)
    generations = [
        Generation(loaded, beginning + prompt(draw, 20), sampler(0, 1, None), 8, on_token=note) for _ in range(30)
    ]
    for generation in generations:
        engines.submit([generation])
    engines.start()
    assert engines.is_alive()
    for generation in generations:
        assert_alone(loaded, generation, generation.future.result(60))
    engines.stop()
    assert not engines.is_alive()
    assert len(threads) == 3


@pytest.mark.parametrize("large", [False, True])
def test_an_engine_without_work_answers_for_one_that_has_too_much_unless_the_model_is_large(
    loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch, large: bool
) -> None:
    monkeypatch.setattr("infra.model_server.threads.WORTH_SHARING", 1 if large else 1 << 40)
    busy, idle = Engine(max_waiting=40, max_batch=1), Engine(max_waiting=40, max_batch=1)
    busy.peers, idle.peers = [idle], [busy]
    draw = random.Random(f"relief {large}")
    threads: dict[int, int] = {}
    conversations = [prompt(draw, 40) for _ in range(8)]

    def note(_: list[int]) -> None:
        threads[threading.get_ident()] = threads.get(threading.get_ident(), 0) + 1

    generations = [
        Generation(loaded, whole[:length], sampler(0, 1, None), 8, on_token=note)
        for whole in conversations
        for length in (20, 40)
    ]
    busy.submit(generations)
    for engine in (busy, idle):
        engine.start()
    for generation in generations:
        assert_alone(loaded, generation, generation.future.result(60))
    for engine in (busy, idle):
        engine.stop()
    assert len(threads) == (1 if large else 2)


def test_what_is_handed_over_is_whole_conversations_and_not_what_is_about_to_be_read(loaded: LoadedModel) -> None:
    engine = Engine(max_waiting=9, max_batch=9)
    draw = random.Random("handed over")
    one, other = prompt(draw, 40), prompt(draw, 40)
    generations = [
        Generation(loaded, tokens, sampler(0, 1, None), 1) for tokens in (one[:20], one, other[:20], other[:30], other)
    ]
    engine.submit(generations)
    assert engine.give() == generations[2:]
    assert engine._next() == generations[:2]
    later = [Generation(loaded, tokens, sampler(0, 1, None), 1) for tokens in (other[:30], [*one, 20], other)]
    engine.submit(later)
    assert engine.give() == later[2:]
    assert engine.give() == []


def test_engines_have_one_limit_and_keep_a_large_model_together(
    loaded: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.get_num_threads", lambda: 2)
    monkeypatch.setattr("infra.model_server.threads.WORTH_SHARING", 1)
    engines = Engines(Settings(data=tmp_path, max_waiting=3))
    for _ in range(3):
        engines.submit([Generation(loaded, [20], sampler(0, 1, None), 1)])
    assert [engine.load for engine in engines._engines] == [3, 0]
    with pytest.raises(QueueFullError, match="3 requests"):
        engines.submit([Generation(loaded, [20], sampler(0, 1, None), 1)])


@settings(deadline=None)
@given(st.floats(0.1, 2), st.floats(0.05, 1), st.integers(0, 2**62))
def test_sampling_stays_within_top_p(temperature: float, top_p: float, seed: int) -> None:
    logits = torch.tensor([[2.0, 1.0, 0.0, -1.0, -9.0]])
    probabilities = torch.softmax(logits[0] / temperature, -1)
    allowed = int((probabilities.cumsum(-1) - probabilities < top_p).sum())
    [token] = pick(logits, [sampler(temperature, top_p, seed)])
    assert token < allowed
    assert pick(logits, [sampler(temperature, top_p, seed)]) == [token]


def test_a_temperature_of_zero_takes_the_likeliest() -> None:
    logits = torch.tensor([[0.0, 3.0, 1.0], [5.0, 0.0, 1.0]])
    assert pick(logits, [sampler(0, 1, 1), sampler(0, 0.1, None)]) == [1, 0]


def test_a_snapshot_that_would_fill_the_room_is_not_kept(models_dir: Path) -> None:
    loaded = load(models_dir, "tiny", prefix_cache_bytes=1000)
    with torch.inference_mode():
        output = loaded.model(input_ids=torch.tensor([[20, 21, 22]]), use_cache=True)
    prefixes = PrefixCache(1000)
    prefixes.add(as_text([20, 21, 22]), Snapshot(3, output.past_key_values, output.logits[0, -1]))
    assert prefixes.longest(as_text([20, 21, 22, 23])) is None
