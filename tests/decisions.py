"""A small decision set on disk, for tests and benchmarks."""

import hashlib
import json
from pathlib import Path
from typing import Any

from tasks.core.evaluation import DecisionSet, ItemMeta

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": f"Call {name}.",
            "parameters": {"type": "object", "properties": {argument: {"type": "string"}}, "required": [argument]},
        },
    }
    for name, argument in (("find_user_id_by_email", "email"), ("get_user_details", "user_id"))
]


def write_decisions(folder: Path, conversations: int) -> DecisionSet:
    """Write a set of three decisions a conversation: look up, fetch the profile, answer."""
    items, metas = [], []
    for index in range(conversations):
        for turn in range(3):
            items.append(json.dumps({"item": _item(index, turn)}))
            metas.append(_meta(index, turn).model_dump_json())
    folder.mkdir(parents=True, exist_ok=True)
    path, meta_path = folder / "items.jsonl", folder / "items.meta.jsonl"
    content = "".join(line + "\n" for line in items).encode()
    path.write_bytes(content)
    meta_path.write_text("".join(line + "\n" for line in metas), encoding="utf-8")
    return DecisionSet(
        path=str(path),
        meta_path=str(meta_path),
        items=len(items),
        call_items=2 * conversations,
        conversations=conversations,
        sha256=hashlib.sha256(content).hexdigest(),
    )


def gold_call(request: dict[str, Any]) -> tuple[str, dict[str, str]] | None:
    """Return the right call for a request of the set, or None where the right move is to answer."""
    messages = request["messages"]
    email = messages[1]["content"].split()[-1]
    match len(messages):
        case 2:
            return "find_user_id_by_email", {"email": email}
        case 4:
            return "get_user_details", {"user_id": messages[3]["content"]}
    return None


def _item(index: int, turn: int) -> dict[str, Any]:
    email, user_id = f"ann{index}@example.com", f"ann_lee_{1000 + index}"
    lookup = _call("find_user_id_by_email", {"email": email}, 1)
    details = _call("get_user_details", {"user_id": user_id}, 2)
    history = [
        {"role": "system", "content": "Help the customers of the shop."},
        {"role": "user", "content": f"Hello, my email is {email}"},
        lookup,
        {"role": "tool", "content": user_id, "tool_call_id": "call_1"},
        details,
        {"role": "tool", "content": json.dumps({"user_id": user_id}), "tool_call_id": "call_2"},
    ]
    right = [lookup, details, {"role": "assistant", "content": "How can I help you?", "tool_calls": []}][turn]
    return {"messages": history[: 2 + 2 * turn], "tools": TOOLS, "expected_output": right}


def _call(name: str, arguments: dict[str, str], number: int) -> dict[str, Any]:
    function = {"name": name, "arguments": json.dumps(arguments)}
    calls = [{"id": f"call_{number}", "type": "function", "function": function}]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def _meta(index: int, turn: int) -> ItemMeta:
    return ItemMeta(
        item_id=f"c{index}-t{turn}",
        conversation_id=f"c{index}",
        scenario_id=f"s{index}",
        customer_id=f"ann_lee_{1000 + index}",
        turn=turn,
        kind="text" if turn == 2 else "call",
        intents=("order_status",),
        tool=["find_user_id_by_email", "get_user_details", None][turn],
        depth=turn,
        propagates=turn == 1,
    )
