"""Answers like the HTTP API of Hugging Face's Hub, for one data set in a folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from tests.support.http_server import http_server

_COMMIT = "a" * 40


@contextmanager
def hub(folder: Path, name: str) -> Iterator[str]:
    """Serve a folder as the data set ``OWNER/NAME``; yields the endpoint."""

    class Hub(_Hub):
        root, data_set = folder, name

    with http_server(Hub) as address:
        yield f"http://{address}"


class _Hub(BaseHTTPRequestHandler):
    root: Path
    data_set: str
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        api, files = f"/api/datasets/{self.data_set}", f"/datasets/{self.data_set}/resolve/main/"
        if path == api or path.startswith(f"{api}/revision/"):
            self._json({"id": self.data_set, "sha": _COMMIT, "siblings": []})
        elif path.startswith(f"{api}/tree/main") and (self.root / path[len(f"{api}/tree/main/") :]).is_dir():
            folder = self.root / path[len(f"{api}/tree/main/") :]
            self._json([self._entry(each) for each in sorted(folder.iterdir())])
        elif path.startswith(files) and (self.root / path[len(files) :]).is_file():
            self._file((self.root / path[len(files) :]).read_bytes())
        else:
            self._send(404, b"", {"X-Error-Code": "EntryNotFound" if self.data_set in path else "RepoNotFound"})

    do_HEAD = do_GET

    def _entry(self, path: Path) -> dict[str, Any]:
        name = path.relative_to(self.root).as_posix()
        if path.is_dir():
            return {"type": "directory", "oid": _COMMIT, "size": 0, "path": name}
        return {"type": "file", "oid": _sha(path.read_bytes()), "size": path.stat().st_size, "path": name}

    def _file(self, data: bytes) -> None:
        headers = {"ETag": f'"{_sha(data)}"', "X-Repo-Commit": _COMMIT, "Accept-Ranges": "bytes"}
        wanted = self.headers.get("Range")
        if wanted is None:
            return self._send(200, data, headers)
        first, last = (int(each) if each else len(data) - 1 for each in wanted.removeprefix("bytes=").split("-"))
        part = data[first : last + 1]
        self._send(206, part, {**headers, "Content-Range": f"bytes {first}-{first + len(part) - 1}/{len(data)}"})

    def _json(self, content: Any) -> None:
        self._send(200, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing is logged."""


def _sha(data: bytes) -> str:
    return hashlib.sha1(data, usedforsecurity=False).hexdigest()
