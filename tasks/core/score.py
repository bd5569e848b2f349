"""Scores one answer against one decision, and says in words what was expected and what came."""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from tasks.core import grader
from tasks.core.conversation import ToolCall
from tasks.core.evaluation import Answer, EvalItem, ItemMeta, Played, Score
from tasks.core.failure import Missed, ShopFacts, failure_of
from tasks.core.move import act_of, move_of
from tasks.core.provenance import Sources, unsourced
from tasks.core.record import canonical_json
from tasks.core.tool_schema import ToolBook

# Explanations are read by people: a model may answer with pages, or with a thousand calls.
_SHOWN = 300

NO_SHOP = ShopFacts()


def score_answer(
    item: EvalItem, meta: ItemMeta, answer: Answer, shop: ShopFacts = NO_SHOP, played: Played | None = None
) -> Score:
    """Return the score of an answer; an error scores 0, calls nothing and says why.

    `played` is what came of the calls on a sandbox, where they were not those expected and could be played.
    """
    move = move_of(item.item, shop.writes)
    if answer.error is not None:
        return Score(
            item_id=meta.item_id,
            value=0.0,
            answer="",
            explanation=f"{_expected(item)}; got no answer ({answer.error}): {answer.error_message}",
            error=answer.error,
            move=move,
            failure="no_answer",
            latency_s=answer.latency_s,
        )
    value = grade(item, answer)
    expected = grader.expected_calls(item.item)
    invented = [
        invented_values(call, item.item["messages"], item.item.get("tools") or []) for call in answer.tool_calls
    ]
    name_right = bool(expected) and sorted(name for name, _ in expected) == sorted(c.name for c in answer.tool_calls)
    # A value from nowhere earns no credit, even where it happens to be the right one.
    equivalent = value < 1.0 and played is not None and played.same and not any(invented)
    missed = Missed(
        expected=expected,
        calls=answer.tool_calls,
        text=answer.content or "",
        tools=_tool_names(item),
        customer_id=meta.customer_id,
        invented=any(invented),
        shop=shop,
    )
    return Score(
        item_id=meta.item_id,
        value=value,
        answer="; ".join(map(_shown, answer.tool_calls)) if answer.tool_calls else answer.content or "",
        explanation=_explained(item, answer, value, invented),
        called=bool(answer.tool_calls),
        name_right=name_right,
        arguments_right=name_right and value == 1.0,
        invented=tuple(name for names in invented for name in names),
        invented_calls=sum(bool(names) for names in invented),
        calls=len(answer.tool_calls),
        move=move,
        act=None if answer.tool_calls or not (answer.content or "").strip() else act_of(answer.content or ""),
        judged=played is not None,
        equivalent=equivalent,
        wrong_write=value < 1.0 and not equivalent and played is not None and played.changed,
        failure=None if value == 1.0 or equivalent else failure_of(missed),
        made=answer.tool_calls,
        latency_s=answer.latency_s,
        prompt_tokens=answer.prompt_tokens,
        completion_tokens=answer.completion_tokens,
    )


def grade(item: EvalItem, answer: Answer) -> float:
    """Return the grader's value of an answer, 0.0 to 1.0."""
    return grader.grade({"output_tools": [_wire(call) for call in answer.tool_calls]}, item.item)


def _tool_names(item: EvalItem) -> frozenset[str]:
    return frozenset(tool["function"]["name"] for tool in item.item.get("tools") or [])


def invented_values(
    call: ToolCall, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]]
) -> list[str]:
    """Return each argument value of a call that neither the conversation so far (OpenAI messages) nor a tool holds."""
    try:
        sources = Sources(_tool_book(canonical_json(tools)))
        for message in messages:
            sources.add(message)
        return unsourced(grader.read_arguments(call.arguments) or {}, sources)
    except RecursionError:  # brackets within brackets, as deep as the model liked, are in no conversation
        return ["the arguments, nested without end,"]


@lru_cache(maxsize=16)
def _tool_book(tools: str) -> ToolBook:
    """Return the compiled tools of a request; a whole set has the same few, and compiling takes longer than scoring."""
    return ToolBook(json.loads(tools))


def _wire(call: ToolCall) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _expected(item: EvalItem) -> str:
    calls = item.item["expected_output"]["tool_calls"]
    if not calls:
        return "expected an answer in text"
    shown = (f"{name}{json.dumps(arguments, ensure_ascii=False)}" for name, arguments in map(grader.read_call, calls))
    return "expected " + "; ".join(shown)


def _explained(item: EvalItem, answer: Answer, value: float, invented: list[list[str]]) -> str:
    if not answer.tool_calls:
        return (
            "answered in text, as expected"
            if value == 1.0
            else f"{_expected(item)}; got text {_cut(answer.content or '')!r}"
        )
    got = _cut("; ".join(map(_shown, answer.tool_calls)))
    if value == 1.0:
        return f"as expected: {got}"
    notes = [*_differences(item, answer), *(f"{name} invented" for names in invented for name in names)]
    return f"{_expected(item)}; got {got}" + (f": {_cut(', '.join(notes))}" if notes else "")


def _differences(item: EvalItem, answer: Answer) -> list[str]:
    """Return how the arguments differ, where one call was expected and one of the same tool came."""
    expected = grader.expected_calls(item.item)
    if len(expected) != 1 or len(answer.tool_calls) != 1 or expected[0][0] != answer.tool_calls[0].name:
        return []
    right, made = expected[0][1], grader.read_arguments(answer.tool_calls[0].arguments)
    if made is None:
        return ["the arguments are not a JSON object"]
    return [
        *(f"{name} is missing" for name in right if name not in made),
        *(f"there is no {name}" for name in made if name not in right),
        *(
            f"{name} is {made[name]!r} instead of {right[name]!r}"
            for name in right
            if name in made and not grader.same_value(right[name], made[name])
        ),
    ]


def _shown(call: ToolCall) -> str:
    return f"{call.name}{call.arguments}"


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]} ... ({len(text)} characters)"
