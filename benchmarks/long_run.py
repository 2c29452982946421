"""A run as long as VQA v2's validation set: `python -m benchmarks.long_run [--questions N]`.

214,354 questions with ten ground truths each on 40,504 distinct image files, asked of an
adapter that answers at once, in a worker and inline. The files are tiny (JPEGs of 16 x 16
pixels, which the adapter does not open), and the questions about one image are spread over
the whole set, so that ordering them is real work. Prints seconds, what host and worker hold
on the way, and what a second run loses that is killed (SIGKILL of the host) half way and
continued.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from attrs import define, field
from benchmarks.question_sets import IMAGES, QUESTIONS, row
from PIL import Image
from tests.fakes import Instant

from vqa_engine import Engine, Observer, Progress, Row, load_questions
from vqa_engine.crew.holder import Isolation
from vqa_engine.results import Loaded
from vqa_engine.runs.directory import open_journal

MIB = 1 << 20


class Telling(Observer):
    """Prints a JSON line when the model is loaded, at the first answer, and at some points."""

    def __init__(self, *points: int) -> None:
        self._points = set(points)
        self._process = psutil.Process()

    def loaded(self, label: str, loaded: Loaded) -> None:
        self._tell("loaded")

    def answered(self, row: Row, progress: Progress) -> None:
        if progress.done == progress.resumed + 1:
            self._tell("first")
        if progress.done in self._points:
            self._tell(str(progress.done))

    def _tell(self, what: str) -> None:
        workers = self._process.children()
        held = [one.memory_info().rss for one in (self._process, *workers)]
        print(json.dumps([what, held]), flush=True)


@define
class Account:
    """What one host told: seconds since its start, and bytes held by it and its worker."""

    seconds: dict[str, float] = field(factory=dict)
    held: dict[str, list[int]] = field(factory=dict)
    ended: float = 0.0


def make_up(folder: Path, questions: int) -> None:
    """Write the images, and set.jsonl."""
    chance, images = random.Random(0), min(IMAGES, questions)
    for number in range(images):
        pixels = Image.frombytes("RGB", (16, 16), chance.randbytes(768))
        pixels.save(folder / f"{number}.jpg")
    with (folder / "set.jsonl").open("w") as file:
        for number in range(questions):
            one = row(chance, number)
            file.write(json.dumps(one | {"image": f"{number % images}.jpg"}) + "\n")


def host(folder: Path, directory: Path, isolation: Isolation) -> None:
    """The program of one host: run, or continue, the run in a directory."""
    questions = load_questions(folder / "set.jsonl")
    count = len(questions)
    telling = Telling(count // 10, count // 2, count)
    with Engine(adapters=[Instant], isolation=isolation, observer=telling) as engine:
        engine.run(questions, directory)


@contextmanager
def started(folder: Path, directory: Path, isolation: Isolation) -> Iterator[subprocess.Popen[str]]:
    """A host, ended at the latest when this is left."""
    command = [sys.executable, "-m", "benchmarks.long_run", "--host", str(folder), str(directory)]
    process = subprocess.Popen(
        [*command, "--isolation", isolation], stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def run(folder: Path, directory: Path, isolation: Isolation, until: str = "") -> Account:
    """Start a host and listen, to its end or to a point at which it is killed."""
    account, began = Account(), time.perf_counter()
    with started(folder, directory, isolation) as process:
        assert process.stdout is not None
        for line in process.stdout:
            what, held = json.loads(line)
            account.seconds[what] = time.perf_counter() - began
            account.held[what] = held
            if what == until:
                return account
        if process.wait() != 0:
            raise SystemExit(f"the host ended with {process.returncode}")
    account.ended = time.perf_counter() - began
    return account


def show(folder: Path, isolation: Isolation, count: int) -> None:
    """The table of one way to run."""
    whole, half = run(folder, folder / f"whole-{isolation}", isolation), str(count // 2)
    answering = whole.seconds[str(count)] - whole.seconds["first"]
    print(f"\n{isolation}: {count:,} questions in {whole.ended:.1f} s")
    print(f"  until the model is loaded        {whole.seconds['loaded']:.1f} s")
    print(f"  from there to the first answer   {first(whole):.1f} s, ordering included")
    print(f"  from there to the last           {answering:.1f} s", end="")
    print(f", {answering / count * 1e6:.0f} µs a question")
    for point in (str(count // 10), half, str(count)):
        held = " + ".join(f"{size / MIB:.1f}" for size in whole.held[point])
        print(f"  held at {int(point):>9,}                {held} MiB")
    killed = folder / f"killed-{isolation}"
    run(folder, killed, isolation, until=half)
    before = len(recorded(killed))
    again = run(folder, killed, isolation)
    after, undisturbed = recorded(killed), recorded(folder / f"whole-{isolation}")
    ids = Counter(key for key, _ in after)
    print(f"  killed with rows                 {before:,}")
    print(f"  lost, doubled, changed           {count - len(ids)}, {len(after) - len(ids)}", end="")
    print(f", {sum(a != b for a, b in zip(undisturbed, after, strict=True))}")
    print(f"  start to the first new answer    {again.seconds['first']:.1f} s")
    print(f"  start to the end                 {again.ended:.1f} s")


def first(account: Account) -> float:
    """Seconds from the loaded model to its first answer."""
    return account.seconds["first"] - account.seconds["loaded"]


def recorded(directory: Path) -> list[tuple[int | str, str]]:
    """(id, text) of every row, in the caller's order."""
    journal = open_journal(directory)
    try:
        rows = journal.rows()
        return [(row.question.question_id, str(row.answer)) for row in rows]
    finally:
        journal.close()


def main() -> None:
    """Print the tables, or be the host."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--questions", type=int, default=QUESTIONS)
    parser.add_argument("--isolation", choices=["process", "inline"])
    parser.add_argument("--host", type=Path, nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.host:
        folder, directory = given.host
        host(folder, directory, given.isolation)
        return
    with tempfile.TemporaryDirectory() as scratch:
        began = time.perf_counter()
        make_up(Path(scratch), given.questions)
        print(f"made up in {time.perf_counter() - began:.0f} s")
        for isolation in (given.isolation,) if given.isolation else ("process", "inline"):
            show(Path(scratch), isolation, given.questions)


if __name__ == "__main__":
    main()
