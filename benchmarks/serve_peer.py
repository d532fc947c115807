"""SCOT beside others that serve CLIP over HTTP, with as many threads: 1, 8 and 32 clients, then an open loop.

All have a ViT-B/32 of random weights in float32. The others need environments of their own:

- infinity (michaelfeil/infinity), which embeds pictures: its ``/embeddings`` with data URIs beside SCOT's ``Encode``;
  ``pip install 'infinity-emb[server,torch,vision]==0.0.77' aiohttp 'click<8.2' 'torch==2.7.1'``.
- the back end of clip-retrieval (rom1504/clip-retrieval), which searches by a picture or a text: its ``/knn-service``
  over a flat index beside SCOT's ``ComposeSearch``, on as many random vectors;
  ``pip install clip-retrieval==2.45.0 torch==2.7.1 'setuptools<80'``.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import httpx
import open_clip
from safetensors.torch import save_file
from serve_load import Call, Stretch, closed_loop, open_loop
from serve_process import Server, server
from serve_work import fill, start_encoder

from scot.errors import Unavailable
from scot.v1 import search_pb2, search_pb2_grpc

ARCHITECTURE = "ViT-B-32"
CLIENTS = (1, 8, 32)
RATES = (0.5, 0.9)
DEADLINE_S = 10.0
HITS = 10

# transformers' default CLIP is a ViT-B/32. Nothing but a start-up check tokenises: a vocabulary of letters will do.
FOLDER_FOR_INFINITY = """
import json, pathlib, sys, transformers
folder = pathlib.Path(sys.argv[1])
letters = [chr(code) for code in range(33, 127)]
words = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
(folder / "vocab.json").write_text(json.dumps({word: n for n, word in enumerate(words)}))
(folder / "merges.txt").write_text("#version: 0.2\\n")
tokenizer = transformers.CLIPTokenizer(folder / "vocab.json", folder / "merges.txt", model_max_length=77)
transformers.CLIPProcessor(transformers.CLIPImageProcessor(), tokenizer).save_pretrained(folder)
transformers.CLIPModel(transformers.CLIPConfig()).save_pretrained(folder)
"""


# What `clip-retrieval back` does, with a checkpoint of its own and without what it would download.
CLIP_RETRIEVAL = """
import json, pathlib, sys
import faiss, numpy as np, open_clip, pandas as pd, torch
from clip_retrieval.clip_back import clip_back
folder, items, port = pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[4])
torch.save(open_clip.create_model("ViT-B-32").state_dict(), folder / "model.pt")
rows = np.random.default_rng(0).normal(size=(items, 512)).astype(np.float32)
index = faiss.IndexFlatIP(512)
index.add(rows / np.linalg.norm(rows, axis=1, keepdims=True))
faiss.write_index(index, str(folder / "image.index"))
(folder / "metadata").mkdir()
pd.DataFrame({"caption": ["a thing"] * items}).to_parquet(folder / "metadata" / "0.parquet")
(folder / "indices.json").write_text(json.dumps({"gallery": str(folder)}))
clip_back(
    str(folder / "indices.json"), port, enable_mclip_option=False, clip_model=f"open_clip:ViT-B-32/{folder}/model.pt",
    use_jit=False, provide_aesthetic_embeddings=False,
)
"""


def beside_infinity(python: Path, pictures: list[bytes], *, seconds: float, threads: int) -> dict[str, Any]:
    """Pictures embedded by both, one after the other; prints a row for each load. Raises Unavailable."""
    with tempfile.TemporaryDirectory() as folder:
        theirs = Path(folder) / "infinity"
        theirs.mkdir()
        subprocess.run([str(python), "-c", FOLDER_FOR_INFINITY, str(theirs)], check=True, capture_output=True)
        infinity = [str(python), "-m", "infinity_emb.cli", "v2", "--model-id", str(theirs), "--engine", "torch"]
        infinity += ["--device", "cpu", "--dtype", "float32", "--no-bettertransformer", "--log-level", "error"]
        with server(scot_command(Path(folder), threads)) as running:
            ours = asyncio.run(scot_encodes(running, pictures, seconds))
        with server(infinity, ready=answers_http("health"), env=their_environment(threads)) as running:
            them = asyncio.run(infinity_encodes(running, str(theirs), pictures, seconds))
    return compared({"SCOT Encode": ours, "infinity": them})


def beside_clip_retrieval(
    python: Path, pictures: list[bytes], *, items: int, seconds: float, threads: int
) -> dict[str, Any]:
    """Searches by a picture, then by a text, by both; prints a row for each load. Raises Unavailable."""
    numbers: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        command = scot_command(Path(folder), threads)
        asyncio.run(fill(Path(folder) / "data" / "qdrant", f"local-dir:{Path(folder) / 'model'}", items))
        with server(command) as running:
            numbers |= asyncio.run(scot_searches(running, pictures, seconds))
        theirs = Path(folder) / "clip-retrieval"
        theirs.mkdir()
        back = [str(python), "-c", CLIP_RETRIEVAL, str(theirs), str(items)]
        with server(
            back, ready=answers_http("indices-list"), env=their_environment(threads), log=Path(os.devnull)
        ) as running:
            numbers |= asyncio.run(clip_retrieval_searches(running, pictures, seconds))
    pairs = [(f"SCOT by {kind}", f"clip-retrieval by {kind}") for kind in ("picture", "text")]
    return {ours: compared({name: numbers[name] for name in (ours, them)}) for ours, them in pairs}


def scot_command(folder: Path, threads: int) -> list[str]:
    """The command of SCOT with a new encoder of random weights, without a cache."""
    write_open_clip(folder / "model")
    scot = [sys.executable, "-m", "services.search.local", "--data", str(folder / "data"), "--cache-mb", "0"]
    return [*scot, "--encoder", f"local-dir:{folder / 'model'}", "--threads", str(threads)]


def their_environment(threads: int) -> dict[str, str]:
    """Of another server: so many threads, and no network."""
    return {**os.environ, "OMP_NUM_THREADS": str(threads), "DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1"}


def compared(numbers: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The numbers of SCOT and of another server, and their ratios, which are printed too."""
    (ours, mine), (them, theirs) = numbers.items()
    ratios: dict[str, float] = {}
    for clients in map(str, CLIENTS):
        ratios[f"throughput, {clients} clients"] = mine[clients]["goodput"] / theirs[clients]["goodput"]
    for share in RATES:
        ratios[f"p99 at {share:g} x its peak"] = mine[f"{share:g} x"]["p99_ms"] / theirs[f"{share:g} x"]["p99_ms"]
    ratios["median, 1 client"] = mine["1"]["p50_ms"] / theirs["1"]["p50_ms"]
    print(f"{ours} ÷ {them}: {', '.join(f'{name} {value:.2f}' for name, value in ratios.items())}", flush=True)
    return {**numbers, **ratios}


def write_open_clip(folder: Path) -> None:
    """An open_clip folder of random weights."""
    folder.mkdir(parents=True)
    model = open_clip.create_model(ARCHITECTURE)
    config = {
        "model_cfg": open_clip.get_model_config(ARCHITECTURE),
        "preprocess_cfg": open_clip.get_model_preprocess_cfg(model),
    }
    (folder / "open_clip_config.json").write_text(json.dumps(config), encoding="utf-8")
    save_file(
        {name: value.contiguous() for name, value in model.state_dict().items()}, folder / "open_clip_model.safetensors"
    )


def answers_http(path: str) -> Callable[[subprocess.Popen[str], int], bool]:
    """Waits until a server answers GET of the path; False if it ended."""

    def ready(process: subprocess.Popen[str], port: int) -> bool:
        deadline = time.monotonic() + 180
        while process.poll() is None:
            try:
                return httpx.get(f"http://localhost:{port}/{path}").is_success
            except httpx.TransportError:
                if time.monotonic() > deadline:
                    return False
                time.sleep(0.5)
        return False

    return ready


async def scot_encodes(running: Server, pictures: list[bytes], seconds: float) -> dict[str, Any]:
    """SCOT's Encode of one picture a request."""
    async with grpc.aio.insecure_channel(running.target, [("grpc.enable_retries", 0)]) as channel:
        stub: Any = search_pb2_grpc.SearchServiceStub(channel)

        async def call(number: int, timeout: float) -> None:
            picture = pictures[number % len(pictures)]
            response = await stub.Encode(
                search_pb2.EncodeRequest(inputs=[search_pb2.EncodeInput(image=picture)]), timeout=timeout
            )
            assert len(response.vectors[0].values) == 512

        return await under_load("SCOT Encode", call, seconds)


async def infinity_encodes(running: Server, model: str, pictures: list[bytes], seconds: float) -> dict[str, Any]:
    """infinity's embedding of one picture a request."""
    async with httpx.AsyncClient(base_url=f"http://{running.target}") as client:

        async def call(number: int, timeout: float) -> None:
            picture = base64.b64encode(pictures[number % len(pictures)]).decode()
            body = {"model": model, "modality": "image", "input": [f"data:image/jpeg;base64,{picture}"]}
            response = await client.post("/embeddings", json=body, timeout=timeout)
            if not response.is_success:
                raise Unavailable(f"infinity answered {response.status_code}: {response.text[:200]}")
            assert len(response.json()["data"][0]["embedding"]) == 512

        return await under_load("infinity", call, seconds)


async def scot_searches(running: Server, pictures: list[bytes], seconds: float) -> dict[str, dict[str, Any]]:
    """SCOT's ComposeSearch by a picture, and by a text."""
    async with grpc.aio.insecure_channel(running.target, [("grpc.enable_retries", 0)]) as channel:
        stub: Any = search_pb2_grpc.SearchServiceStub(channel)

        async def search(timeout: float, **query: Any) -> None:
            request = search_pb2.ComposeSearchRequest(limit=HITS, **query)
            assert len((await stub.ComposeSearch(request, timeout=timeout)).hits) == HITS

        async def by_picture(number: int, timeout: float) -> None:
            await search(timeout, reference=search_pb2.Reference(image=pictures[number % len(pictures)]))

        async def by_text(number: int, timeout: float) -> None:
            await search(timeout, edits=[search_pb2.Edit(text=f"a thing of number {number}")])

        await start_encoder(stub)
        return {
            "SCOT by picture": await under_load("SCOT by picture", by_picture, seconds),
            "SCOT by text": await under_load("SCOT by text", by_text, seconds),
        }


async def clip_retrieval_searches(running: Server, pictures: list[bytes], seconds: float) -> dict[str, dict[str, Any]]:
    """clip-retrieval's knn-service by a picture, and by a text."""
    async with httpx.AsyncClient(base_url=f"http://{running.target}") as client:

        async def search(timeout: float, **query: str) -> None:
            body = {**query, "modality": "image", "num_images": HITS, "indice_name": "gallery"}
            response = await client.post("/knn-service", json=body, timeout=timeout)
            if not response.is_success:
                raise Unavailable(f"clip-retrieval answered {response.status_code}: {response.text[:200]}")
            assert len(response.json()) == HITS

        async def by_picture(number: int, timeout: float) -> None:
            await search(timeout, image=base64.b64encode(pictures[number % len(pictures)]).decode())

        async def by_text(number: int, timeout: float) -> None:
            await search(timeout, text=f"a thing of number {number}")

        return {
            "clip-retrieval by picture": await under_load("clip-retrieval by picture", by_picture, seconds),
            "clip-retrieval by text": await under_load("clip-retrieval by text", by_text, seconds),
        }


async def under_load(name: str, call: Call, seconds: float) -> dict[str, Any]:
    """Warm it up, then each number of clients, then queries that come at random at rates of its own peak."""
    await closed_loop(call, clients=8, seconds=3)
    stretches: dict[str, Stretch] = {}
    for clients in CLIENTS:
        stretches[str(clients)] = await closed_loop(call, clients=clients, seconds=seconds)
        print(stretches[str(clients)].row(name, f"{clients} clients" if clients > 1 else "1 client"), flush=True)
    peak = max(stretch.goodput for stretch in stretches.values())
    for share in RATES:
        stretch = await open_loop(call, rate=share * peak, seconds=seconds, deadline_s=DEADLINE_S, seed=0)
        print(stretch.row(name, f"{share:g} x its peak"), flush=True)
        stretches[f"{share:g} x"] = stretch
    return {load: stretch.numbers() for load, stretch in stretches.items()}
