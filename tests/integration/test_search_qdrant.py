"""The search service on a Qdrant server: keys, TLS and layout arrive there, and what happens when it goes away."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from PIL import Image

from scot.cli import main
from scot.client import NewItem, ScotClient
from scot.data.captioned_writer import write_captioned
from scot.errors import DeadlineExceeded, Overloaded, ScotError, Unavailable
from scot.keys import ApiKey, digest_of
from scot.ports import free_port
from tests.support.processes import titled
from tests.support.qdrant_server import QdrantServer, qdrant_server
from tests.support.random_encoder import save_random_encoder
from tests.support.tls import self_signed

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

KEYS = [
    ApiKey(digest_of("writer"), "writer", "read-write"),
    ApiKey(digest_of("slow"), "slow", "read", rate=1e-6, burst=3.0),
    ApiKey(digest_of("busy"), "busy", "read", rate=2.0, burst=4.0),
]


@dataclass
class Stage:
    """A service, and the Qdrant server behind it, which a test may take away."""

    folder: Path
    encoder: str
    port: int
    tls: tuple[Path, Path]
    state: QdrantServer = field(default_factory=QdrantServer)
    running: ExitStack = field(default_factory=ExitStack)

    def up(self) -> None:
        server = qdrant_server(port=self.state.grpc_port, api_key="a key", tls=self.tls, state=self.state)
        self.running.enter_context(server)

    def down(self) -> None:
        self.running.close()

    @property
    def flags(self) -> list[str]:
        address = ["--qdrant-url", "https://127.0.0.1:6333", "--qdrant-grpc-port", str(self.state.grpc_port)]
        return [*address, "--qdrant-ca", str(self.tls[0]), "--qdrant-api-key-file", str(self.folder / "key")]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("stage")
    (folder / "key").write_text("a key\n")
    (folder / "keys").write_text("\n".join(key.line for key in KEYS))
    stage = Stage(folder, save_random_encoder(folder / "encoder"), free_port(), self_signed(folder))
    stage.state.grpc_port = free_port()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "services.search.local", "--threads", "1", "--port", str(stage.port)),
            *("--data", str(folder / "data"), "--encoder", stage.encoder, *stage.flags),
            *("--payload-index", "kind:keyword", "price:float", "--quantization", "int8", "--oversampling", "4"),
            *("--api-keys", str(folder / "keys")),
        ],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    # Qdrant comes only after the service, which waits for it.
    until(lambda: process.poll() is not None or says_that_qdrant_is_away(stage.port))
    stage.up()
    first = process.stdout.readline()
    if f"listens on localhost:{stage.port}" not in first:
        process.kill()
        pytest.fail(f"did not start: {first} {process.communicate()[1]}")
    yield stage
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=120)
    stage.down()
    assert process.returncode == 0
    assert not (folder / "data" / "qdrant").exists()


def says_that_qdrant_is_away(port: int) -> bool:
    with ScotClient(f"localhost:{port}", api_key="writer") as client:
        try:
            client.search(edits="a")
        except ScotError as error:
            return "the vector store cannot be reached" in str(error)
    return False


@pytest.fixture
def client(stage: Stage) -> Iterator[ScotClient]:
    with ScotClient(f"localhost:{stage.port}", api_key="writer") as client:
        yield client


def until(done: Callable[[], bool], *allowed: type[ScotError]) -> None:
    """Wait for a condition, through these errors; the test's time limit ends it."""
    while True:
        try:
            if done():
                return
        except allowed:
            pass
        time.sleep(0.1)


def picture(colour: str) -> Image.Image:
    return Image.new("RGB", (48, 48), colour)


def test_key_layout_and_rescoring_reach_the_server(stage: Stage, client: ScotClient) -> None:
    items = [NewItem(name, picture(name), payload={"kind": "colour", "price": 3}) for name in ("red", "green", "blue")]
    assert client.upsert(items).upserted == 3
    assert client.search(image=picture("red"), limit=1).hits[0].item_id == "red"
    assert {call.metadata["api-key"] for call in stage.state.received} == {"a key"}
    methods, made = stage.state.methods(), stage.state.last("Create")
    assert made.collection_name == "gallery-1"
    assert made.quantization_config.WhichOneof("quantization") == "scalar"
    assert methods.count("CreateFieldIndex") == 3  # with that of the sources
    assert methods.index("CreateFieldIndex") < methods.index("Upsert")
    quantization = stage.state.last("Query").params.quantization
    assert (quantization.rescore, quantization.oversampling) == (True, 4.0)


def test_the_rate_of_a_key_is_counted_for_all_gateways_also_after_the_count_was_lost(
    stage: Stage, client: ScotClient
) -> None:
    assert client.search(edits="a").hits
    with ScotClient(f"localhost:{stage.port}", api_key="slow") as slow:
        assert all(slow.search(edits="a").hits for _ in range(3))
        with pytest.raises(Overloaded, match="this API key may make 1e-06 requests a second"):
            slow.search(edits="a")
    (rates,) = titled("ray::ServeReplica:search:Rates")
    os.kill(rates, signal.SIGKILL)
    with ScotClient(f"localhost:{stage.port}", api_key="busy") as busy:
        answers = list(busy.search_many([{"edits": "a"}] * 30))  # the gateway's own bucket meanwhile
    assert 4 <= sum(not isinstance(answer, ScotError) for answer in answers) <= 4 + 4 + 2 * 30
    assert {type(answer) for answer in answers if isinstance(answer, ScotError)} == {Overloaded}
    until(lambda: bool(titled("ray::ServeReplica:search:Rates") - {rates}))


def test_an_alias_is_swapped_under_the_service(stage: Stage, client: ScotClient) -> None:
    source = stage.folder / "pictures"
    write_captioned(source, [(name, picture(name), [name], {}) for name in ("black", "white")])
    build = ["--encoder", stage.encoder, "--device", "cpu", *stage.flags]
    assert main(["collections", "reindex", str(source), "--swap", *build]) == 0
    assert {hit.item_id for hit in client.search(edits="a").hits} == {"black", "white"}
    assert main(["collections", "rollback", "gallery", *stage.flags]) == 0
    assert {hit.item_id for hit in client.search(edits="a").hits} == {"red", "green", "blue"}


def test_a_full_server_refuses_what_would_be_stored_and_goes_on_answering(stage: Stage, client: ScotClient) -> None:
    late = NewItem("late", picture("red"))
    stage.state.full = True
    try:
        with pytest.raises(Overloaded, match="the vector store has no room left"):
            client.upsert([late])
        assert client.search(edits="a").hits
        assert client.healthy()
    finally:
        stage.state.full = False
    assert client.upsert([late]).upserted == 1
    assert client.delete(["late"]) == 1


def test_a_slow_server_costs_no_more_than_the_callers_deadlines(stage: Stage, client: ScotClient) -> None:
    stage.state.always = lambda context: time.sleep(0.5)
    try:
        assert client.search(edits="a", timeout=30).hits
        with pytest.raises(DeadlineExceeded):
            client.search(edits="a", timeout=0.4)
        assert all(not isinstance(answer, ScotError) for answer in client.search_many([{"edits": "a"}] * 8))
    finally:
        stage.state.always = None
    until(client.healthy)
    assert client.search(edits="a").hits


def test_a_server_that_is_away_is_unavailable_and_comes_back(stage: Stage, client: ScotClient) -> None:
    stage.down()
    for _ in range(6):
        with pytest.raises(Unavailable, match="the vector store cannot be reached"):
            client.search(edits="a")
    until(lambda: not client.healthy())
    with pytest.raises(Unavailable, match="the vector store cannot be reached"):
        client.upsert([NewItem("lost", picture("red"))])
    stage.up()
    until(lambda: {hit.item_id for hit in client.search(edits="a").hits} == {"red", "green", "blue"}, Unavailable)
    until(client.healthy)
