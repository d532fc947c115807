"""Mutated requests and pictures against the running service: `SCOT_TEST_FUZZ=10000 make test-chaos ARGS="-k mutated"`.

Each ends with a code that says whose fault it is, which is never the service's; afterwards it answers as before.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from PIL import Image

from scot.client import NewItem, ScotClient
from scot.ports import free_port
from services.search.rpc.limits import MAX_MESSAGE_BYTES
from tests.support.mutations import requests
from tests.support.random_encoder import save_random_encoder
from tests.support.scot_serve import scot_serve

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

NUMBER = int(os.environ.get("SCOT_TEST_FUZZ", "10000"))
SEED = int(os.environ.get("SCOT_TEST_FUZZ_SEED", "0"))
AT_ONCE = 16
RIGHT = {"OK", "INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION"}


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder, port = tmp_path_factory.mktemp("service"), free_port()
    with scot_serve(port, "--data", str(folder / "data"), "--encoder", save_random_encoder(folder / "encoder")):
        yield f"localhost:{port}"


def test_mutated_requests_get_right_codes_and_harm_nobody(target: str) -> None:
    with ScotClient(target) as client:
        client.upsert([NewItem(name, Image.new("RGB", (48, 48), name)) for name in ("red", "green", "blue")])
        before = client.search(image=Image.new("RGB", (48, 48), "red"), edits="make it green")
        counted, wrong = sent(target)
        print(dict(sorted(counted.items())))
        assert wrong == []
        assert counted.total() == NUMBER
        assert counted["OK"] > NUMBER // 100  # it is not the door alone that is tried
        after = client.search(image=Image.new("RGB", (48, 48), "red"), edits="make it green")
        assert [hit.item_id for hit in after.hits] == [hit.item_id for hit in before.hits]
        assert client.healthy()


def sent(target: str) -> tuple[Counter[str], list[str]]:
    """The number of calls by code, and what is wrong: the call, its code and what was said."""
    counted: Counter[str] = Counter()
    wrong: list[str] = []
    with grpc.insecure_channel(target) as channel, ThreadPoolExecutor(AT_ONCE) as threads:
        calls = list(requests(SEED, NUMBER))
        for (method, messages), (code, said) in zip(
            calls, threads.map(lambda call: outcome(channel, *call), calls), strict=True
        ):
            counted[code] += 1
            if code not in RIGHT or any(word in said for word in ("/tmp", "pid=", "Traceback", "0x")):
                wrong.append(f"{method} {[message[:300].hex() for message in messages]}: {code} {said}")
    return counted, wrong


def outcome(channel: grpc.Channel, method: str, messages: list[bytes]) -> tuple[str, str]:
    """The code's name and the details that a call ended with."""
    try:
        if method.endswith("ComposeSearchStream"):
            for _ in channel.stream_stream(method)(iter(messages), timeout=120):
                pass
        elif method.endswith("Stream"):
            channel.stream_unary(method)(iter(messages), timeout=120)
        else:
            channel.unary_unary(method)(messages[0], timeout=120)
    except grpc.RpcError as error:
        return error.code().name, str(error.details())
    return "OK", ""


def test_a_message_over_the_limit_is_refused(target: str) -> None:
    with (
        grpc.insecure_channel(target, options=[("grpc.max_send_message_length", -1)]) as channel,
        pytest.raises(grpc.RpcError) as refused,
    ):
        channel.unary_unary("/scot.v1.SearchService/ComposeSearch")(bytes(MAX_MESSAGE_BYTES + 1), timeout=120)
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
