"""The things of a scene: each fills about one local unit, in one colour with a dark outline."""

from __future__ import annotations

from collections.abc import Callable

from PIL import ImageDraw

from scot.worlds.canvas import RGB, Frame, arc, luminance, mix, star

EDGE: RGB = (26, 22, 30)
WOOD: RGB = (120, 78, 44)
CREAM: RGB = (250, 240, 214)


def draw_thing(draw: ImageDraw.ImageDraw, frame: Frame, kind: str, colour: RGB) -> None:
    """Draw one thing of ``kind`` in ``colour`` into its frame."""
    THINGS[kind](draw, frame, colour)


def _edge(colour: RGB) -> RGB:
    return (236, 236, 240) if luminance(colour) < 50 else EDGE


def _stroke(draw: ImageDraw.ImageDraw, frame: Frame, points: list[tuple[float, float]], colour: RGB) -> None:
    placed = frame.at(points)
    draw.polygon(placed, fill=colour)
    draw.line(
        [*placed, placed[0], placed[1]], fill=_edge(colour), width=max(2, round(frame.length(0.035))), joint="curve"
    )


def _disc(draw: ImageDraw.ImageDraw, frame: Frame, centre: tuple[float, float], radius: float, colour: RGB) -> None:
    _stroke(draw, frame, arc(centre, radius, radius, 0, 360, 26), colour)


def _cat(draw: ImageDraw.ImageDraw, frame: Frame, colour: RGB) -> None:
    frame.line(draw, arc((0.30, 0.22), 0.2, 0.24, 90, -80), _edge(colour), 0.13)
    frame.line(draw, arc((0.30, 0.22), 0.2, 0.24, 90, -80), colour, 0.08)
    _stroke(draw, frame, arc((0, 0.28), 0.28, 0.24, 0, 360, 24), colour)
    _stroke(
        draw,
        frame,
        [
            (-0.3, -0.12),
            (-0.3, -0.5),
            (-0.08, -0.32),
            (0.08, -0.32),
            (0.3, -0.5),
            (0.3, -0.12),
            (0.18, 0.08),
            (-0.18, 0.08),
        ],
        colour,
    )
    for sign in (-1, 1):
        frame.disc(draw, (sign * 0.12, -0.13), 0.05, (250, 250, 250), EDGE)
        frame.disc(draw, (sign * 0.12, -0.13), 0.025, EDGE)
    frame.disc(draw, (0, -0.02), 0.03, (240, 130, 140))


def _bird(draw: ImageDraw.ImageDraw, frame: Frame, colour: RGB) -> None:
    _stroke(draw, frame, [(-0.5, -0.08), (-0.22, 0.0), (-0.2, 0.16)], colour)
    _stroke(draw, frame, arc((0.0, 0.08), 0.3, 0.24, 0, 360, 24), colour)
    _disc(draw, frame, (0.24, -0.18), 0.17, colour)
    _stroke(draw, frame, [(0.39, -0.22), (0.55, -0.15), (0.38, -0.09)], (248, 176, 40))
    _stroke(draw, frame, [(-0.14, 0.02), (0.14, 0.02), (-0.06, -0.32)], mix(colour, (0, 0, 0), 0.2))
    frame.disc(draw, (0.28, -0.21), 0.04, (250, 250, 250), EDGE)
    for x in (-0.05, 0.08):
        frame.line(draw, [(x, 0.3), (x, 0.48)], (200, 130, 30), 0.04)


def _fish(draw: ImageDraw.ImageDraw, frame: Frame, colour: RGB) -> None:
    _stroke(draw, frame, [(0.2, 0.0), (0.5, -0.26), (0.42, 0.0), (0.5, 0.26)], colour)
    _stroke(draw, frame, [(-0.05, -0.2), (0.12, -0.4), (0.2, -0.15)], mix(colour, (0, 0, 0), 0.2))
    _stroke(draw, frame, arc((-0.08, 0), 0.38, 0.25, 0, 360, 26), colour)
    frame.line(draw, arc((-0.2, 0), 0.06, 0.2, -70, 70), _edge(colour), 0.03)
    frame.disc(draw, (-0.3, -0.06), 0.055, (250, 250, 250), EDGE)
    frame.disc(draw, (-0.31, -0.06), 0.025, EDGE)


def _car(draw: ImageDraw.ImageDraw, frame: Frame, colour: RGB) -> None:
    _stroke(draw, frame, [(-0.3, -0.02), (-0.18, -0.28), (0.16, -0.28), (0.3, -0.02)], colour)
    _stroke(draw, frame, [(-0.5, 0.2), (-0.5, 0.0), (-0.34, -0.05), (0.36, -0.05), (0.5, 0.02), (0.5, 0.2)], colour)
    for left, right in ((-0.22, -0.02), (0.03, 0.21)):
        frame.polygon(
            draw, [(left, -0.06), (left + 0.05, -0.22), (right - 0.03, -0.22), (right, -0.06)], (206, 232, 244), EDGE
        )
    for x in (-0.27, 0.27):
        frame.disc(draw, (x, 0.21), 0.125, (40, 40, 44), (236, 236, 236))
        frame.disc(draw, (x, 0.21), 0.05, (206, 206, 210))


def _boat(draw: ImageDraw.ImageDraw, frame: Frame, colour: RGB) -> None:
    frame.line(draw, [(0, -0.5), (0, 0.2)], WOOD, 0.05)
    _stroke(draw, frame, [(0.05, -0.46), (0.05, 0.1), (0.42, 0.1)], colour)
    _stroke(draw, frame, [(-0.05, -0.36), (-0.05, 0.1), (-0.34, 0.1)], mix(colour, (255, 255, 255), 0.15))
    _stroke(draw, frame, [(-0.48, 0.18), (0.48, 0.18), (0.32, 0.42), (-0.32, 0.42)], colour)


def _house(draw: ImageDraw.ImageDraw, frame: Frame, colour: RGB) -> None:
    _stroke(draw, frame, [(-0.34, -0.06), (0.34, -0.06), (0.34, 0.44), (-0.34, 0.44)], colour)
    _stroke(draw, frame, [(-0.48, -0.05), (0, -0.48), (0.48, -0.05)], mix(colour, (0, 0, 0), 0.25))
    frame.polygon(draw, [(-0.08, 0.14), (0.1, 0.14), (0.1, 0.44), (-0.08, 0.44)], WOOD, EDGE)
    for x in (-0.24, 0.18):
        frame.polygon(draw, [(x, 0.06), (x + 0.11, 0.06), (x + 0.11, 0.18), (x, 0.18)], CREAM, EDGE)


def _tree(draw: ImageDraw.ImageDraw, frame: Frame, colour: RGB) -> None:
    _stroke(draw, frame, [(-0.08, 0.1), (0.08, 0.1), (0.1, 0.5), (-0.1, 0.5)], WOOD)
    for x, y, r in ((-0.2, 0.0, 0.2), (0.2, 0.0, 0.2), (0.0, -0.22, 0.25)):
        _disc(draw, frame, (x, y), r, colour)
    frame.disc(draw, (0.0, -0.06), 0.2, colour)


def _flower(draw: ImageDraw.ImageDraw, frame: Frame, colour: RGB) -> None:
    frame.line(draw, [(0, 0.0), (0.02, 0.5)], (38, 112, 44), 0.06)
    _stroke(draw, frame, [(0.02, 0.38), (0.22, 0.22), (0.26, 0.34)], (60, 146, 64))
    for i in range(6):
        _disc(draw, frame, arc((0, -0.16), 0.19, 0.19, i * 60, i * 60, 1)[0], 0.13, colour)
    _disc(draw, frame, (0, -0.16), 0.11, (250, 206, 60) if colour[2] > 90 or colour[1] < 180 else (150, 90, 40))


def _balloon(draw: ImageDraw.ImageDraw, frame: Frame, colour: RGB) -> None:
    frame.line(draw, [(0, 0.2), (0.05, 0.32), (-0.04, 0.42), (0.02, 0.52)], EDGE, 0.03)
    _stroke(draw, frame, [(0, 0.14), (-0.07, 0.24), (0.07, 0.24)], colour)
    _stroke(draw, frame, arc((0, -0.16), 0.28, 0.33, 0, 360, 26), colour)
    frame.disc(draw, (-0.1, -0.28), 0.055, mix(colour, (255, 255, 255), 0.7))


def _umbrella(draw: ImageDraw.ImageDraw, frame: Frame, colour: RGB) -> None:
    frame.line(draw, [(0, -0.4), (0, 0.38), *arc((0.08, 0.38), 0.08, 0.09, 180, 0, 8)], WOOD, 0.055)
    canopy = arc((0, 0.0), 0.48, 0.42, 180, 360, 22)
    scallops = [p for i in range(4) for p in arc((0.36 - 0.24 * i, 0.0), 0.12, 0.07, 0, -180, 6)]
    _stroke(draw, frame, [*canopy, *scallops], colour)
    for x in (-0.24, 0.0, 0.24):
        frame.line(draw, [(0, -0.42), (x, -0.01)], _edge(colour), 0.022)


def _mushroom(draw: ImageDraw.ImageDraw, frame: Frame, colour: RGB) -> None:
    _stroke(draw, frame, [(-0.12, 0.0), (0.12, 0.0), (0.17, 0.45), (-0.17, 0.45)], CREAM)
    _stroke(draw, frame, [*arc((0, 0.03), 0.46, 0.46, 180, 360, 22), (0.3, 0.09), (-0.3, 0.09)], colour)
    spot: RGB = (255, 255, 255) if luminance(colour) < 210 else (222, 90, 90)
    for x, y, r in ((-0.22, -0.1, 0.07), (0.06, -0.24, 0.08), (0.26, -0.06, 0.06), (-0.02, -0.04, 0.05)):
        frame.disc(draw, (x, y), r, spot)


def _star(draw: ImageDraw.ImageDraw, frame: Frame, colour: RGB) -> None:
    _stroke(draw, frame, star((0, 0.03), 0.5), colour)


THINGS: dict[str, Callable[[ImageDraw.ImageDraw, Frame, RGB], None]] = {
    "cat": _cat,
    "bird": _bird,
    "fish": _fish,
    "car": _car,
    "boat": _boat,
    "house": _house,
    "tree": _tree,
    "flower": _flower,
    "balloon": _balloon,
    "umbrella": _umbrella,
    "mushroom": _mushroom,
    "star": _star,
}
