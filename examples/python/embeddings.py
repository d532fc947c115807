"""Embed texts and a picture with OpenAI's client: python examples/python/embeddings.py PICTURE TEXT [TEXT ...].

Needs `pip install openai`, and a running `scot web`.
"""

from __future__ import annotations

import base64
import os
import sys
from pathlib import Path

from openai import OpenAI


def main(picture: str, *texts: str) -> None:
    """Print the cosine similarity of the picture and each text."""
    client = OpenAI(
        base_url=os.environ.get("SCOT_URL", "http://localhost:8080") + "/v1",
        api_key=os.environ.get("SCOT_API_KEY") or "none needed",
    )
    of_texts = client.embeddings.create(model="scot", input=list(texts)).data

    # Pictures are Jina's extension of the same API, so they go into the body as they are.
    image = base64.b64encode(Path(picture).read_bytes()).decode()
    of_picture = client.embeddings.create(model="scot", input=[], extra_body={"input": [{"image": image}]}).data[0]

    for text, each in zip(texts, of_texts, strict=True):  # vectors have unit length
        cosine = sum(a * b for a, b in zip(of_picture.embedding, each.embedding, strict=True))
        print(f"{cosine:.3f} {text}")


if __name__ == "__main__":
    main(*sys.argv[1:])
