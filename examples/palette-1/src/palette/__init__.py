"""Names of colours, version 1: `name(red, green, blue)`."""

VERSION = 1

COLOURS = {"red": (255, 0, 0), "green": (0, 128, 0), "blue": (0, 0, 255), "white": (255,) * 3}


def name(red: float, green: float, blue: float) -> str:
    """The nearest of four colours."""
    mean = (red, green, blue)
    return min(
        COLOURS, key=lambda one: sum(abs(a - b) for a, b in zip(mean, COLOURS[one], strict=True))
    )
