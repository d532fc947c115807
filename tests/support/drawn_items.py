"""Items of the drawn wardrobe, for tests that need a gallery with known answers."""

from __future__ import annotations

import io
from typing import Any

from PIL import Image

from scot.client import NewItem
from scot.worlds import load_world
from scot.worlds.gallery import Query, evaluation_gallery


def drawn_items(size: int, *, queries: int = 1, seed: int = 4) -> tuple[list[NewItem], tuple[Query, ...]]:
    """Garments with their caption and attributes as payload, and queries over them with exact answers."""
    world = load_world("wardrobe")
    gallery = evaluation_gallery(world, size=size, queries=queries, seed=seed)
    items = []
    for drawing in gallery.items:
        payload: dict[str, Any] = {"caption": drawing.caption(world)}
        payload |= {name: str(value) for name, value in drawing.attributes.items()}
        items.append(NewItem(drawing.item_id, image=png(drawing.draw(world)), payload=payload))
    return items, gallery.queries


def png(image: Image.Image) -> bytes:
    """The image as a PNG file."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
