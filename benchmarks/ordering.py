"""What it costs to find the files that show one picture: `python benchmarks/ordering.py`.

Writes distinct 640 x 480 JPEGs of a photograph's weight (60 to 100 KiB), asks 5.3 questions
about each, interleaved, and orders them. Seconds for each 1,000 images, warm file cache:
`no two of one size in pixels` reads headers only, `all of one size` makes a sketch of each,
`all of one size, one PNG among them` decodes each.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import psutil
from PIL import Image

from vqa_engine.adapter import Question
from vqa_engine.questions.given import as_question_set
from vqa_engine.questions.ordering import by_image

EACH = 5.3
"""Questions an image, as in VQA v2's validation set."""


def photo(seed: int, size: tuple[int, int]) -> Image.Image:
    """Soft shapes under fine grain: it compresses as a photograph does."""
    chance = random.Random(seed)
    shapes = Image.frombytes("RGB", (16, 12), chance.randbytes(576)).resize(size)
    grain = Image.effect_noise(size, 30).convert("RGB")
    return Image.blend(shapes, grain, 0.35)


def write(folder: Path, count: int, *, same: bool) -> list[Path]:
    """Distinct JPEGs, all of one size or no two."""
    folder.mkdir()
    paths = [folder / f"{number:06}.jpg" for number in range(count)]
    for number, path in enumerate(paths):
        photo(number, (640, 480 if same else 480 + number)).save(path, quality=85)
    return paths


def order(paths: Iterable[Path]) -> tuple[float, int]:
    """Seconds, and bytes that the process grew by."""
    images = list(paths)
    asked = as_question_set(
        Question(question_id=number, image=images[number % len(images)], text="?")
        for number in range(round(len(images) * EACH))
    )
    process = psutil.Process()
    before, started = process.memory_info().rss, time.perf_counter()
    by_image(asked)
    return time.perf_counter() - started, process.memory_info().rss - before


def show(name: str, paths: list[Path]) -> None:
    """One line: the best of three."""
    runs = [order(paths) for _ in range(3)]
    seconds = min(seconds for seconds, _ in runs) / len(paths) * 1000
    grown = max(grown for _, grown in runs)
    print(f"{name:<40}{seconds:>8.2f} s for 1,000 images{grown / 2**20:>8.1f} MiB grown")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=1000)
    count = parser.parse_args().images
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        different = write(folder / "different", min(count, 300), same=False)
        same = write(folder / "same", count, same=True)
        mean = sum(path.stat().st_size for path in same) / len(same)
        print(f"{count} JPEGs of 640 x 480, {mean / 1024:.0f} KiB on average")
        show("no two of one size in pixels", different)
        show("all of one size", same)
        png = folder / "same" / "one.png"
        photo(count, (640, 480)).save(png)
        show("all of one size, one PNG among them", [*same, png])


if __name__ == "__main__":
    main()
