"""The table of `benchmarks.gpu`: how its questions are made, asked and measured."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from time import perf_counter
from typing import Protocol

import psutil
from attrs import define, field, frozen
from PIL import Image

from vqa_engine.adapter import GenerationPlan, Question
from vqa_engine.memory.budget import shown
from vqa_engine.results import Reply
from vqa_engine.session.local import LocalSession

TEXTS = (
    "What colour is the kettle?",
    "How many dogs are there in the image?",
    "Is the cat left of the kettle?",
    "What is this?",
    "Are there two or three white dogs in it?",
)
Ids = tuple[int, ...]
Way = Callable[[Sequence[Question]], list[Ids]]


@define
class Meter:
    """Samples the GPU while a block runs, and counts the processor's seconds."""

    gpu: list[int] = field(factory=list)
    seconds: float = 0.0
    busy: float = 0.0

    @contextmanager
    def running(self, *, gpu: bool) -> Iterator[None]:
        """Measure what runs in the block."""
        sampler = self._sampler() if gpu else None
        process = psutil.Process()
        before, started = process.cpu_times(), perf_counter()
        yield
        self.seconds, after = perf_counter() - started, process.cpu_times()
        self.busy = after.user + after.system - before.user - before.system
        if sampler is not None:
            sampler.terminate()
            sampler.wait()

    def _sampler(self) -> subprocess.Popen[str]:
        query = ["--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "-lms", "200"]
        process = subprocess.Popen(["nvidia-smi", *query], stdout=subprocess.PIPE, text=True)
        Thread(target=self._read, args=(process,), daemon=True).start()
        return process

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self.gpu.extend(int(line) for line in process.stdout if line.strip().isdigit())


class Counter(Protocol):
    """A library's count of the bytes that it holds; `gpu` says whether they are a GPU's."""

    gpu: bool

    def reset(self) -> int:
        """Begin to count; bytes held now."""

    def peak(self, floor: int) -> int | None:
        """The most since then, above what was held; None where nothing is counted."""


@frozen(kw_only=True)
class Row:
    """One way's line of the table."""

    way: str
    rate: float
    gpu: float | None
    cores: float
    peak: int | None
    differ: int | None
    compared: int


def row(  # noqa: PLR0913, PLR0917  one line of the table
    name: str,
    way: Way,
    asked: Sequence[Question],
    expected: Sequence[Ids],
    counter: Counter,
    seen: Sequence[Sequence[Reply]] = (),
) -> tuple[Row, list[Ids]]:
    """Run one way over the questions; `expected` are ids of the first of them.

    What the way adds to `seen` knows its peaks: the counter was reset before every batch.
    """
    meter, floor, before = Meter(), counter.reset(), len(seen)
    with meter.running(gpu=counter.gpu):
        ids = way(asked)
    pairs = list(zip(ids, expected, strict=False))
    peaks = [peak - floor for batch in seen[before:] if (peak := _peak(batch)) is not None]
    measured = Row(
        way=name,
        rate=len(asked) / meter.seconds,
        gpu=sum(meter.gpu) / len(meter.gpu) if meter.gpu else None,
        cores=meter.busy / meter.seconds,
        peak=max(peaks, default=counter.peak(floor)),
        differ=sum(one != other for one, other in pairs) if pairs else None,
        compared=len(pairs),
    )
    show(measured)
    return measured, ids


def _peak(batch: Sequence[Reply]) -> int | None:
    memory = next((one.answer.memory for one in batch if one.answer), None)
    return memory.peak if memory else None


def show(measured: Row) -> None:
    """A line of the table."""
    gpu = "" if measured.gpu is None else f"{measured.gpu:.0f} %"
    differ = "" if measured.differ is None else f"{measured.differ} of {measured.compared}"
    print(
        f"| {measured.way:34} | {measured.rate:7.2f} | {gpu:>5} | {measured.cores:5.1f} | "
        f"{shown(measured.peak):>9} | {differ:>9} |",
        flush=True,
    )


def heading(title: str) -> None:
    """The table's head."""
    print(f"\n{title}\n\n| way | questions/s | GPU | cores | peak | ids differ |")
    print("|---|---|---|---|---|---|", flush=True)


def photos(folder: Path, count: int, start: int = 0) -> list[Path]:
    """As many different pictures of 640 by 480 with much in them."""
    files = []
    for number in range(start, start + count):
        draw = random.Random(number)
        left, low = draw.uniform(-2, 0), draw.uniform(-1, 0)
        fractal = Image.effect_mandelbrot((640, 480), (left, low, left + 1, low + 1), 40)
        noise = Image.effect_noise((640, 480), 40)
        bands = (fractal, noise, fractal.rotate(draw.randrange(360)))
        file = folder / f"{number}.jpg"
        Image.merge("RGB", bands).save(file, quality=90)
        files.append(file)
    return files


def about(files: Sequence[Path], each: int) -> list[Question]:
    """So many questions about every picture."""
    return [
        Question(question_id=f"{file.stem}-{n}", image=file, text=TEXTS[(place + n) % len(TEXTS)])
        for place, file in enumerate(files)
        for n in range(each)
    ]


def through(
    session: LocalSession, window: int, plan: GenerationPlan, seen: list[list[Reply]]
) -> Way:
    """Our session, asked as the engine asks it; the replies to each batch are added to `seen`."""

    def ask(questions: Sequence[Question]) -> list[Ids]:
        waiting, said = list(questions), dict[str | int, Ids]()
        while waiting:
            replies = session.ask(waiting[:window], plan)
            for question, reply in replies:
                assert reply.answer is not None, reply.failure
                said[question.question_id] = reply.answer.token_ids
            waiting = [one for one in waiting if one.question_id not in said]
            seen.append([reply for _, reply in replies])
        return [said[question.question_id] for question in questions]

    return ask


def until(stop: frozenset[int], line: Sequence[int]) -> Ids:
    """The ids before the first that ends an answer."""
    end = next((at for at, token in enumerate(line) if token in stop), len(line))
    return tuple(line[:end])


def predictions(seen: Sequence[Sequence[Reply]]) -> str:
    """How well the need of our batches was predicted, all but the first few."""
    found = [one.prediction for batch in seen[3:] for one in batch]
    made = [(one.expected, one.bound, one.truth) for one in found if one and one.truth]
    if not made:
        return "no memory was predicted"
    errors = [expected / truth - 1 for expected, _, truth in made]
    return (
        f"memory of {len(made)} batches predicted within "
        f"{sum(map(abs, errors)) / len(errors):.1%} on average, {min(errors):+.0%} to "
        f"{max(errors):+.0%}; {sum(truth > bound for _, bound, truth in made)} past the bound"
    )
