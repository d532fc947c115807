"""An OpenAI-compatible chat endpoint: a real HTTP server of this process whose answers a function makes."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[[Mapping[str, Any]], dict[str, Any]]
"""From the request's JSON to a choice of the completion: its ``message``, perhaps its ``logprobs``."""


class _Server(ThreadingHTTPServer):
    answer: Answer
    model = ""
    seconds = 0.0
    request_queue_size = 128

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.ends = threading.Event()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has gone is no news."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        model = {"id": self.server.model, "object": "model", "created": 0, "owned_by": "test"}
        self._send({"object": "list", "data": [model]})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.ends.wait(self.server.seconds)
        self._send(
            {
                "id": "1",
                "object": "chat.completion",
                "created": 0,
                "model": asked["model"],
                "choices": [{"index": 0, "finish_reason": "stop", **self.server.answer(asked)}],
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


def said(text: str) -> dict[str, Any]:
    """A choice with this answer."""
    return {"message": {"role": "assistant", "content": text}}


@contextmanager
def chat_endpoint(answer: Answer, model: str, seconds: float = 0.0) -> Iterator[str]:
    """The endpoint's base URL, for the time of the block; every answer takes ``seconds``."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.answer, server.model, server.seconds = answer, model, seconds
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.ends.set()
        server.shutdown()
        server.server_close()
        thread.join()
