"""How a scene is drawn: a setting, the companion, and the things in front of it."""

from __future__ import annotations

import math
import random

from PIL import Image, ImageDraw

from scot.worlds.base import PICTURE_SIZE, Attributes
from scot.worlds.canvas import RGB, SUPERSAMPLING, Frame, Point, arc, finish, gradient, jitter
from scot.worlds.things import draw_thing

INK: dict[str, RGB] = {
    "red": (214, 34, 40),
    "orange": (246, 130, 22),
    "yellow": (252, 216, 44),
    "green": (40, 140, 52),
    "blue": (36, 82, 214),
    "purple": (122, 54, 176),
    "pink": (252, 140, 190),
    "black": (36, 36, 40),
    "white": (252, 252, 250),
}
SKIES: dict[str, tuple[RGB, RGB]] = {
    "meadow": ((150, 206, 244), (214, 236, 246)),
    "beach": ((128, 200, 240), (250, 236, 210)),
    "desert": ((248, 206, 150), (252, 232, 190)),
    "snow": ((190, 204, 220), (226, 234, 242)),
    "night": ((18, 22, 58), (52, 52, 104)),
    "city": ((176, 190, 208), (226, 220, 214)),
    "room": ((240, 226, 198), (232, 214, 184)),
    "mountains": ((160, 190, 226), (232, 224, 226)),
}
HORIZON = 0.12  # local y of the ground line
SIZE = {"small": 0.125, "large": 0.215}
WHERE = {"left": -0.235, "middle": 0.0, "right": 0.235}
SPREAD: dict[str, tuple[Point, ...]] = {
    "one": ((0.0, 0.0),),
    "two": ((-0.52, 0.05), (0.52, -0.05)),
    "three": ((-0.53, 0.42), (0.53, 0.42), (0.0, -0.5)),
    "four": ((-0.53, -0.52), (0.53, -0.52), (-0.53, 0.52), (0.53, 0.52)),
}


def draw_scene(attributes: Attributes, rng: random.Random) -> Image.Image:
    """Draw one scene, RGB, ``PICTURE_SIZE`` square."""
    side = PICTURE_SIZE * SUPERSAMPLING
    top, bottom = SKIES[attributes["setting"]]
    image = gradient(side, jitter(top, rng, 8), jitter(bottom, rng, 8))
    draw = ImageDraw.Draw(image)
    _BACKDROPS[attributes["setting"]](draw, Frame(side), rng)

    place = attributes["place"]
    if attributes["companion"] != "none":
        beside = -0.36 if place == "right" else 0.36
        at = (0.5 + beside + rng.uniform(-0.02, 0.02), 0.66 + rng.uniform(-0.03, 0.03))
        frame = Frame(side, centre=at, scale=0.2 * rng.uniform(0.92, 1.06), turn=rng.uniform(-0.08, 0.08))
        draw_thing(draw, frame, attributes["companion"], jitter(INK[attributes["companion_colour"]], rng))

    size = SIZE[attributes["size"]] * rng.uniform(0.93, 1.05)
    squeeze = -0.07 if place == "middle" and attributes["companion"] != "none" else 0.0
    centre = (0.5 + WHERE[place] + squeeze + rng.uniform(-0.02, 0.02), 0.52 + rng.uniform(-0.05, 0.05))
    colour = jitter(INK[attributes["colour"]], rng)
    for dx, dy in SPREAD[attributes["count"]]:
        at = (
            centre[0] + dx * size * 1.06 + rng.uniform(-0.008, 0.008),
            centre[1] + dy * size * 1.12 + rng.uniform(-0.008, 0.008),
        )
        draw_thing(draw, Frame(side, centre=at, scale=size, turn=rng.uniform(-0.1, 0.1)), attributes["kind"], colour)
    return finish(image, PICTURE_SIZE)


def _ground(draw: ImageDraw.ImageDraw, frame: Frame, colour: RGB, level: float = HORIZON) -> None:
    frame.polygon(draw, [(-0.5, level), (0.5, level), (0.5, 0.5), (-0.5, 0.5)], colour)


def _meadow(draw: ImageDraw.ImageDraw, frame: Frame, rng: random.Random) -> None:
    shift = rng.uniform(-0.1, 0.1)
    frame.polygon(draw, arc((-0.25 + shift, 0.34), 0.55, 0.3, 180, 360), jitter((150, 204, 112), rng))
    frame.polygon(
        draw, [*arc((0.3 + shift, 0.36), 0.6, 0.24, 180, 360), (0.9, 0.5), (-0.4, 0.5)], jitter((124, 190, 92), rng)
    )
    _ground(draw, frame, jitter((132, 196, 98), rng), 0.25)
    for _ in range(14):
        x, y = rng.uniform(-0.48, 0.48), rng.uniform(0.28, 0.48)
        frame.line(draw, [(x, y), (x + 0.01, y - 0.03)], (84, 150, 64), 0.008)


def _beach(draw: ImageDraw.ImageDraw, frame: Frame, rng: random.Random) -> None:
    level = HORIZON - 0.1 + rng.uniform(-0.02, 0.02)
    _ground(draw, frame, jitter((52, 150, 200), rng), level)
    for i in range(3):
        y = level + 0.05 + i * 0.06
        wave = [(-0.5 + x * 0.1, y + 0.01 * math.sin(x * 2 + i)) for x in range(11)]
        frame.line(draw, wave, (214, 240, 248), 0.01)
    shore = [(-0.5 + x * 0.1, level + 0.24 + 0.02 * math.sin(x * 1.3)) for x in range(11)]
    frame.polygon(draw, [*shore, (0.5, 0.5), (-0.5, 0.5)], jitter((244, 222, 164), rng))


def _desert(draw: ImageDraw.ImageDraw, frame: Frame, rng: random.Random) -> None:
    frame.disc(draw, (rng.uniform(-0.35, 0.35), -0.32), 0.075, (255, 244, 200))
    shift = rng.uniform(-0.1, 0.1)
    frame.polygon(
        draw,
        [(-0.5, 0.16), (-0.15 + shift, 0.0), (0.2 + shift, 0.18), (0.5, 0.08), (0.5, 0.5), (-0.5, 0.5)],
        jitter((232, 180, 110), rng),
    )
    frame.polygon(
        draw, [(-0.5, 0.3), (0.1 - shift, 0.18), (0.5, 0.34), (0.5, 0.5), (-0.5, 0.5)], jitter((218, 160, 88), rng)
    )


def _snow(draw: ImageDraw.ImageDraw, frame: Frame, rng: random.Random) -> None:
    _ground(draw, frame, (240, 246, 252), HORIZON + 0.04)
    for x in (-0.42, -0.3, 0.36, 0.46):
        base = HORIZON + 0.06
        frame.polygon(draw, [(x - 0.05, base), (x + 0.05, base), (x, base - 0.16)], (128, 156, 150))
    for _ in range(34):
        frame.disc(draw, (rng.uniform(-0.5, 0.5), rng.uniform(-0.5, 0.5)), 0.009, (255, 255, 255))


def _night(draw: ImageDraw.ImageDraw, frame: Frame, rng: random.Random) -> None:
    for _ in range(22):
        frame.disc(draw, (rng.uniform(-0.5, 0.5), rng.uniform(-0.5, 0.1)), 0.006, (236, 232, 200))
    x = rng.uniform(-0.38, 0.38)
    frame.disc(draw, (x, -0.36), 0.07, (250, 244, 206))
    frame.disc(draw, (x + 0.03, -0.375), 0.06, (26, 28, 66))
    _ground(draw, frame, jitter((34, 44, 66), rng, 5), HORIZON + 0.14)


def _city(draw: ImageDraw.ImageDraw, frame: Frame, rng: random.Random) -> None:
    x = -0.52
    while x < 0.5:
        wide, top = rng.uniform(0.09, 0.15), rng.uniform(-0.36, -0.06)
        frame.polygon(draw, [(x, top), (x + wide, top), (x + wide, 0.3), (x, 0.3)], jitter((128, 138, 156), rng, 14))
        y = top + 0.04
        while y < 0.22:
            for column in (0.3, 0.7):
                at = x + wide * column
                frame.polygon(
                    draw,
                    [(at - 0.012, y), (at + 0.012, y), (at + 0.012, y + 0.025), (at - 0.012, y + 0.025)],
                    (232, 222, 170),
                )
            y += 0.06
        x += wide + 0.012
    _ground(draw, frame, jitter((112, 112, 118), rng), 0.27)
    for i in range(5):
        frame.polygon(
            draw,
            [(-0.46 + i * 0.22, 0.385), (-0.36 + i * 0.22, 0.385), (-0.36 + i * 0.22, 0.4), (-0.46 + i * 0.22, 0.4)],
            (232, 232, 226),
        )


def _room(draw: ImageDraw.ImageDraw, frame: Frame, rng: random.Random) -> None:
    x = rng.uniform(-0.2, 0.2)
    frame.polygon(
        draw,
        [(x - 0.13, -0.42), (x + 0.13, -0.42), (x + 0.13, -0.12), (x - 0.13, -0.12)],
        (196, 226, 240),
        (128, 88, 56),
    )
    frame.line(draw, [(x, -0.42), (x, -0.12)], (128, 88, 56), 0.012)
    frame.line(draw, [(x - 0.13, -0.27), (x + 0.13, -0.27)], (128, 88, 56), 0.012)
    _ground(draw, frame, jitter((178, 126, 84), rng), 0.2)
    for i in range(4):
        frame.line(draw, [(-0.5, 0.26 + i * 0.07), (0.5, 0.26 + i * 0.07)], (150, 100, 64), 0.006)
    frame.line(draw, [(-0.5, 0.2), (0.5, 0.2)], (250, 246, 236), 0.022)


def _mountains(draw: ImageDraw.ImageDraw, frame: Frame, rng: random.Random) -> None:
    shift = rng.uniform(-0.08, 0.08)
    for x, height in ((-0.3, 0.44), (0.08, 0.58), (0.4, 0.42)):
        at, peak = x + shift, 0.22 - height
        frame.polygon(draw, [(at - 0.34, 0.24), (at, peak), (at + 0.34, 0.24)], jitter((112, 104, 112), rng))
        frame.polygon(
            draw,
            [
                (at - 0.08, peak + 0.11),
                (at, peak),
                (at + 0.08, peak + 0.11),
                (at + 0.02, peak + 0.08),
                (at - 0.03, peak + 0.12),
            ],
            (246, 248, 252),
        )
    _ground(draw, frame, jitter((134, 128, 108), rng), 0.22)


_BACKDROPS = {
    "meadow": _meadow,
    "beach": _beach,
    "desert": _desert,
    "snow": _snow,
    "night": _night,
    "city": _city,
    "room": _room,
    "mountains": _mountains,
}
