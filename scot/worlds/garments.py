"""How a garment is drawn: a silhouette filled with colour and pattern, then neck, seams and detail on top."""

from __future__ import annotations

import random

from PIL import Image, ImageDraw

from scot.worlds.base import PICTURE_SIZE, Attributes
from scot.worlds.canvas import (
    RGB,
    SUPERSAMPLING,
    Frame,
    Point,
    arc,
    finish,
    gradient,
    heart,
    jitter,
    luminance,
    mix,
    star,
)

INK: dict[str, RGB] = {
    "red": (212, 40, 44),
    "orange": (245, 132, 28),
    "yellow": (250, 212, 50),
    "green": (56, 152, 66),
    "teal": (36, 170, 172),
    "blue": (42, 88, 208),
    "purple": (124, 60, 172),
    "pink": (250, 142, 186),
    "brown": (124, 78, 44),
    "black": (42, 42, 46),
    "white": (250, 250, 248),
    "grey": (146, 148, 152),
}
GROUNDS: tuple[RGB, ...] = ((236, 228, 214), (222, 226, 230), (228, 222, 232), (218, 230, 222), (240, 232, 226))
NECK: RGB = (196, 160, 134)

# Local coordinates: x right, y down, the garment between about -0.42 and 0.44.
SHOULDER, WAIST = -0.30, 0.06
HEM = {
    "top": {"short": 0.04, "medium": 0.20, "long": 0.38},
    "coat": {"short": 0.18, "medium": 0.31, "long": 0.44},
    "dress": {"short": 0.21, "medium": 0.33, "long": 0.45},
    "skirt": {"short": -0.02, "medium": 0.17, "long": 0.40},
    "trousers": {"short": -0.02, "medium": 0.18, "long": 0.43},
}


def draw_garment(attributes: Attributes, rng: random.Random) -> Image.Image:
    """Draw one garment, RGB, ``PICTURE_SIZE`` square."""
    side = PICTURE_SIZE * SUPERSAMPLING
    ground = jitter(rng.choice(GROUNDS), rng, 8)
    image = gradient(side, mix(ground, (255, 255, 255), 0.35), mix(ground, (120, 110, 110), 0.12))
    frame = Frame(
        side,
        centre=(0.5 + rng.uniform(-0.03, 0.03), 0.5 + rng.uniform(-0.02, 0.02)),
        scale=rng.uniform(0.92, 1.02),
        turn=rng.uniform(-0.06, 0.06),
    )
    colour = jitter(INK[attributes["colour"]], rng)
    edge = mix(colour, (20, 16, 24), 0.55) if luminance(colour) > 70 else (4, 4, 6)
    if attributes["colour"] == "white":
        edge = (120, 120, 128)

    parts = _silhouette(attributes)
    shadow = ImageDraw.Draw(image)
    for part in parts:
        frame.polygon(shadow, [(x + 0.012, y + 0.014) for x, y in part], mix(ground, (60, 56, 60), 0.35))
    mask = Image.new("L", (side, side), 0)
    for part in parts:
        frame.polygon(ImageDraw.Draw(mask), part, 255)
    image.paste(_cloth(side, frame, colour, attributes["pattern"], rng), mask=mask)

    draw = ImageDraw.Draw(image)
    for part in parts:
        placed = frame.at(part)
        draw.line([*placed, placed[0]], fill=edge, width=max(2, round(frame.length(0.011))), joint="curve")
    _seams(draw, frame, attributes, colour, edge)
    _neck(draw, frame, attributes["collar"], colour, edge)
    _detail(draw, frame, attributes, edge)
    return finish(image, PICTURE_SIZE)


def _silhouette(attributes: Attributes) -> list[list[Point]]:
    kind, length = attributes["kind"], attributes["length"]
    if kind == "skirt":
        hem = HEM["skirt"][length]
        flare = 0.17 + 0.22 * (hem + 0.32)
        return [[(-0.15, -0.32), (0.15, -0.32), (flare, hem), (-flare, hem)]]
    if kind == "trousers":
        hem = HEM["trousers"][length]
        return [
            [
                (-0.17, -0.40),
                (0.17, -0.40),
                (0.19, -0.16),
                (0.20, hem),
                (0.06, hem),
                (0.0, -0.14),
                (-0.06, hem),
                (-0.20, hem),
                (-0.19, -0.16),
            ]
        ]
    return [*_sleeves(kind, attributes["sleeve"]), _body(kind, length)]


def _body(kind: str, length: str) -> list[Point]:
    wide = {"shirt": 0.165, "sweater": 0.185, "jacket": 0.185, "coat": 0.18, "dress": 0.145}[kind]
    collar = [(-0.075, SHOULDER - 0.03), (0.075, SHOULDER - 0.03)]
    if kind == "dress":
        hem = HEM["dress"][length]
        flare = 0.12 + 0.52 * (hem - WAIST)
        return [
            *collar,
            (wide + 0.02, SHOULDER),
            (0.115, WAIST),
            (flare, hem),
            (-flare, hem),
            (-0.115, WAIST),
            (-wide - 0.02, SHOULDER),
        ]
    hem = HEM["coat" if kind == "coat" else "top"][length]
    flare = wide + (0.07 if kind == "coat" else 0.0)
    return [
        *collar,
        (wide + 0.02, SHOULDER + 0.01),
        (wide, -0.12),
        (flare, hem),
        (-flare, hem),
        (-wide, -0.12),
        (-wide - 0.02, SHOULDER + 0.01),
    ]


def _sleeves(kind: str, sleeve: str) -> list[list[Point]]:
    if sleeve == "sleeveless":
        return []
    wide = {"shirt": 0.165, "sweater": 0.185, "jacket": 0.185, "coat": 0.18, "dress": 0.145}[kind]
    thick = 0.10 if kind in ("sweater", "coat", "jacket") else 0.085
    out, down = (0.13, 0.15) if sleeve == "short" else (0.235, 0.43)
    right = [
        (wide - 0.02, SHOULDER - 0.005),
        (wide + 0.035, SHOULDER + 0.01),
        (wide + out, SHOULDER + down),
        (wide + out - thick, SHOULDER + down + 0.03),
        (wide - 0.02, -0.15),
    ]
    return [right, [(-x, y) for x, y in right]]


def _cloth(side: int, frame: Frame, colour: RGB, pattern: str, rng: random.Random) -> Image.Image:
    cloth = gradient(side, mix(colour, (255, 255, 255), 0.06), mix(colour, (0, 0, 0), 0.10))
    if pattern == "plain":
        return cloth
    draw = ImageDraw.Draw(cloth)
    ink: RGB = (248, 246, 240) if luminance(colour) < 150 else (48, 44, 60)
    phase = rng.uniform(0, 0.05)
    steps = [i * 0.1 - 0.7 + phase for i in range(15)]
    if pattern in ("striped", "checked"):
        for y in steps:
            frame.line(draw, [(-0.7, y), (0.7, y)], ink, 0.042 if pattern == "striped" else 0.02)
    if pattern in ("pinstriped", "checked"):
        for x in steps if pattern == "checked" else [i * 0.07 - 0.7 + phase for i in range(21)]:
            frame.line(draw, [(x, -0.7), (x, 0.7)], ink, 0.022 if pattern == "pinstriped" else 0.02)
    if pattern in ("dotted", "starred"):
        gap = 0.095 if pattern == "dotted" else 0.12
        for row in range(-7, 8):
            for column in range(-7, 8):
                at = ((column + (row % 2) / 2) * gap + phase, row * gap * 0.85)
                if pattern == "dotted":
                    frame.disc(draw, at, 0.024, ink)
                else:
                    frame.polygon(draw, star(at, 0.046), ink)
    return cloth


def _seams(draw: ImageDraw.ImageDraw, frame: Frame, attributes: Attributes, colour: RGB, edge: RGB) -> None:
    kind, length = attributes["kind"], attributes["length"]
    dark = mix(colour, (0, 0, 0), 0.38) if luminance(colour) > 70 else (90, 90, 96)
    if kind in ("sweater", "jacket"):
        hem = HEM["top"][length]
        frame.polygon(draw, [(-0.185, hem - 0.045), (0.185, hem - 0.045), (0.185, hem), (-0.185, hem)], dark, edge)
        if kind == "sweater":
            for i in range(-5, 6):
                frame.line(draw, [(i * 0.033, hem - 0.04), (i * 0.033, hem)], edge, 0.006)
    if kind == "jacket":
        frame.line(draw, [(0, SHOULDER), (0, HEM["top"][length])], edge, 0.026)
        frame.line(draw, [(0, SHOULDER), (0, HEM["top"][length])], (206, 206, 212), 0.011)
    if kind == "coat":
        hem = HEM["coat"][length]
        frame.line(draw, [(0.0, -0.10), (0.0, hem)], edge, 0.014)
        for sign in (-1, 1):
            frame.polygon(
                draw,
                [(sign * 0.07, SHOULDER - 0.03), (sign * 0.125, -0.20), (0, -0.08), (sign * 0.02, -0.2)],
                dark,
                edge,
            )
    if kind == "dress":
        frame.line(draw, [(-0.115, WAIST), (0.115, WAIST)], edge, 0.014)
    if kind in ("skirt", "trousers"):
        top = -0.32 if kind == "skirt" else -0.40
        half = 0.15 if kind == "skirt" else 0.17
        frame.polygon(draw, [(-half, top), (half, top), (half, top + 0.035), (-half, top + 0.035)], dark, edge)
    if kind == "trousers":
        frame.line(draw, [(0, -0.36), (0, -0.14)], edge, 0.012)


def _neck(draw: ImageDraw.ImageDraw, frame: Frame, collar: str, colour: RGB, edge: RGB) -> None:
    top = SHOULDER - 0.03
    light = mix(colour, (255, 255, 255), 0.5) if luminance(colour) < 200 else (205, 205, 214)
    if collar == "round":
        frame.polygon(draw, arc((0, top), 0.075, 0.055, 0, 180), NECK, edge)
    elif collar == "v-neck":
        frame.polygon(draw, [(-0.075, top), (0.075, top), (0, top + 0.15)], NECK, edge)
    elif collar == "pointed":
        frame.polygon(draw, arc((0, top), 0.06, 0.03, 0, 180), NECK, edge)
        for sign in (-1, 1):
            frame.polygon(
                draw,
                [
                    (sign * 0.085, top - 0.012),
                    (sign * 0.012, top + 0.03),
                    (sign * 0.085, top + 0.105),
                    (sign * 0.125, top + 0.03),
                ],
                light,
                edge,
            )
    elif collar == "turtleneck":
        frame.polygon(
            draw, [(-0.07, top - 0.075), (0.07, top - 0.075), (0.082, top + 0.02), (-0.082, top + 0.02)], light, edge
        )
        frame.line(draw, [(-0.074, top - 0.03), (0.074, top - 0.03)], edge, 0.008)


def _detail(draw: ImageDraw.ImageDraw, frame: Frame, attributes: Attributes, edge: RGB) -> None:
    kind, detail = attributes["kind"], attributes["detail"]
    is_top = kind not in ("skirt", "trousers")
    waist = {"skirt": -0.30, "trousers": -0.38, "dress": WAIST}.get(
        kind, min(WAIST, HEM["coat" if kind == "coat" else "top"][attributes["length"]] - 0.06)
    )
    half = {"skirt": 0.155, "trousers": 0.172, "dress": 0.118, "shirt": 0.165, "coat": 0.215}.get(kind, 0.185)
    if detail == "belt":
        frame.polygon(
            draw,
            [(-half, waist - 0.025), (half, waist - 0.025), (half, waist + 0.027), (-half, waist + 0.027)],
            (92, 52, 26),
            (40, 22, 10),
        )
        frame.polygon(
            draw,
            [(-0.036, waist - 0.036), (0.036, waist - 0.036), (0.036, waist + 0.038), (-0.036, waist + 0.038)],
            (240, 200, 70),
            (90, 66, 10),
        )
    elif detail == "pocket":
        x, y = (0.085, -0.15) if is_top else (0.085, -0.24)
        frame.polygon(
            draw,
            [(x - 0.05, y - 0.045), (x + 0.05, y - 0.045), (x + 0.05, y + 0.04), (x, y + 0.066), (x - 0.05, y + 0.04)],
            (240, 236, 226),
            edge,
        )
        frame.line(draw, [(x - 0.05, y - 0.018), (x + 0.05, y - 0.018)], edge, 0.01)
    elif detail == "buttons":
        start, stop = (
            (
                SHOULDER + 0.14,
                HEM["coat" if kind == "coat" else "dress" if kind == "dress" else "top"][attributes["length"]] - 0.05,
            )
            if is_top
            else (-0.27, -0.06)
        )
        for i in range(4):
            frame.disc(draw, (-0.045, start + (stop - start) * i / 3), 0.023, (250, 214, 80), (70, 50, 10))
    elif detail == "heart":
        x, y = (-0.085, -0.14) if is_top else (-0.085, -0.22)
        frame.polygon(draw, heart((x, y), 0.052), (238, 30, 80), (255, 255, 255))
