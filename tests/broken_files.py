"""A corpus of broken fine-tuning files: each with the one error that is in it, its line and its JSON path.

Every file has a good row before and after the broken one, where its fault leaves room for them.
"""

import copy
import gzip
import json
from collections.abc import Callable
from typing import Any, NamedTuple

Row = dict[str, Any]


class Broken(NamedTuple):
    """A broken file and what must be said of it. Line 0 is the whole file."""

    name: str
    content: bytes
    code: str
    line: int
    path: str


def good_row() -> Row:
    """Return a row as many people have it: a system prompt, two calls in one turn, text beside them."""
    return {
        "messages": [
            {"role": "system", "content": "You help."},
            {"role": "user", "content": "What is the weather in Paris and in Rome?"},
            {
                "role": "assistant",
                "content": "Let me see.",
                "tool_calls": [call("call_1", '{"city": "Paris"}'), call("call_2", '{"city": "Rome"}')],
            },
            {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
            {"role": "tool", "tool_call_id": "call_2", "content": "rain"},
            {"role": "assistant", "content": "Sunny in Paris, rain in Rome."},
        ],
        "tools": [copy.deepcopy(TOOL)],
    }


def call(call_id: str, arguments: str) -> Row:
    """Return a call of the one tool."""
    return {"id": call_id, "type": "function", "function": {"name": "get_weather", "arguments": arguments}}


TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1}},
            "required": ["city"],
        },
    },
}
AGAIN = {"role": "assistant", "content": None, "tool_calls": [call("call_1", '{"city": "Rome"}')]}
LINE = json.dumps(good_row()).encode()


def between(line: bytes) -> bytes:
    """Return a file with a line between two good ones."""
    return LINE + b"\n" + line + b"\n" + LINE + b"\n"


def changed(name: str, code: str, path: str, change: Callable[[Row], object]) -> Broken:
    """Return a file whose second row is changed."""
    row = good_row()
    change(row)
    return Broken(name, between(json.dumps(row).encode()), code, 2, path)


def message(name: str, code: str, turn: int, path: str, **change: Any) -> Broken:
    """Return a file in whose second row one message is changed; a value of Ellipsis removes a key."""

    def apply(row: Row) -> None:
        target = row["messages"][turn]
        target.update({key: value for key, value in change.items() if value is not ...})
        for key in [key for key, value in change.items() if value is ...]:
            del target[key]

    return changed(name, code, f"$.messages[{turn}]{path}", apply)


def first_call(name: str, code: str, path: str, change: Callable[[Row], object]) -> Broken:
    """Return a file in whose second row the first call is changed."""
    where = f"$.messages[2].tool_calls[0]{path}"
    return changed(name, code, where, lambda row: change(row["messages"][2]["tool_calls"][0]))


def tool(name: str, code: str, path: str, change: Callable[[Row], object]) -> Broken:
    """Return a file in whose second row the tool is changed."""
    return changed(name, code, f"$.tools[0]{path}", lambda row: change(row["tools"][0]))


def arguments(name: str, code: str, text: Any, path: str = ".arguments") -> Broken:
    """Return a file in whose second row the first call has other arguments."""
    return first_call(name, code, f".function{path}", lambda made: made["function"].update(arguments=text))


def deep(depth: int) -> bytes:
    """Return a list in a list in a list."""
    return b"[" * depth + b"]" * depth


def end_with(role: str, **more: str) -> Callable[[Row], object]:
    """Return a change that appends a message."""
    return lambda row: row["messages"].append({"role": role, "content": "x", **more})


BROKEN: tuple[Broken, ...] = (
    # The bytes of the file.
    Broken("empty", b"", "empty", 0, ""),
    Broken("only blank lines", b"\n\n \n", "empty", 0, ""),
    Broken("byte order mark", b"\xef\xbb\xbf" + between(LINE), "byte-order-mark", 1, ""),
    Broken("utf-16", between(LINE).decode().encode("utf-16"), "not-utf-8", 1, ""),
    Broken("utf-16 big-endian", b"\xfe\xff" + between(LINE).decode().encode("utf-16-be"), "not-utf-8", 1, ""),
    Broken("utf-32", between(LINE).decode().encode("utf-32"), "not-utf-8", 1, ""),
    Broken("one line in latin-1", between(LINE.replace(b"You help.", b"Voil\xe0.")), "not-utf-8", 2, ""),
    Broken("gzip cut off", gzip.compress(between(LINE))[:-8], "gzip-damaged", 4, ""),
    Broken("gzip with wrong sum", gzip.compress(between(LINE))[:-8] + bytes(8), "gzip-damaged", 4, ""),
    Broken("gzip of a byte order mark", gzip.compress(b"\xef\xbb\xbf" + LINE), "byte-order-mark", 1, ""),
    # The JSON of a line.
    Broken("cut off in a string", between(LINE[:200]), "json", 2, ""),
    Broken("cut off after a key", between(b'{"messages":'), "json", 2, ""),
    Broken("comma at the end", between(LINE + b","), "json", 2, ""),
    Broken("two rows on a line", between(LINE + LINE), "json", 2, ""),
    Broken("python instead of json", between(repr(good_row()).encode()), "json", 2, ""),
    Broken("not a number", between(LINE.replace(b'"sunny"', b"NaN")), "json", 2, ""),
    Broken("infinity", between(LINE.replace(b'"sunny"', b"-Infinity")), "json", 2, ""),
    Broken("control character", between(LINE.replace(b"sunny", b"sun\x01ny")), "json", 2, ""),
    Broken("bad escape", between(LINE.replace(b"sunny", b"sun\\xny")), "json", 2, ""),
    Broken("half a surrogate pair", between(LINE.replace(b"sunny", b"\\ud83d")), "surrogate", 2, ""),
    Broken("nested too deeply", between(deep(100_000)), "too-deep", 2, ""),
    Broken("one json array", json.dumps([good_row(), good_row()]).encode(), "row-not-object", 1, "$"),
    Broken("pretty-printed json", b"[\n" + LINE + b"\n", "json", 1, ""),
    Broken("comment", between(b"# rows"), "json", 2, ""),
    # The row.
    Broken("a number as row", between(b"7"), "row-not-object", 2, "$"),
    Broken("null as row", between(b"null"), "row-not-object", 2, "$"),
    Broken("prompt and completion", between(b'{"prompt": "a", "completion": "b"}'), "messages-missing", 2, "$"),
    Broken("sharegpt", between(b'{"conversations": [{"from": "human"}]}'), "messages-missing", 2, "$"),
    Broken("preference row", between(b'{"input": {}, "preferred_output": []}'), "messages-missing", 2, "$"),
    changed("messages as text", "messages-not-list", "$.messages", lambda r: r.update(messages="hi")),
    changed("no messages", "no-messages", "$.messages", lambda r: r.update(messages=[])),
    changed(
        "parallel as text",
        "parallel-not-boolean",
        "$.parallel_tool_calls",
        lambda r: r.update(parallel_tool_calls="no"),
    ),
    # The tools.
    changed("tools as object", "tools-not-list", "$.tools", lambda r: r.update(tools=r["tools"][0])),
    changed("tool twice", "tool-twice", "$.tools[1].function.name", lambda r: r["tools"].append(copy.deepcopy(TOOL))),
    changed("tool as text", "tool-shape", "$.tools[1]", lambda r: r["tools"].append("get_time")),
    tool("tool without type", "tool-shape", "", lambda t: t.pop("type")),
    tool("tool without function", "tool-shape", "", lambda t: t.pop("function")),
    tool("tool without name", "tool-name", ".function.name", lambda t: t["function"].pop("name")),
    tool("tool name with blank", "tool-name", ".function.name", lambda t: t["function"].update(name="get weather")),
    tool("tool name too long", "tool-name", ".function.name", lambda t: t["function"].update(name="w" * 65)),
    tool(
        "description as list",
        "tool-description",
        ".function.description",
        lambda t: t["function"].update(description=[]),
    ),
    tool(
        "parameters as list", "tool-parameters", ".function.parameters", lambda t: t["function"].update(parameters=[])
    ),
    tool(
        "parameters no schema",
        "tool-parameters",
        ".function.parameters",
        lambda t: t["function"]["parameters"].update(type="thing"),
    ),
    # The messages.
    changed("message as text", "message-not-object", "$.messages[1]", lambda r: r["messages"].__setitem__(1, "hi")),
    message("role missing", "role", 1, ".role", role=...),
    message("role unknown", "role", 1, ".role", role="human"),
    message("role null", "role", 1, ".role", role=None),
    message("role as list", "role", 1, ".role", role=["user"]),
    message("user without content", "content-missing", 1, ".content", content=...),
    message("result null", "content-missing", 3, ".content", content=None),
    message("result as object", "content-type", 3, ".content", content={"sky": "blue"}),
    message("content as number", "content-type", 1, ".content", content=7),
    message("part without type", "content-part", 1, ".content[0]", content=[{"text": "hi"}]),
    message("part of unknown type", "content-part", 1, ".content[0]", content=[{"type": "smell"}]),
    message("text part without text", "content-part", 1, ".content[0].text", content=[{"type": "text"}]),
    message("assistant says nothing", "says-nothing", 5, ".content", content=None),
    message("weight of two", "weight", 5, ".weight", weight=2),
    message("weight as fraction", "weight", 5, ".weight", weight=0.5),
    message("user makes calls", "calls-by-other-role", 1, ".tool_calls", tool_calls=[call("c", "{}")]),
    # Calls and results.
    message("calls empty", "calls-empty", 5, ".tool_calls", tool_calls=[]),
    message("calls as object", "calls-empty", 5, ".tool_calls", tool_calls={}),
    message("result without call id", "tool-call-id-missing", 3, ".tool_call_id", tool_call_id=...),
    message("result of no call", "result-without-call", 4, ".tool_call_id", tool_call_id="call_9"),
    message("result twice", "answered-twice", 4, ".tool_call_id", tool_call_id="call_1"),
    changed("result left out", "call-without-result", "$.messages[2].tool_calls[1]", lambda r: r["messages"].pop(4)),
    changed("call id twice", "call-id-twice", "$.messages[6].tool_calls[0].id", lambda r: r["messages"].append(AGAIN)),
    first_call("call as text", "call-shape", "", lambda c: (c.clear(), c.update(id="call_1", type="function"))),
    first_call("call without id", "call-id-missing", ".id", lambda c: c.pop("id")),
    first_call("call without type", "call-type", ".type", lambda c: c.pop("type")),
    first_call("call of other type", "call-type", ".type", lambda c: c.update(type="tool")),
    first_call("call without name", "call-name", ".function.name", lambda c: c["function"].pop("name")),
    first_call(
        "call of unknown tool", "unknown-tool", ".function.name", lambda c: c["function"].update(name="get_time")
    ),
    arguments("arguments as object", "arguments-not-text", {"city": "Paris"}),
    arguments("arguments null", "arguments-not-text", None),
    arguments("arguments cut off", "arguments-json", '{"city": "Par'),
    arguments("arguments as list", "arguments-json", '["Paris"]'),
    arguments("arguments empty", "arguments-json", ""),
    arguments("arguments with a key twice", "arguments-json", '{"city": "Paris", "city": "Rome"}'),
    arguments("arguments in python", "arguments-json", "{'city': 'Paris'}"),
    arguments("argument missing", "arguments-schema", "{}"),
    arguments("argument of wrong type", "arguments-schema", '{"city": 7}'),
    arguments("argument out of range", "arguments-schema", '{"city": "Paris", "days": 0}'),
    # The end.
    changed("ends with the user", "last-not-assistant", "$.messages[6]", end_with("user")),
    changed("ends with a result", "last-not-assistant", "$.messages[4]", lambda r: r["messages"].pop(5)),
    changed("no assistant", "nothing-to-learn", "$.messages", lambda r: r.update(messages=r["messages"][:2])),
    changed(
        "all weights zero", "nothing-to-learn", "$.messages", lambda r: [m.update(weight=0) for m in r["messages"]]
    ),
)
