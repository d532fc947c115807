"""Store a picture and search from it over gRPC: python examples/python/search.py PICTURE EDIT."""

from __future__ import annotations

import os
import sys

from scot.client import Edit, Filter, NewItem, Range, ScotClient
from scot.errors import InvalidInput, Overloaded, ScotError, Unavailable


def main(picture: str, edit: str) -> None:
    """Store the picture as ``shirt-1``, and search twice."""
    address, key = os.environ.get("SCOT_ADDRESS", "localhost:9000"), os.environ.get("SCOT_API_KEY")
    with ScotClient(address, timeout=10, api_key=key) as client:
        stored = client.upsert([NewItem("shirt-1", picture, payload={"price": 20})])
        for refused in stored.refused:
            print(refused.item_id, refused.error)
        try:
            found = client.search(
                image=picture,
                edits=[edit, Edit("formal", weight=0.5, negative=True)],
                limit=5,
                filter=Filter(must=[Range("price", lte=30)]),
            )
            print(found.composer, found.request_id, [(hit.item_id, hit.score) for hit in found.hits])
        except InvalidInput as error:  # the message begins with the name of the field
            print(error)
        except (Overloaded, Unavailable):  # after its retries: try again later
            raise

        # Many queries on one stream: the results come in order; a refused query gives its error.
        for answer in client.search_many({"item_id": "shirt-1", "edits": text} for text in (edit, "")):
            print(answer if isinstance(answer, ScotError) else [hit.item_id for hit in answer.hits])


if __name__ == "__main__":
    main(*sys.argv[1:])
