"""``scot serve --web`` as people run it: real Ray Serve, and the web service beside it, until Ctrl-C."""

from __future__ import annotations

import base64
import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from scot.ports import free_port
from tests.support.random_encoder import save_random_encoder
from tests.support.served_web import ask

pytestmark = pytest.mark.timeout(600)


def test_both_start_answer_and_stop(tmp_path: Path) -> None:
    port, web_port = free_port(), free_port()
    command = [sys.executable, "-m", "services.search.local", "--data", str(tmp_path / "data"), "--threads", "1"]
    command += ["--encoder", save_random_encoder(tmp_path / "encoder"), "--port", str(port)]
    command += ["--web", "--web-port", str(web_port)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert process.stdout is not None
        lines = []
        while not lines or "web service" not in lines[-1]:
            line = process.stdout.readline()
            assert line, process.communicate()
            lines.append(line)
        assert lines[0].startswith(f"SCOT listens on localhost:{port} (gRPC)")
        url = f"http://localhost:{web_port}"
        assert lines[-1] == f"SCOT's web service listens on {url} for localhost:{port}; /docs describes it\n"
        buffer = io.BytesIO()
        Image.new("RGB", (48, 48), "red").save(buffer, "PNG")
        item = {"itemId": "red", "image": base64.b64encode(buffer.getvalue()).decode()}
        assert ask(url, "/v1/upsert-items", {"items": [item]}).json["upserted"] == "1"
        found = ask(url, "/v1/compose-search", {"edits": [{"text": "red"}]}, x_request_id="mine")
        assert [hit["itemId"] for hit in found.json["hits"]] == ["red"]
        assert found.json["requestId"] == found.headers["x-request-id"] == "mine"
        refused = ask(url, "/v1/compose-search", {"edits": [{"text": ""}]})
        assert (refused.status, refused.json["detail"]) == (400, "edits[0].text: must not be empty")
        queries = {"requests": [{"edits": [{"text": "red"}]}, {}]}
        first, second, end = ask(url, "/v1/compose-search-stream", queries).events
        assert (len(first[1]["hits"]), second[1]["error"]["status"], end[0]) == (1, "INVALID_ARGUMENT", "end")
        assert ask(url, "/v1/pictures/red").headers["content-type"] == "image/webp"
        assert ask(url, "/readyz").status == 200
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
        assert "Traceback" not in errors
        with pytest.raises(ConnectionRefusedError):
            ask(url, "/healthz")
        with pytest.raises(ProcessLookupError):
            os.killpg(process.pid, 0)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=120)
