"""The images of a benchmark: found in the authors' folders, decoded as published evaluation code decodes them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeGuard

from PIL import Image

from scot.data.images import ImageLimits, decode_image
from scot.data.places import Place, RemotePath
from scot.data.records import CaptionedImage
from scot.errors import ImageRefused

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
DILATION = 0.7
"""How much a crop is enlarged, as a share of its width and height (GeneCIS, Vaze et al. 2023, arXiv 2306.07969)."""

_FULL_SIZE = ImageLimits(jpeg_side=0)

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class ImageFile:
    """An image file, or the part of it in ``box`` (x, y, width, height in pixels), dilated and padded as in GeneCIS."""

    file: Place
    box: Box | None = None
    data: bytes | None = field(default=None, compare=False, repr=False)
    """The file's bytes, where they have been read already."""

    def fetched(self) -> ImageFile:
        """The same with the bytes of a file at a URL; as it is if that cannot be read."""
        record = CaptionedImage(self.file.name, self.file, (), {}).fetched()
        return replace(self, data=record.image) if isinstance(record.image, bytes) else self

    def load(self) -> Image.Image:
        """Decode at full size, RGB. Raises ImageRefused."""
        data = CaptionedImage(self.file.name, self.data or self.file, (), {}).read()
        image = decode_image(data, _FULL_SIZE, plain=True)
        return image if self.box is None else _crop(image, self.box)


def is_there(image: Place | bytes) -> TypeGuard[Place]:
    """Whether an image is a file of its own; at a URL, one that was found."""
    return isinstance(image, Path) or (isinstance(image, RemotePath) and image.found is not None)


def find_images(images: Path, folders: Sequence[str]) -> dict[str, Path]:
    """Stem to file of the images in these folders under ``images``; the first folder that has a stem wins."""
    found: dict[str, Path] = {}
    for folder in dict.fromkeys(folders):
        if (place := images / folder).is_dir():
            for file in sorted(place.iterdir()):
                if file.suffix.lower() in SUFFIXES:
                    found.setdefault(file.stem, file)
    return found


def located(names: Iterable[str], found: dict[str, Path]) -> dict[str, ImageFile]:
    """The names whose files were found."""
    return {name: ImageFile(found[name]) for name in names if name in found}


def _crop(image: Image.Image, box: Box) -> Image.Image:
    """The box, dilated to the left and top, then to the right and bottom, on a black square."""
    x, y, width, height = box
    left, top = max(0.0, x - DILATION * width), max(0.0, y - DILATION * height)
    right = min(float(image.width), left + (1 + DILATION) * width)
    bottom = min(float(image.height), top + (1 + DILATION) * height)
    left, top, right, bottom = map(round, (left, top, right, bottom))
    if left >= right or top >= bottom:
        raise ImageRefused("corrupt", f"the box {box} holds no pixel of the picture")
    part = image.crop((left, top, right, bottom))
    side = max(part.size)
    square = Image.new("RGB", (side, side))
    square.paste(part, ((side - part.width) // 2, (side - part.height) // 2))
    return square
