"""Names of colours, version 2: `nearest((red, green, blue))`; `name` of version 1 is gone."""

from collections.abc import Sequence

VERSION = 2

COLOURS = {
    "black": (0, 0, 0),
    "blue": (0, 0, 255),
    "green": (0, 128, 0),
    "grey": (128, 128, 128),
    "orange": (255, 165, 0),
    "purple": (128, 0, 128),
    "red": (255, 0, 0),
    "white": (255, 255, 255),
    "yellow": (255, 255, 0),
}


def nearest(mean: Sequence[float]) -> str:
    """The nearest of nine colours, by the square of the distance."""

    def distance(name: str) -> float:
        return sum((a - b) ** 2 for a, b in zip(mean, COLOURS[name], strict=True))

    return min(COLOURS, key=distance)
