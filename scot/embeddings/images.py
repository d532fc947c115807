"""Embed images: threads decode and preprocess them, one batch ahead of the encoder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import islice
from typing import Generic, TypeVar

from PIL import Image

from scot.data.read_ahead import read_ahead
from scot.encoders.base import Encoder, HiddenStates, Vectors, encode_pixels
from scot.encoders.resizing import Pixels
from scot.errors import ImageRefused

Source = TypeVar("Source")


@dataclass(frozen=True, slots=True)
class EmbeddedBatch(Generic[Source]):
    """A batch of embedded images; every source is either in ``sources`` or in ``refused``."""

    sources: list[Source]
    vectors: Vectors
    """A row for each of ``sources``: ``(N, D)``, or ``(N, V, D)`` from an encoder with V vectors of an image."""
    states: HiddenStates
    """The hidden states of each of ``sources``; empty unless requested."""
    refused: list[tuple[Source, ImageRefused]]
    """The sources that could not be decoded, and why."""


def embed_images(
    sources: Iterable[Source],
    load: Callable[[Source], Image.Image],
    encoder: Encoder,
    *,
    batch_size: int = 128,
    threads: int = 4,
    states: bool = False,
    embed: Callable[[list[Pixels]], Vectors] | None = None,
    fetch: Callable[[Source], Source] | None = None,
    turn: AbstractContextManager[object] | None = None,
) -> Iterator[EmbeddedBatch[Source]]:
    """Embed images lazily, in order. While the encoder works on one batch, threads decode the next.

    Args:
        sources: what ``load`` opens, such as :class:`~scot.data.records.CaptionedImage`; read one batch ahead.
        load: decodes one image, in a thread; it may raise ImageRefused.
        encoder: the encoder.
        batch_size: the sources of a batch.
        threads: threads that decode and preprocess.
        states: return hidden states too.
        fetch: reads a source whose image is at a URL; many are fetched at once, ahead of ``load``.
        embed: replaces the encoder's ``encode_pixels``; not together with ``states``.
        turn: held while the encoder works, such as a lock of several threads that share it.

    Raises:
        InvalidInput: ``states`` is set, and the encoder has no hidden states.
    """

    def pixels_of(source: Source) -> Pixels | ImageRefused:
        try:
            return encoder.preprocess(load(source))
        except ImageRefused as error:
            return error

    remaining = iter(sources) if fetch is None else read_ahead(sources, fetch)
    with ThreadPoolExecutor(threads, thread_name_prefix="decode") as pool:

        def submit() -> list[tuple[Source, Future[Pixels | ImageRefused]]]:
            return [(source, pool.submit(pixels_of, source)) for source in islice(remaining, batch_size)]

        following = submit()
        while following:
            current, following = following, submit()
            batch, pixels, refused = list[Source](), list[Pixels](), list[tuple[Source, ImageRefused]]()
            for source, future in current:
                result = future.result()
                if isinstance(result, ImageRefused):
                    refused.append((source, result))
                else:
                    batch.append(source)
                    pixels.append(result)
            with turn or nullcontext():
                encoded = (embed(pixels), []) if embed else encode_pixels(encoder, pixels, states=states)
            yield EmbeddedBatch(batch, *encoded, refused)
