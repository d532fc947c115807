"""The composition of a multimodal embedder by itself: pictures and edits in one input (docs/adr/0032-embedders.md)."""

from __future__ import annotations

from scot.baselines import NATIVE
from scot.composers.artifact import load_composer
from scot.composers.base import Composer
from scot.composers.baselines import Sum
from scot.composers.packaged import packaged_for
from scot.composers.registry import Registry, composer_path
from scot.encoders.base import Encoder, PairEncoder
from scot.errors import InvalidInput


class NativeComposer(Sum):
    """embed(pictures, edits); where the start of a query is a vector alone, the sum of vectors.

    Whoever has the pictures calls :meth:`~scot.encoders.base.PairEncoder.encode_pairs` of ``encoder`` with
    :func:`~scot.edit.joined` edits; :meth:`compose` has only vectors, and is the sum.
    """

    architecture = NATIVE

    def __init__(self, encoder: PairEncoder) -> None:
        super().__init__()
        self.encoder, self.encoder_id = encoder, encoder.id


def native_composer(encoder: Encoder) -> NativeComposer:
    """The native composer of an encoder. Raises InvalidInput: the encoder has no input for a picture and a text."""
    if not isinstance(encoder, PairEncoder):
        raise InvalidInput(
            f"the encoder {encoder.id} does not embed a picture and a text together: it has no composer {NATIVE}"
        )
    return NativeComposer(encoder)


def default_composer(encoder: Encoder) -> str | None:
    """What answers by an encoder where nothing is released: its packaged composer, or the native one; None: the sum."""
    return packaged_for(encoder.id) or (NATIVE if isinstance(encoder, PairEncoder) else None)


def open_composer(name: str, registry: Registry | None, encoder: Encoder) -> Composer:
    """The native composer, a packaged one, a version, or without a registry the artifact at ``name``, for an encoder.

    Raises:
        NotFound: there is no such composer.
        EncoderMismatch: it was trained on another encoder's vectors.
        InvalidInput: it is damaged, or native and the encoder has none.
    """
    if name == NATIVE:
        return native_composer(encoder)
    return load_composer(composer_path(name, registry), encoder_id=encoder.id, dim=encoder.dim)
