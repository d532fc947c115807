"""The encoding of pictures beside infinity (michaelfeil/infinity, 0.0.77), which serves CLIP vectors over HTTP.

Both serve a ViT-B/32 of random weights in float32 with as many threads: SCOT's ``Encode`` over gRPC, infinity's
``/embeddings`` over HTTP with data URIs. infinity needs an environment of its own, in which ``--peer`` is the Python:
``pip install 'infinity-emb[server,torch,vision]==0.0.77' aiohttp 'click<8.2' 'torch==2.7.1'``.
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
from pathlib import Path
from typing import Any

import grpc
import httpx
import open_clip
from safetensors.torch import save_file
from serve_load import Call, Stretch, closed_loop
from serve_process import Server, server

from scot.errors import Unavailable
from scot.v1 import search_pb2, search_pb2_grpc

ARCHITECTURE = "ViT-B-32"
CLIENTS = 16

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


def beside_peer(python: Path, pictures: list[bytes], *, seconds: float, threads: int) -> dict[str, Any]:
    """Both under one client and under many, one after the other; prints a row for each. Raises Unavailable."""
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = Path(folder) / "scot", Path(folder) / "infinity"
        write_open_clip(ours)
        theirs.mkdir()
        subprocess.run([str(python), "-c", FOLDER_FOR_INFINITY, str(theirs)], check=True, capture_output=True)
        scot = [sys.executable, "-m", "services.search.local", "--data", str(Path(folder) / "data"), "--cache-mb", "0"]
        scot += ["--encoder", f"local-dir:{ours}", "--threads", str(threads)]
        infinity = [str(python), "-m", "infinity_emb.cli", "v2", "--model-id", str(theirs), "--engine", "torch"]
        infinity += ["--device", "cpu", "--dtype", "float32", "--no-bettertransformer", "--log-level", "error"]
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1"}
        with server(scot) as running:
            numbers = {"scot": asyncio.run(scot_encodes(running, pictures, seconds))}
        with server(infinity, ready=answers_http, env=environment) as running:
            numbers["infinity"] = asyncio.run(infinity_encodes(running, str(theirs), pictures, seconds))
    ratios: dict[str, Any] = {
        "throughput_ratio": numbers["scot"]["peak"]["goodput"] / numbers["infinity"]["peak"]["goodput"],
        "latency_ratio": numbers["scot"]["alone"]["p50_ms"] / numbers["infinity"]["alone"]["p50_ms"],
    }
    print(f"beside infinity: {', '.join(f'{key} {value:.2f}' for key, value in ratios.items())}", flush=True)
    return {**numbers, **ratios}


def write_open_clip(folder: Path) -> None:
    """An open_clip folder of random weights."""
    folder.mkdir()
    model = open_clip.create_model(ARCHITECTURE)
    config = {
        "model_cfg": open_clip.get_model_config(ARCHITECTURE),
        "preprocess_cfg": open_clip.get_model_preprocess_cfg(model),
    }
    (folder / "open_clip_config.json").write_text(json.dumps(config), encoding="utf-8")
    save_file(
        {name: value.contiguous() for name, value in model.state_dict().items()}, folder / "open_clip_model.safetensors"
    )


def answers_http(process: subprocess.Popen[str], port: int) -> bool:
    """Wait for infinity to say that it is well; False if it ended."""
    deadline = time.monotonic() + 180
    while process.poll() is None:
        try:
            return httpx.get(f"http://localhost:{port}/health").is_success
        except httpx.TransportError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.5)
    return False


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


async def under_load(name: str, call: Call, seconds: float) -> dict[str, Any]:
    """Warm it up, then one client and many."""
    await closed_loop(call, clients=CLIENTS, seconds=3)
    stretches: dict[str, Stretch] = {}
    for load, clients in (("alone", 1), ("peak", CLIENTS)):
        stretches[load] = await closed_loop(call, clients=clients, seconds=seconds)
        print(stretches[load].row(name, f"{clients} clients" if clients > 1 else "1 client"), flush=True)
    return {load: stretch.numbers() for load, stretch in stretches.items()}
