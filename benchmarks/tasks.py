"""What a task of VQA v2's size costs as parquet files: seconds, and memory.

Makes up questions with ten ground truths each, five to an image, in files with row groups of
a hundred, and asks each part in a process of its own:

    python benchmarks/tasks.py [--questions N] [--image-bytes N] [--mixed]

`parquet` loads them as a task does, makes the first question and then all of them in the
engine's order, twice: the second time every image is in the cache. `imports` is what the hub
path costs to import, with the client of the hub only where something is downloaded. `files` is
the look for 40,504 image files before a model is loaded.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

MIB = 1 << 20
PER_IMAGE, PER_GROUP, PER_FILE = 5, 100, 20_000
IMAGE_FILES = 40_504
PARTS = ("files", "imports", "make", "parquet")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--questions", type=int, default=200_000)
    parser.add_argument("--image-bytes", type=int, default=20_000)
    parser.add_argument("--mixed", action="store_true", help="An image's questions lie apart.")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part is None:
        run_parts()
    else:
        globals()[f"part_{arguments.part}"](arguments)


def run_parts() -> None:
    """Each part in a process of its own, for a child inherits the peak of its parent."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["VQA_ENGINE_CACHE"] = f"{folder}/cache"
        for part in PARTS:
            fixed = [sys.executable, __file__, *sys.argv[1:], "--folder", folder]
            subprocess.run([*fixed, "--part", part], check=True)


def part_imports(_arguments: argparse.Namespace) -> None:
    code = "import time; start = time.process_time(); {}; print(time.process_time() - start)"
    for when, modules in {
        "from the cache": ("vqa_engine.questions.tasks", "pyarrow.parquet"),
        "to download": ("vqa_engine.questions.tasks", "pyarrow.parquet", "huggingface_hub.hf_api"),
        "pyarrow alone": ("pyarrow.parquet",),
        "huggingface_hub alone": ("huggingface_hub.hf_api",),
    }.items():
        command = [sys.executable, "-c", code.format(f"import {', '.join(modules)}")]
        runs = [subprocess.run(command, check=True, capture_output=True) for _ in range(5)]
        spent = 1000 * min(float(one.stdout) for one in runs)
        print(f"imports {when}: {spent:.0f} ms of CPU (best of 5)")


def part_files(arguments: argparse.Namespace) -> None:
    from vqa_engine.questions import load_questions
    from vqa_engine.questions.presence import check_images

    folder = arguments.folder / "images"
    folder.mkdir()
    for number in range(IMAGE_FILES):
        (folder / f"{number}.jpg").touch()
    lines = (
        f'{{"image": "{number % IMAGE_FILES}.jpg", "question": "q", "answer": "a"}}\n'
        for number in range(arguments.questions)
    )
    (arguments.folder / "set.jsonl").write_text("".join(lines))
    found = load_questions(arguments.folder / "set.jsonl", images=folder)
    start = time.process_time()
    check_images(found)
    spent = time.process_time() - start
    print(f"files: {IMAGE_FILES:,} images looked for in {spent:.2f} s of CPU")


def part_make(arguments: argparse.Namespace) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = random.Random(0)
    for first in range(0, arguments.questions, PER_FILE):
        rows = list(made(rng, first, arguments))
        file = arguments.folder / f"val-{first:06d}.parquet"
        pq.write_table(pa.Table.from_pylist(rows), file, row_group_size=PER_GROUP)
    size = sum(file.stat().st_size for file in arguments.folder.glob("*.parquet"))
    print(f"make: {arguments.questions:,} questions, {size / MIB:,.0f} MiB of parquet")


def made(rng: random.Random, first: int, arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    images = PER_FILE // PER_IMAGE
    for place in range(min(PER_FILE, arguments.questions - first)):
        image = place % images if arguments.mixed else place // PER_IMAGE
        number = first // PER_IMAGE + image
        data = b"\xff\xd8\xff" + random.Random(number).randbytes(arguments.image_bytes)
        yield {
            "question_id": first + place,
            "image_id": number,
            "question": f"What is {rng.random()}?",
            "answers": [{"answer": f"word{rng.randrange(4)}", "answer_id": n} for n in range(10)],
            "image": {"bytes": data, "path": None},
        }


def part_parquet(arguments: argparse.Namespace) -> None:
    from vqa_engine.questions.ordering import by_image
    from vqa_engine.questions.table.columns import Columns
    from vqa_engine.questions.table.parquet import Parquet
    from vqa_engine.questions.table.table_set import TableSet

    columns = Columns(
        id="question_id",
        image="image",
        image_id="image_id",
        question="question",
        answers="answers",
    )
    files = sorted(arguments.folder.glob("*.parquet"))
    for turn in ("first time", "from the cache"):
        start = time.perf_counter()
        found = TableSet.load(Parquet.open(files), columns, arguments.folder)
        loaded = time.perf_counter() - start
        asked = by_image(found)
        next(asked)
        print(f"{turn}: loaded in {loaded:.2f} s, first question {taken(start)}, {memory()}")
        for number, _ in enumerate(asked, start=2):
            if number % (arguments.questions // 4) == 0:
                print(f"  question {number:,} {taken(start)}, {memory()}")


def taken(start: float) -> str:
    return f"after {time.perf_counter() - start:.1f} s ({time.process_time():.1f} s of CPU)"


def memory() -> str:
    """What the process holds, and its highest so far."""
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MIB
    return f"{psutil.Process().memory_info().rss / MIB:.0f} MiB (peak {peak:.0f})"


if __name__ == "__main__":
    main()
