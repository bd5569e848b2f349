"""The decisions of a set as an inspect_ai task; run by the interpreter that has inspect_ai, from bench_inspect.

python inspect_task.py ITEMS BASE_URL IN_FLIGHT LOG_FOLDER
"""

import json
import os
import sys
import time
from pathlib import Path

from inspect_ai import Task, eval
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import (
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageTool,
    ChatMessageUser,
    GenerateConfig,
    get_model,
)
from inspect_ai.scorer import Score, accuracy, scorer
from inspect_ai.solver import solver
from inspect_ai.tool import ToolCall, ToolInfo, ToolParams

# As the harness asks: see tasks.ask.request_for.
SAMPLING = GenerateConfig(temperature=0, seed=7, max_tokens=256, parallel_tool_calls=False)


def message(wire):
    content = wire.get("content") or ""
    match wire["role"]:
        case "system":
            return ChatMessageSystem(content=content)
        case "user":
            return ChatMessageUser(content=content)
        case "tool":
            return ChatMessageTool(content=content, tool_call_id=wire["tool_call_id"])
    calls = [
        ToolCall(id=c["id"], function=c["function"]["name"], arguments=json.loads(c["function"]["arguments"]))
        for c in wire.get("tool_calls") or ()
    ]
    return ChatMessageAssistant(content=content, tool_calls=calls or None)


def calls_of(wire):
    return [[c["function"]["name"], json.loads(c["function"]["arguments"])] for c in wire.get("tool_calls") or ()]


@solver
def answer(tools):
    async def solve(state, generate):
        state.output = await get_model().generate(state.messages, tools=tools, config=SAMPLING)
        return state

    return solve


@scorer(metrics=[accuracy()])
def tool_calls():
    async def score(state, target):
        made = [[call.function, call.arguments] for call in state.output.message.tool_calls or ()]
        return Score(value=float(made == json.loads(target.text)), answer=json.dumps(made))

    return score


def main():
    path, base_url, in_flight, logs = sys.argv[1:]
    items = [json.loads(line)["item"] for line in Path(path).read_text().splitlines()]
    tools = [
        ToolInfo(
            name=tool["function"]["name"],
            description=tool["function"]["description"],
            parameters=ToolParams.model_validate(tool["function"]["parameters"]),
        )
        for tool in items[0]["tools"]
    ]
    samples = [
        Sample(id=number, input=[message(m) for m in i["messages"]], target=json.dumps(calls_of(i["expected_output"])))
        for number, i in enumerate(items, start=1)
    ]
    os.environ["BENCH_API_KEY"] = "bench"
    task = Task(dataset=MemoryDataset(samples), solver=answer(tools), scorer=tool_calls())
    started, cpu = time.perf_counter(), time.process_time()
    [log] = eval(
        task,
        model="openai-api/bench/bench",
        model_base_url=base_url,
        max_connections=int(in_flight),
        max_samples=int(in_flight),
        log_dir=logs,
        display="none",
    )
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu
    right = log.results.scores[0].metrics["accuracy"].value
    sys.stdout.write(json.dumps({"seconds": round(seconds, 2), "cpu_seconds": cpu_seconds, "right": right}) + "\n")


if __name__ == "__main__":
    main()
