"""What `vllm serve` says over HTTP, without a GPU: its options, health, runtime adapters, chat and errors.

Answers name the model and repeat the last message; a message "fall" ends the process, "refuse" is refused.
"""

import argparse
import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

MODELS: dict[str, str] = {}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self._send(200 if self.path == "/health" else 404, b"")

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path == "/v1/load_lora_adapter":
            self._load(body)
        elif body["model"] not in MODELS:
            self._error(404, f"The model `{body['model']}` does not exist.")
        else:
            self._chat(body)

    def _load(self, body: dict[str, Any]) -> None:
        if body["lora_name"] in MODELS:
            self._error(400, f"The lora adapter '{body['lora_name']}' has already been loaded.")
        elif not (Path(body["lora_path"]) / "adapter_config.json").is_file():
            self._error(404, "No adapter found.")
        else:
            MODELS[body["lora_name"]] = body["lora_path"]
            self._send(200, b"Success: LoRA adapter added successfully.")

    def _chat(self, body: dict[str, Any]) -> None:
        said = body["messages"][-1]["content"]
        if said == "fall":
            os._exit(9)
        if said == "refuse":
            self._error(400, "This model's maximum context length is 512 tokens.")
            return
        choice = {"index": 0, "logprobs": None, "finish_reason": "stop"}
        head = {"id": "chatcmpl-1", "created": os.getpid(), "model": body["model"]}
        if body.get("stream"):
            parts = [{**choice, "delta": {"role": "assistant", "content": part}} for part in ("you said: ", said)]
            chunks = [{**head, "object": "chat.completion.chunk", "choices": [part]} for part in parts]
            lines = [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks]
            self._send(200, "".join([*lines, "data: [DONE]\n\n"]).encode(), "text/event-stream")
            return
        if body.get("tools"):
            function = {"name": body["tools"][0]["function"]["name"], "arguments": json.dumps({"key": said})}
            message = {"role": "assistant", "content": None, "tool_calls": [
                {"id": "chatcmpl-tool-1", "type": "function", "function": function}
            ]}  # fmt: skip
            choice["finish_reason"] = "tool_calls"
        else:
            message = {"role": "assistant", "content": json.dumps(body)}
        usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
        answer = {**head, "object": "chat.completion", "choices": [{**choice, "message": message}], "usage": usage}
        self._send(200, json.dumps(answer).encode())

    def _error(self, status: int, message: str) -> None:
        error = {"message": message, "type": "BadRequestError", "param": None, "code": status}
        self._send(status, json.dumps({"error": error}).encode())

    def _send(self, status: int, body: bytes, kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main() -> None:
    parser = argparse.ArgumentParser(prog="vllm")
    parser.add_argument("command", choices=["serve"])
    parser.add_argument("model", type=Path)
    parser.add_argument("--served-model-name", required=True)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--generation-config", choices=["auto", "vllm"])
    parser.add_argument("--gpu-memory-utilization", type=float)
    parser.add_argument("--enable-lora", action="store_true", required=True)
    parser.add_argument("--enable-auto-tool-choice", action="store_true", required=True)
    parser.add_argument("--tool-call-parser", choices=["hermes", "mistral", "llama3_json"], required=True)
    options = parser.parse_args()
    if os.environ.get("VLLM_ALLOW_RUNTIME_LORA_UPDATING") != "True":
        sys.exit("Adapters cannot be loaded.")
    if (options.model / "too-large").exists():
        sys.exit("torch.OutOfMemoryError: CUDA out of memory.")
    MODELS[options.served_model_name] = str(options.model)
    ThreadingHTTPServer((options.host, options.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
