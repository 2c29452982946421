"""Scenes of the `shapes` set: which things lie where, and how they are drawn.

Everything here is integer arithmetic and `random.Random`, so one (seed, index) gives the same
scene on every platform. Coordinates and sizes are pixels of the finished picture.
"""

from __future__ import annotations

import random
from collections import Counter

import attrs
from PIL import Image, ImageDraw

DRAWING_VERSION = 1
"""Part of the set's digest. Raise it with every change that alters a picture or a question."""

PICTURE_SIZE = 128
"""Edge of a picture in pixels; pictures are square."""

SHAPES = ("circle", "square", "triangle", "star", "cross")

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (215, 35, 35),
    "green": (40, 160, 60),
    "blue": (40, 80, 220),
    "yellow": (240, 205, 30),
    "purple": (145, 50, 175),
    "gray": (128, 128, 128),
    "black": (20, 20, 20),
}

_SUPERSAMPLING = 2
_CELLS = 4
_CELL_SIZE = PICTURE_SIZE // _CELLS
_STRAY = 3
_RADII = (11, 13)
_UNIT = 1000
_COLOUR_JITTER = 12

# Outlines in thousandths of the radius around the centre. Written down rather than computed, so
# that no platform's cosine can move a corner.
_OUTLINES: dict[str, tuple[tuple[int, int], ...]] = {
    "square": ((-860, -860), (860, -860), (860, 860), (-860, 860)),
    "triangle": ((0, -1000), (1000, 800), (-1000, 800)),
    "star": (
        *((0, -1050), (247, -340), (999, -324), (400, 130), (617, 850)),
        *((0, 420), (-617, 850), (-400, 130), (-999, -324), (-247, -340)),
    ),
    "cross": (
        *((-330, -1000), (330, -1000), (330, -330), (1000, -330), (1000, 330), (330, 330)),
        *((330, 1000), (-330, 1000), (-330, 330), (-1000, 330), (-1000, -330), (-330, -330)),
    ),
}


@attrs.frozen
class Thing:
    """One object in a picture: what it is, and where its centre and edge lie, in pixels."""

    shape: str
    colour: str
    x: int
    y: int
    radius: int
    paint: tuple[int, int, int]


@attrs.frozen
class Scene:
    """The things of one picture on a plain, lightly tinted background."""

    background: tuple[int, int, int]
    things: tuple[Thing, ...]


def scene_rng(seed: int, index: int) -> random.Random:
    """The dice of one scene. A text seed is hashed whole, the same on every platform."""
    return random.Random(f"shapes {DRAWING_VERSION} {seed} {index}")


def sample_scene(rng: random.Random, fewest: int = 2, most: int = 5) -> Scene:
    """A scene of fewest … most things, in which every kind of question has a clear answer."""
    while True:
        kinds = _sample_kinds(rng, rng.randrange(fewest, most + 1))
        if _is_askable(kinds):
            cells = rng.sample(range(_CELLS * _CELLS), len(kinds))
            pairs = zip(kinds, cells, strict=True)
            things = tuple(_thing(rng, *kind, cell) for kind, cell in pairs)
            return Scene(_jitter(rng, (236, 236, 236), 18), things)


def draw(scene: Scene) -> Image.Image:
    """The scene as an RGB picture of `PICTURE_SIZE`, antialiased by supersampling."""
    edge = PICTURE_SIZE * _SUPERSAMPLING
    canvas = Image.new("RGB", (edge, edge), scene.background)
    pen = ImageDraw.Draw(canvas)
    for thing in scene.things:
        _draw_thing(pen, thing)
    return canvas.reduce(_SUPERSAMPLING)


def _sample_kinds(rng: random.Random, count: int) -> list[tuple[str, str]]:
    """(shape, colour) of each thing; small palettes make shapes and colours repeat."""
    shapes = rng.sample(SHAPES, rng.randrange(2, 5))
    colours = rng.sample(tuple(COLOURS), rng.randrange(2, 5))
    return [(rng.choice(shapes), rng.choice(colours)) for _ in range(count)]


def _is_askable(kinds: list[tuple[str, str]]) -> bool:
    """Some shape, some colour and two whole descriptions each name exactly one thing."""
    shapes = Counter(shape for shape, _ in kinds)
    colours = Counter(colour for _, colour in kinds)
    pairs = Counter(kinds)
    return (
        1 in shapes.values()
        and 1 in colours.values()
        and sum(count == 1 for count in pairs.values()) >= min(2, len(kinds))
    )


def _thing(rng: random.Random, shape: str, colour: str, cell: int) -> Thing:
    """A thing about the middle of its cell, small enough not to touch its neighbours."""
    row, column = divmod(cell, _CELLS)
    x, y = (
        place * _CELL_SIZE + _CELL_SIZE // 2 + rng.randrange(-_STRAY, _STRAY + 1)
        for place in (column, row)
    )
    radius = rng.randrange(_RADII[0], _RADII[1] + 1)
    return Thing(shape, colour, x, y, radius, _jitter(rng, COLOURS[colour], _COLOUR_JITTER))


def _jitter(rng: random.Random, rgb: tuple[int, int, int], most: int) -> tuple[int, int, int]:
    red, green, blue = (min(255, max(0, value + rng.randrange(-most, most + 1))) for value in rgb)
    return red, green, blue


def _draw_thing(pen: ImageDraw.ImageDraw, thing: Thing) -> None:
    x, y, radius = (value * _SUPERSAMPLING for value in (thing.x, thing.y, thing.radius))
    if thing.shape == "circle":
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=thing.paint)
    else:
        outline = _OUTLINES[thing.shape]
        pen.polygon(
            [(x + dx * radius // _UNIT, y + dy * radius // _UNIT) for dx, dy in outline],
            fill=thing.paint,
        )
