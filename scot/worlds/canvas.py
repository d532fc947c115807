"""Drawing in unit coordinates on a supersampled canvas."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from PIL import Image, ImageDraw

RGB = tuple[int, int, int]
Point = tuple[float, float]

SUPERSAMPLING = 2


def mix(one: RGB, other: RGB, share: float) -> RGB:
    """``share`` of ``other`` in ``one``."""
    return tuple(round(x + (y - x) * share) for x, y in zip(one, other, strict=True))  # type: ignore[return-value]


def jitter(colour: RGB, rng: random.Random, by: int = 10) -> RGB:
    """The colour as another light would show it."""
    shift = rng.randint(-by, by)
    return tuple(min(255, max(0, c + shift + rng.randint(-by // 2, by // 2))) for c in colour)  # type: ignore[return-value]


def luminance(colour: RGB) -> float:
    """Perceived brightness, 0 to 255 (Rec. 601)."""
    return 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]


class Frame:
    """A local coordinate system: unit coordinates, scaled, turned and moved onto a canvas of ``side`` pixels."""

    def __init__(self, side: int, *, centre: Point = (0.5, 0.5), scale: float = 1.0, turn: float = 0.0) -> None:
        self.side = side
        self._centre, self._scale = centre, scale
        self._cos, self._sin = math.cos(turn), math.sin(turn)

    def at(self, points: Sequence[Point]) -> list[Point]:
        """Local points (centre 0, about ±0.5) to pixels."""
        cx, cy = self._centre
        return [
            (
                (cx + self._scale * (x * self._cos - y * self._sin)) * self.side,
                (cy + self._scale * (x * self._sin + y * self._cos)) * self.side,
            )
            for x, y in points
        ]

    def length(self, units: float) -> float:
        """A local length in pixels."""
        return units * self._scale * self.side

    def polygon(
        self, draw: ImageDraw.ImageDraw, points: Sequence[Point], fill: RGB | int, outline: RGB | None = None
    ) -> None:
        """Fill a polygon and, if asked, stroke it."""
        placed = self.at(points)
        draw.polygon(placed, fill=fill)
        if outline is not None:
            draw.line([*placed, placed[0]], fill=outline, width=max(2, round(self.length(0.012))), joint="curve")

    def disc(
        self, draw: ImageDraw.ImageDraw, centre: Point, radius: float, fill: RGB | int, outline: RGB | None = None
    ) -> None:
        """Fill a circle."""
        ((x, y),) = self.at([centre])
        r = self.length(radius)
        width = max(2, round(self.length(0.012))) if outline is not None else 0
        draw.ellipse((x - r, y - r, x + r, y + r), fill=fill, outline=outline, width=width)

    def line(self, draw: ImageDraw.ImageDraw, points: Sequence[Point], fill: RGB | int, width: float) -> None:
        """Stroke a line of local width."""
        draw.line(self.at(points), fill=fill, width=max(1, round(self.length(width))), joint="curve")


def arc(  # noqa: PLR0917 (the order everyone draws an arc in)
    centre: Point, rx: float, ry: float, start: float, stop: float, steps: int = 14
) -> list[Point]:
    """Points on an ellipse from angle ``start`` to ``stop`` in degrees (0 is right, 90 is down)."""
    angles = [math.radians(start + (stop - start) * i / steps) for i in range(steps + 1)]
    return [(centre[0] + rx * math.cos(t), centre[1] + ry * math.sin(t)) for t in angles]


def star(centre: Point, radius: float, points: int = 5) -> list[Point]:
    """A star's outline."""
    turns = [(radius if i % 2 == 0 else radius * 0.42, math.pi * i / points - math.pi / 2) for i in range(2 * points)]
    return [(centre[0] + r * math.cos(t), centre[1] + r * math.sin(t)) for r, t in turns]


def heart(centre: Point, size: float) -> list[Point]:
    """A heart's outline, about ``2 · size`` wide."""
    x, y = centre
    left = arc((x - size / 2, y - size * 0.25), size / 2, size / 2, 180, 360, 8)
    right = arc((x + size / 2, y - size * 0.25), size / 2, size / 2, 180, 360, 8)
    return [*left, *right, (x, y + size)]


def gradient(side: int, top: RGB, bottom: RGB) -> Image.Image:
    """A square that fades from ``top`` to ``bottom``."""
    column = Image.new("RGB", (1, 2))
    column.putpixel((0, 0), top)
    column.putpixel((0, 1), bottom)
    return column.resize((side, side), Image.Resampling.BILINEAR)


def finish(image: Image.Image, size: int) -> Image.Image:
    """Shrink a supersampled picture."""
    return image.resize((size, size), Image.Resampling.BOX if SUPERSAMPLING == 2 else Image.Resampling.LANCZOS)
