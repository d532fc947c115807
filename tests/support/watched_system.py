"""The processes that Prometheus watches, for real, and somebody who uses them: search, edits, a pretraining run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import grpc
import torch
from PIL import Image

from scot.client import NewItem, Rerank, ScotClient
from scot.composers import Registry, save_composer
from scot.composers.architectures import build
from scot.encoders import load_encoder
from scot.errors import ScotError
from scot.keys import ApiKey, digest_of
from scot.ports import free_port
from scot.v1 import edits_pb2, edits_pb2_grpc, search_pb2, search_pb2_grpc
from tests.support.chat_endpoint import chat_endpoint
from tests.support.drawn_judge import yes_or_no
from tests.support.random_encoder import save_random_encoder
from tests.support.served_web import ask
from tests.support.synthetic_triplets import synthetic_triplets, write_synthetic_cache

ROOT = Path(__file__).resolve().parents[2]
COLOURS = ("red", "green", "blue", "yellow")
_CROWD = 600  # a gateway works on 64 calls, and 256 wait
SHOP, GREEDY = "shop-key", "greedy-key"

_TRAINING = """
import os, sys
import ray
from scot.local_ray import LOCAL_RAY
os.environ.update(LOCAL_RAY, RAY_agent_register_timeout_ms="120000")
for attempts_left in (2, 1, 0):
    try:
        ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False,
                 object_store_memory=100 * 2**20, _metrics_export_port=int(sys.argv[1]))
        break
    except Exception:  # a busy machine may not give Ray's own processes the time that Ray gives them
        ray.shutdown()
        if not attempts_left:
            raise
from ray_jobs import pretrain
from scot.training.config import TrainConfig
pretrain.main(pretrain.PretrainConfig(
    embeddings=sys.argv[2], composers=sys.argv[3], runs=sys.argv[4], name="watched", num_workers=1,
    training=TrainConfig(projection=16, hidden=16, batch_size=64, steps=10**7, patience=0, eval_every=500,
                         held_out=0.2, precision="float32")))
"""


@dataclass
class System:
    """What runs, and where it shows its metrics."""

    search_port: int
    search_metrics: int
    edits_port: int
    edits_metrics: int
    training_metrics: int
    web_port: int
    web_metrics: int
    search: subprocess.Popen[bytes]
    edits: subprocess.Popen[bytes]

    def client(self, key: str = SHOP) -> ScotClient:
        """A client of the search service."""
        return ScotClient(f"localhost:{self.search_port}", api_key=key)


@contextmanager
def watched_system(folder: Path) -> Iterator[System]:
    """Everything, started; callers come in :func:`callers`."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    encoder = save_random_encoder(folder / "encoder")
    data = folder / "data"
    publish(data / "composers", folder, encoder)
    keys = folder / "keys"
    lines = [ApiKey(digest_of(SHOP), "shop", "read-write").line]
    lines.append(ApiKey(digest_of(GREEDY), "greedy", "read-write", rate=0.1, burst=1.0).line)
    keys.write_text("\n".join(lines) + "\n", encoding="utf-8")
    cache = write_synthetic_cache(folder / "embeddings", synthetic_triplets(images=200))
    with ExitStack() as stack:
        judge = stack.enter_context(chat_endpoint(lambda asked: yes_or_no(0.9), "vlm"))
        ports = [free_port() for _ in range(7)]
        search = ["-m", "services.search.local", "--data", str(data), "--encoder", encoder, "--threads", "1"]
        search += ["--shadow", "sum", "--rerank-url", judge, "--rerank-model", "vlm"]
        search += ["--port", str(ports[0]), "--metrics-port", str(ports[1]), "--api-keys", str(keys)]
        edits = ["-m", "services.edits", "--host", "127.0.0.1"]
        edits += ["--port", str(ports[2]), "--metrics-port", str(ports[3])]
        training = ["-c", _TRAINING, str(ports[4]), str(cache), str(folder / "published"), str(folder / "runs")]
        web = ["-m", "services.web", "--address", f"localhost:{ports[0]}"]
        web += ["--port", str(ports[5]), "--metrics-port", str(ports[6])]
        # One after the other: two Rays that start at once may take longer than either waits.
        started = [
            stack.enter_context(_process(arguments, environment, folder / f"{name}.log", said))
            for name, arguments, said in (
                ("edits", edits, "is ready"),
                ("search", search, "listens on"),
                ("web", web, "listens on"),
                ("training", training, "step "),
            )
        ]
        yield System(*ports, search=started[1], edits=started[0])


def publish(registry: Path, folder: Path, encoder: str) -> None:
    """A learned composer, released, and a damaged one: who names it gets UNAVAILABLE."""
    loaded = load_encoder(encoder, device="cpu")
    torch.manual_seed(0)
    module = build("combiner", {"dim": loaded.dim, "projection": 16, "hidden": 16})
    save_composer(folder / "artifact", module, encoder_id=loaded.id, dim=loaded.dim, metrics={"recall@1": 0.5})
    for version, release in (("v1", True), ("damaged", False)):
        Registry(registry).publish(folder / "artifact", version=version, release=release)
    (registry / "damaged" / "composer.safetensors").write_bytes(b"damaged")


@contextmanager
def callers(system: System) -> Iterator[None]:
    """People who search, index and ask for edits until the block ends; they bear with every error."""
    stop = threading.Event()

    def until_stopped(work: object) -> None:
        assert callable(work)
        while not stop.wait(0.2):
            with suppress(ScotError, grpc.RpcError, OSError):
                work(system)

    threads = [
        threading.Thread(target=until_stopped, args=(work,)) for work in (search, index, greed, browse, ask_for_edits)
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def search(system: System) -> None:
    """Queries of every kind, some of them wrong, and a stream that is given up."""
    picture = Image.new("RGB", (48, 48), "red")
    with system.client() as client:
        client.search(image=picture, edits="make it green", limit=2, score_threshold=-1.0)
        client.search(image=picture, edits="make it green", composer="sum")
        client.search(image=picture, score_threshold=2.0)
        client.search(edits="a blue square")
        client.search(image=picture, edits="make it green", rerank=Rerank())
        client.encode(texts=["a blue square"])
        list(client.search_many([{"image": picture}, {"edits": ""}]))
        for wrong in ({"item_id": "nobody", "edits": "a"}, {"edits": ""}, {"edits": "a", "collection": "nowhere"}):
            with suppress(ScotError):
                client.search(**wrong)  # type: ignore[arg-type]
    with grpc.insecure_channel(f"localhost:{system.search_port}") as channel:
        waiting = threading.Event()

        def asked() -> Iterator[search_pb2.ComposeSearchRequest]:
            yield search_pb2.ComposeSearchRequest(edits=[search_pb2.Edit(text="a")])
            waiting.wait(30)

        stub = search_pb2_grpc.SearchServiceStub(channel)
        stream = stub.ComposeSearchStream(asked(), metadata=[("authorization", f"Bearer {SHOP}")], timeout=30)
        next(stream)
        stream.cancel()
        waiting.set()


def index(system: System) -> None:
    """Items come and go; one of them is no picture."""
    with system.client() as client:
        items = [NewItem(colour, Image.new("RGB", (48, 48), colour)) for colour in COLOURS]
        client.upsert([*items, NewItem("broken", b"not a picture")])
        client.get(["red"])
        client.delete(["yellow"])
        client.info()


def greed(system: System) -> None:
    """Somebody whose key allows a request in ten seconds."""
    with system.client(GREEDY) as client:
        client.search(edits="more")


def fail(system: System) -> None:
    """Queries for the damaged composer."""
    with system.client() as client, suppress(ScotError):
        client.search(image=Image.new("RGB", (48, 48), "red"), edits="make it green", composer="damaged")


def crowd(system: System) -> None:
    """More calls at once than a gateway and its queue take: Serve turns the last ones away."""
    with grpc.insecure_channel(f"localhost:{system.search_port}") as channel:
        stub = search_pb2_grpc.SearchServiceStub(channel)
        request = search_pb2.ComposeSearchRequest(edits=[search_pb2.Edit(text="a")])
        metadata = [("authorization", f"Bearer {SHOP}")]
        calls = [stub.ComposeSearch.future(request, metadata=metadata) for _ in range(_CROWD)]
        for call in calls:
            with suppress(grpc.RpcError):
                call.result()


def browse(system: System) -> None:
    """Requests over HTTP, some of them wrong."""
    url, key = f"http://localhost:{system.web_port}", f"Bearer {SHOP}"
    ask(url, "/v1/compose-search", {"edits": [{"text": "a blue square"}]}, authorization=key)
    ask(url, "/v1/compose-search", {"edits": [{"text": ""}]}, authorization=key)
    ask(url, "/v1/list-composers", {})


def ask_for_edits(system: System) -> None:
    """Captions that can be edited, one that cannot, and a call that is too large."""
    texts = ["a small red cat on the left in a meadow", "the annual report"]
    captions = [edits_pb2.Caption(caption_id=str(n), text=text) for n, text in enumerate(texts * 200)]
    with grpc.insecure_channel(f"127.0.0.1:{system.edits_port}") as channel:
        stub = edits_pb2_grpc.EditServiceStub(channel)
        for some in (captions[:2], captions):
            with suppress(grpc.RpcError):
                stub.GenerateEdits(edits_pb2.GenerateEditsRequest(captions=some))


@contextmanager
def _process(
    arguments: list[str], environment: dict[str, str], log: Path, said: str
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that has said so much; its output goes to ``log``."""
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, *arguments], cwd=ROOT, env=environment, stdout=file, stderr=file, start_new_session=True
        )
    try:
        while said not in log.read_text(encoding="utf-8"):
            assert process.poll() is None, log.read_text(encoding="utf-8")
            time.sleep(0.2)
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=120)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
