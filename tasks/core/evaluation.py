"""Evaluation items, answers, scores and reports: what is measured, as values."""

from typing import Any, Literal

from pydantic import Field

from tasks.core.conversation import ToolCall
from tasks.core.failure import FailureKind
from tasks.core.move import Act, Move
from tasks.core.record import Record

Kind = Literal["call", "text"]
ErrorKind = Literal["timeout", "unreachable", "busy", "provider", "filtered", "context"]


class EvalItem(Record):
    """One decision: the gold history of a held-out conversation and the right next move.

    `item` is exactly what OpenAI and Azure Evals take: `messages`, `tools` and `expected_output`
    (an assistant message whose `tool_calls` is empty where the right move is to answer).
    """

    item: dict[str, Any]


class ItemMeta(Record):
    """The sidecar line of an item, in the same order."""

    item_id: str
    conversation_id: str
    scenario_id: str
    customer_id: str
    turn: int
    kind: Kind
    intents: tuple[str, ...]
    tool: str | None
    depth: int
    propagates: bool


class DecisionSet(Record):
    """A fixed set of decisions on disk; two runs are comparable when `sha256`, over the items file, is equal."""

    path: str
    meta_path: str
    items: int
    call_items: int
    conversations: int
    sha256: str


class Answer(Record):
    """What a model answered to one request, or why there is no answer. Latency is that of the last attempt."""

    content: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: str | None = None
    error: ErrorKind | None = None
    error_message: str = ""
    latency_s: float = 0.0
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Score(Record):
    """What one model did with one item. `value` is the grader's; an error scores 0 and says so.

    `name_right` is true when exactly the expected tools were called, `arguments_right` when their arguments were right
    too. `invented` names the argument values that nothing in the conversation holds; `invented_calls` counts the calls,
    out of `calls`, that hold one. `move` is what was right, `act` what the model's words did where it called nothing.
    `equivalent` calls are not those expected but have the same effect or tell the same; `wrong_write` means that the
    calls changed the shop, and otherwise than was right; both are known only where `judged`, on a sandbox of the shop.
    `failure` says why a decision that is neither right nor equivalent came out wrong. `made` are the calls as they
    came; older scores hold them only in `answer`, as text.
    """

    item_id: str
    value: float
    answer: str
    explanation: str
    error: ErrorKind | None = None
    called: bool = False
    name_right: bool = False
    arguments_right: bool = False
    invented: tuple[str, ...] = ()
    invented_calls: int = 0
    calls: int = 0
    move: Move = "tell"
    act: Act | None = None
    judged: bool = False
    equivalent: bool = False
    wrong_write: bool = False
    failure: FailureKind | None = None
    made: tuple[ToolCall, ...] = ()
    latency_s: float = 0.0
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Played(Record):
    """What came of a model's calls on a sandbox of the shop: `same`, as the right ones do or tell; `changed` it."""

    same: bool
    changed: bool


class Metric(Record):
    """A share (0..1) with its interval; `n` is the number of decisions, calls or points that it is over.

    Where decisions were left unanswered, `worst` and `best` are the share had all of them come out wrong, or right.
    """

    value: float
    low: float
    high: float
    n: int
    worst: float | None = None
    best: float | None = None


class FailureExample(Record):
    """A decision that came out wrong, to look at."""

    kind: FailureKind
    item_id: str
    explanation: str


class EvalReport(Record):
    """All metrics of one model (arm) on one decision set.

    `metrics` is by name (see `tasks.core.metrics`); a metric over nothing is left out, such as `tool_name_accuracy` of
    a model that never calls. `slices` is by slice, such as "intent=cancel", then by metric. `outcomes` counts, by the
    move that was right, what came of it: "right", "equivalent" or a kind of failure. `acts` counts, by what the right
    words do, what the model did: an act, "call" or "no answer". `unjudged` wrong calls could not be played on the
    shop. Latencies are over the answered items; `seconds` is the wall time of the run that made the report, cached
    answers included. `unasked` is above 0 where the evaluation was stopped: then all else is over what was answered.
    """

    arm: str
    model_id: str
    decision_set_sha256: str
    metrics: dict[str, Metric]
    slices: dict[str, dict[str, Metric]]
    outcomes: dict[str, dict[str, int]] = Field(default_factory=dict)
    acts: dict[str, dict[str, int]] = Field(default_factory=dict)
    examples: tuple[FailureExample, ...] = ()
    unjudged: int = 0
    unasked: int = 0
    errored: int
    latency_p50_s: float
    latency_p95_s: float
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    scores_path: str
    scores_sha256: str


class Difference(Record):
    """The paired difference of one metric, second minus first, with `n` of the second.

    It is of two models on the same items, or of one model on the same errands told in two ways (`tasks.core.phrasing`).
    `p_value` is McNemar's, which takes items as independent; `p_clustered` is by permutation over conversations. Both
    are None where each side has decisions or calls of its own. `detectable` is the smallest true difference that this
    set would show, and `needed` how many trials like these would show the one that the profile wants.
    """

    metric: str
    first: float
    second: float
    difference: float
    low: float
    high: float
    p_value: float | None
    n: int
    p_clustered: float | None = None
    detectable: float | None = None
    needed: int | None = None


class Comparison(Record):
    """Two arms on one decision set."""

    base: EvalReport
    tuned: EvalReport
    differences: tuple[Difference, ...]
