"""The work of a ComposeSearch in one process without Ray, behind a bare grpc.aio server: what Serve is compared with.

``python benchmarks/serve_bare.py STORE ENCODER THREADS --port PORT`` says ``ready`` and serves until SIGINT.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import grpc
import torch

from scot.composers import baseline
from scot.encoders import load_encoder
from scot.index.payload import payload_to_proto
from scot.index.store import GalleryStore
from scot.v1 import search_pb2, search_pb2_grpc
from services.search.composer.compose_batch import compose_batch
from services.search.composer.embedding_cache import CachedEncoder
from services.search.composer.messages import ComposeJob, ComposeTurn
from services.search.gateway.context import preprocess
from services.search.rpc.query import parse_query


async def serve(store_path: str, encoder_name: str, threads: int, port: int) -> None:
    """Decode, encode, compose and search, one query after the other on one thread, until SIGINT."""
    torch.set_num_threads(threads)
    encoder, store = load_encoder(encoder_name, device="cpu"), GalleryStore.open(path=store_path)
    cached = CachedEncoder(encoder)
    pool = ThreadPoolExecutor(1)

    class Bare(search_pb2_grpc.SearchServiceServicer):
        async def ComposeSearch(self, request: Any, context: Any) -> Any:
            query = parse_query(request, dim=encoder.dim, default_collection="gallery")

            def compose() -> Any:
                (turn,) = query.turns
                images = tuple((preprocess(encoder.resizing, each.image or b""), 1.0) for each in turn.references)
                job = ComposeJob((ComposeTurn(images, edits=turn.edits),), query.composer)
                return compose_batch(cached, baseline, [job])[0]

            composed = await asyncio.get_running_loop().run_in_executor(pool, compose)
            hits = await store.search(query.collection, composed.vector, limit=query.limit)
            return search_pb2.ComposeSearchResponse(
                hits=[
                    search_pb2.Hit(item_id=hit.item_id, score=hit.score, payload=payload_to_proto(hit.payload))
                    for hit in hits
                ]
            )

    running = grpc.aio.server()
    search_pb2_grpc.add_SearchServiceServicer_to_server(Bare(), running)
    running.add_insecure_port(f"127.0.0.1:{port}")
    await running.start()
    print("ready", flush=True)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stop.set)
    await stop.wait()
    await running.stop(1)
    await store.close()


if __name__ == "__main__":
    store_path, encoder_name, threads, _, port = sys.argv[1:]
    asyncio.run(serve(store_path, encoder_name, int(threads), int(port)))
