"""Search for several texts at once with asyncio: python examples/python/concurrent_searches.py TEXT [TEXT ...]."""

from __future__ import annotations

import asyncio
import os
import sys

from scot.client import AsyncScotClient


async def main(texts: list[str]) -> None:
    """Print the hits of each text."""
    address, key = os.environ.get("SCOT_ADDRESS", "localhost:9000"), os.environ.get("SCOT_API_KEY")
    async with AsyncScotClient(address, api_key=key) as client:
        answers = await asyncio.gather(*(client.search(edits=text, limit=3) for text in texts))
        for text, answer in zip(texts, answers, strict=True):
            print(f"{text}:", [hit.item_id for hit in answer.hits])


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
