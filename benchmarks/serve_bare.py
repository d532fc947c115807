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

from scot.encoders import load_encoder
from scot.index.payload import payload_to_proto
from scot.index.store import GalleryStore
from scot.v1 import search_pb2, search_pb2_grpc
from services.search.composer.batcher import DynamicBatcher
from services.search.composer.compose_batch import compose_batch
from services.search.composer.embedding_cache import CachedEncoder
from services.search.composer.loaded_composers import LoadedComposers
from services.search.composer.messages import ComposeJob, ComposeTurn
from services.search.gateway.context import preprocess
from services.search.rpc.query import parse_query


async def serve(store_path: str, encoder_name: str, threads: int, port: int) -> None:
    """Decode on threads, encode and compose in batches on one thread, and search, until SIGINT."""
    torch.set_num_threads(threads)
    encoder, store = load_encoder(encoder_name, device="cpu"), GalleryStore.open(path=store_path)
    cached, composers = CachedEncoder(encoder), LoadedComposers(None, encoder)
    decoding = ThreadPoolExecutor(2)

    def compose(jobs: list[ComposeJob]) -> list[Any]:
        return compose_batch(cached, composers.get, jobs)

    batcher = DynamicBatcher(compose, most=32)

    class Bare(search_pb2_grpc.SearchServiceServicer):
        async def ComposeSearch(self, request: Any, context: Any) -> Any:
            query = parse_query(request, dim=encoder.dim, collection="gallery")
            (turn,) = query.turns
            (reference,) = turn.references
            pixels = await asyncio.get_running_loop().run_in_executor(
                decoding, preprocess, encoder.resizing, reference.image or b""
            )
            composed = await batcher.answer(
                ComposeJob((ComposeTurn(((pixels, 1.0),), edits=turn.edits),), query.composer)
            )
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
