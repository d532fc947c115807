"""A real S3 server (moto's) behind a proxy that is slow, throttles, cuts bodies or refuses, as a test wants it."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import fsspec
import pytest

from scot.data import filesystems
from scot.ports import free_port

_ERROR = b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>%s</Code><Message>%s</Message></Error>'
SLOW_DOWN = (503, "SlowDown", "Please reduce your request rate.")
EXPIRED = (400, "ExpiredToken", "The provided token has expired.")
DENIED = (403, "AccessDenied", "Access Denied")

Fault = tuple[int, str, str]
"""A status, and an error code with its message, as S3 answers."""


@dataclass(frozen=True)
class Request:
    """A request as the proxy sees it."""

    method: str
    target: str

    @property
    def lists(self) -> bool:
        """Whether it lists a bucket."""
        return self.method == "GET" and "list-type" in self.target

    @property
    def reads(self) -> bool:
        """Whether it reads an object."""
        return self.method == "GET" and "list-type" not in self.target


@dataclass
class Weather:
    """What the proxy does to requests."""

    latency_s: float = 0.0
    refuse: Callable[[Request], Fault | None] = lambda request: None
    """The error to answer with, if any."""
    cut: Callable[[Request], bool] = lambda request: False
    """Whether to close the connection in the midst of the body."""
    before: Callable[[Request], None] = lambda request: None
    """Runs before a request is passed on."""
    seen: list[Request] = field(default_factory=list)
    at_once: int = 0
    """The most requests that were in progress at a time."""


class S3Server:
    """The server, its proxy and a file system that goes past the proxy."""

    def __init__(self) -> None:
        from moto.server import ThreadedMotoServer

        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._port, self.port = free_port(), free_port()
        self._moto = ThreadedMotoServer("127.0.0.1", self._port, verbose=False)
        self._moto.start()
        self.weather = Weather()
        self._in_progress = 0
        self._loop = asyncio.new_event_loop()
        started = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(started,), daemon=True)
        self._thread.start()
        started.wait()
        self.files = _file_system(self._port)

    @property
    def url(self) -> str:
        """The endpoint of the proxy."""
        return f"http://127.0.0.1:{self.port}"

    def reset(self) -> None:
        """Let the proxy be quick and answer everything."""
        self.weather = Weather()

    def put(self, url: str, data: bytes) -> None:
        """Write an object, past the proxy; its bucket is made."""
        key = url.removeprefix("s3://")
        bucket = key.partition("/")[0]
        if not self.files.exists(bucket):
            self.files.mkdir(bucket)
        self.files.pipe_file(key, data)

    def put_empty(self, bucket: str, keys: Iterable[str]) -> None:
        """Put empty objects at once, past HTTP too."""
        from moto.s3.models import s3_backends

        for key in keys:
            s3_backends["123456789012"]["aws"].put_object(bucket, key, b"")

    def close(self) -> None:
        """Stop everything."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._moto.stop()

    def _run(self, started: threading.Event) -> None:
        self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", self.port))
        self._loop.call_soon(started.set)
        self._loop.run_forever()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._in_progress += 1
        try:
            await self._answer(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self._in_progress -= 1
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        method, target, _ = head.partition(b"\r\n")[0].decode().split(" ", 2)
        headers = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
        if headers.get(b"expect") == b"100-continue":
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = await reader.readexactly(int(headers.get(b"content-length", b"0")))
        request, weather = Request(method, target), self.weather
        weather.seen.append(request)
        weather.at_once = max(weather.at_once, self._in_progress)
        await asyncio.sleep(weather.latency_s)
        if (fault := weather.refuse(request)) is not None:
            status, code, message = fault
            text = b"" if method == "HEAD" else _ERROR % (code.encode(), message.encode())
            writer.write(b"HTTP/1.1 %d Refused\r\nContent-Type: application/xml\r\n" % status)
            writer.write(b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(text) + text)
            await writer.drain()
            return
        await asyncio.to_thread(weather.before, request)
        kept = b"\r\n".join(
            line for line in head.split(b"\r\n") if not line.lower().startswith((b"connection:", b"expect:"))
        ).rstrip(b"\r\n")
        there, away = await asyncio.open_connection("127.0.0.1", self._port)
        away.write(kept + b"\r\nConnection: close\r\n\r\n" + body)
        answer = await there.read()
        away.close()
        if weather.cut(request):
            start = answer.index(b"\r\n\r\n") + 4
            answer = answer[: start + (len(answer) - start) // 2]
        writer.write(answer)
        await writer.drain()


@contextmanager
def served_elsewhere(latency_s: float) -> Iterator[Any]:
    """A server in a process of its own, for measurements; yields a file system that goes past the proxy."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve_here, args=(there, latency_s), daemon=True)
    process.start()
    port, past = here.recv()
    try:
        with _used(f"http://127.0.0.1:{port}"):
            yield _file_system(past)
    finally:
        here.send(None)
        process.join()


def _serve_here(connection: Any, latency_s: float) -> None:
    server = S3Server()
    server.weather = Weather(latency_s=latency_s)
    connection.send((server.port, server._port))
    connection.recv()
    server.close()


@contextmanager
def served() -> Iterator[S3Server]:
    """A server that SCOT uses for ``s3://`` during the block."""
    server = S3Server()
    try:
        with _used(server.url):
            yield server
    finally:
        server.close()


@contextmanager
def _used(endpoint: str) -> Iterator[None]:
    """Let s3:// be at this endpoint."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": endpoint, "NO_PROXY": "*", "no_proxy": "*",
        }.items():  # fmt: skip
            patch.setenv(name, value)
        _forget()
        yield
    _forget()


def _file_system(port: int) -> Any:
    options = {"key": "k", "secret": "s", "use_listings_cache": False}
    return fsspec.filesystem("s3", endpoint_url=f"http://127.0.0.1:{port}", **options)


@contextmanager
def impatient() -> Iterator[None]:
    """Let the libraries give up soon, where they would try again for a minute."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_MAX_ATTEMPTS", "1")
        patch.setattr(fsspec.get_filesystem_class("s3"), "retries", 2)
        _forget()
        yield
    _forget()


def _forget() -> None:
    """Forget the file systems that are open: they have the endpoint of their time."""
    filesystems._filesystem.cache_clear()
    fsspec.get_filesystem_class("s3").clear_instance_cache()
