"""What the engine itself costs: an adapter that answers instantly, journal and scores on.

Run: `python -m benchmarks.engine_overhead [--questions 20000] [--isolation inline]`.
Prints microseconds per question, resident memory on the way, and start-up times. The
machine's own noise shows in the repeats: the best of three is the figure.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import psutil
from tests.fakes import Instant

from vqa_engine import Engine, Observer, Progress, Question, Row
from vqa_engine.crew.holder import Isolation

TRUTHS = ("yes",) * 7 + ("no",) * 3


class ManyQuestions:
    """`count` questions of VQA v2's shape, made while iterating."""

    name = "many"

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Question]:
        return self.at(range(self._count))

    def at(self, places: Iterable[int]) -> Iterator[Question]:
        for number in places:
            yield Question(
                question_id=number,
                image=b"",
                text="Is the cat on the table?",
                answers=TRUTHS,
                image_id=number // 5,
                question_type="is the",
                answer_type="yes/no",
            )

    def digest(self) -> str:
        return f"many {self._count}"


class Watch(Observer):
    """Reads the resident memory at some points of a run."""

    def __init__(self, points: set[int]) -> None:
        self._points = points
        self._process = psutil.Process()
        self.resident: dict[int, int] = {}

    def answered(self, row: Row, progress: Progress) -> None:
        if progress.done in self._points:
            self.resident[progress.done] = self._process.memory_info().rss


def measure(count: int, isolation: Isolation) -> tuple[float, dict[int, int]]:
    """Seconds per question, and resident bytes at 1,000, at a tenth, half and all of them."""
    watch = Watch({1000, count // 10, count // 2, count})
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        with Engine(adapters=[Instant], isolation=isolation, observer=watch) as engine:
            engine.run(ManyQuestions(count), Path(folder) / "run")
        return (time.perf_counter() - started) / count, watch.resident


def seconds_of(*command: str) -> float:
    """The best of three wall times of a command."""
    best = float("inf")
    for _ in range(3):
        started = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        best = min(best, time.perf_counter() - started)
    return best


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--questions", type=int, default=20_000)
    parser.add_argument("--isolation", choices=["inline", "process"], default="inline")
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    runs = [measure(given.questions, given.isolation) for _ in range(given.repeats)]
    for seconds, resident in runs:
        shown = ", ".join(
            f"{done}: {size / 2**20:.1f} MiB" for done, size in sorted(resident.items())
        )
        print(f"{given.isolation}: {seconds * 1e6:.0f} µs per question; resident at {shown}")
    print(f"best: {min(seconds for seconds, _ in runs) * 1e6:.0f} µs per question")
    command = str(Path(sys.executable).parent / "vqa-engine")
    print(f"vqa-engine --help: {seconds_of(command, '--help'):.3f} s")
    print(f"vqa-engine adapters: {seconds_of(command, 'adapters'):.3f} s")
    print(f"import vqa_engine: {seconds_of(sys.executable, '-c', 'import vqa_engine'):.3f} s")


if __name__ == "__main__":
    main()
