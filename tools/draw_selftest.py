"""Draws the pictures of `vqa-engine selftest` (core/vqa_engine/selftest/pictures).

Run it from the repository's root: python -m tools.draw_selftest
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

FOLDER = Path("core/vqa_engine/selftest/pictures")

PAGE = (
    "INVOICE No. 4711",
    "",
    "Customer:  Miller",
    "Date:        3 March 2026",
    "",
    "12 chairs                    30.00",
    "1 lamp                         8.50",
    "",
    "Total                           38.50 EUR",
)


def shapes() -> Image.Image:
    """A red circle on the left, a blue square on the right."""
    image = Image.new("RGB", (640, 480), "white")
    draw = ImageDraw.Draw(image)
    draw.ellipse((70, 150, 250, 330), fill=(215, 30, 35))
    draw.rectangle((390, 150, 570, 330), fill=(30, 60, 205))
    return image


def triangles() -> Image.Image:
    """Three green triangles, one above the other."""
    image = Image.new("RGB", (480, 640), "white")
    draw = ImageDraw.Draw(image)
    for top in (60, 250, 440):
        draw.polygon([(240, top), (150, top + 140), (330, top + 140)], fill=(25, 150, 50))
    return image


def sign() -> Image.Image:
    """EXIT 42, black on yellow, wide."""
    image = Image.new("RGB", (900, 300), (250, 215, 40))
    font = ImageFont.load_default(190)
    ImageDraw.Draw(image).text((450, 150), "EXIT 42", "black", font, anchor="mm")
    return image


def page() -> Image.Image:
    """Printed text of a page's size."""
    image = Image.new("RGB", (1000, 800), "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(44)
    for number, line in enumerate(PAGE):
        draw.text((90, 80 + 70 * number), line, "black", font)
    return image


def main() -> None:
    """Write them all."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for draw in (shapes, triangles, sign, page):
        draw().quantize(64).save(FOLDER / f"{draw.__name__}.png", optimize=True)


if __name__ == "__main__":
    main()
