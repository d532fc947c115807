"""While the service loads, its port answers: a client is told that it is too early, not that nothing is there."""

from __future__ import annotations

import socket
from functools import partial

import pytest

from scot.cli import main
from scot.client import ScotClient
from scot.errors import Conflict, Unavailable
from scot.ports import check_port, free_port
from services.search.local.starting import answering


def test_a_client_is_told_that_the_service_starts(capsys: pytest.CaptureFixture[str]) -> None:
    port = free_port()
    with answering(port), ScotClient(f"localhost:{port}") as client:
        search = partial(client.search, item_id="a", edits="in red")
        for call in (client.composers, search, lambda: list(client.list_items())):
            with pytest.raises(Unavailable, match="the service is starting; try again when it says that it listens"):
                call()
        assert not client.healthy()
        assert main(["search", "--edit", "a red shoe", "--address", f"localhost:{port}"]) == 1
        assert "the service is starting" in capsys.readouterr().err
    check_port(port)  # free for the service itself


def test_a_port_in_use_is_one_sentence() -> None:
    with socket.socket(socket.AF_INET6) as taken:
        taken.bind(("::", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(Conflict, match=f"port {port} is in use"), answering(port):
            pass
