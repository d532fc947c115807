"""Images, vectors and edits of the client's arguments as protobuf messages."""

from __future__ import annotations

import io
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from scot.client import _checks as checks
from scot.client._types import ImageInput
from scot.data.images import DEFAULT_LIMITS, upright
from scot.data.records import read_file
from scot.edit import Edit
from scot.errors import ImageRefused, InvalidInput, install_hint
from scot.v1 import search_pb2

if TYPE_CHECKING:
    import numpy.typing as npt


def image_bytes(image: ImageInput, field: str = "image") -> bytes:
    """The encoded image; a PIL image becomes a PNG of the pixels that the service would decode from its file.

    Raises:
        InvalidInput: there is no such file, it cannot be read, or the value is no image.
    """
    if isinstance(image, bytes):
        return image
    if isinstance(image, Image.Image):
        buffer = io.BytesIO()
        try:
            upright(image).save(buffer, "PNG", compress_level=1)
        except OSError as error:
            raise InvalidInput(f"the PIL image cannot be read: {error}") from None
        return buffer.getvalue()
    if not isinstance(image, str | PathLike):
        raise InvalidInput(f"{field}: must be a path, bytes or a PIL image, not {checks.shown(image)}")
    path = Path(fspath(image))
    limit = DEFAULT_LIMITS.max_bytes
    try:
        data = read_file(path, limit)
    except ValueError:  # a NUL byte
        raise InvalidInput(f"{field}: is not the path of a file: {checks.shown(str(path))}") from None
    except ImageRefused as error:
        raise InvalidInput(f"there is no image file {path}" if error.reason == "missing" else str(error)) from None
    if len(data) > limit:
        raise InvalidInput(f"the image file {path} has more than {limit:,} bytes")
    return data


def edit_to_proto(field: str, edit: str | Edit) -> search_pb2.Edit:
    """The message of an edit, which is the argument ``field``."""
    if isinstance(edit, str):
        return search_pb2.Edit(text=checks.text(field, edit))
    if not isinstance(edit, Edit):
        raise InvalidInput(f"{field}: must be text or an Edit, not {checks.shown(edit)}")
    weight = checks.number(f"{field}.weight", edit.weight)
    return search_pb2.Edit(
        text=checks.text(f"{field}.text", edit.text),
        weight=None if weight == 1.0 else weight,
        negative=checks.instance(f"{field}.negative", edit.negative, bool),
    )


def vector_to_proto(vector: npt.ArrayLike, field: str = "vector") -> search_pb2.Vector:
    """The message of a ``(D,)`` vector."""
    numpy = numpy_module()
    try:
        row = numpy.asarray(vector, dtype="float64")
    except (TypeError, ValueError):
        raise InvalidInput(f"{field}: must be a row of numbers") from None
    if row.ndim != 1:
        raise InvalidInput(f"{field}: must be one row of numbers, not of shape {row.shape}")
    return search_pb2.Vector(values=row.tolist())


def numpy_module() -> Any:
    """NumPy, which only vectors need: the base package does without it."""
    try:
        import numpy
    except ModuleNotFoundError as error:
        raise InvalidInput(f"vectors need NumPy, which is not installed: {install_hint('data')}") from error
    return numpy
