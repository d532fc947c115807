"""An OpenAI-compatible endpoint over the rules engine: a real HTTP server whose answers are worth reading."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from scot.edits.rules import RulesEngine

MODEL = "rules-behind-http"


class _Server(ThreadingHTTPServer):
    seconds = 0.0
    request_queue_size = 128


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._send({"object": "list", "data": [{"id": MODEL, "object": "model", "created": 0, "owned_by": "test"}]})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        question = asked["messages"][-1]["content"].splitlines()
        caption = json.loads(question[0].removeprefix("caption: "))
        count = len(json.loads(question[1].removeprefix("aspects: ")))
        time.sleep(self.server.seconds)
        made = RulesEngine().edits(caption, count=count, seed=asked["seed"]).edits
        text = json.dumps({"edits": [edit.answer() for edit in made]})
        message = {"role": "assistant", "content": text}
        self._send(
            {
                "id": "1",
                "object": "chat.completion",
                "created": 0,
                "model": asked["model"],
                "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 100, "completion_tokens": 40, "total_tokens": 140},
            }
        )

    def _send(self, answer: dict[str, Any]) -> None:
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def rules_endpoint(seconds: float = 0.0) -> Iterator[str]:
    """The endpoint's base URL, for the time of the block; every answer takes ``seconds``."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.seconds = seconds
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
