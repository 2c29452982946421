"""What the process boundary costs: for each question, for each restart, for each crash.

    python -m benchmarks.worker_boundary [--questions 20000] [--crashes 20]

The adapter is instant, so a question's time is the boundary's and the session's own.
The restart with the embedded model is shown when its checkpoint is there.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import statistics
import tempfile
from collections.abc import Callable, Iterable, Iterator
from itertools import cycle
from pathlib import Path
from time import perf_counter
from unittest import mock

from attrs import evolve
from PIL import Image
from tests.fakes import Instant

from vqa_engine import Engine
from vqa_engine.adapter import (
    BUILTIN,
    Answer,
    GenerationPlan,
    ImageSource,
    ModelRef,
    Question,
)
from vqa_engine.errors import VqaEngineError
from vqa_engine.plugins.spec import AdapterSpec
from vqa_engine.session.local import LocalSession
from vqa_engine.session.protocol import Session
from vqa_engine.worker import WorkerSession, outbox
from vqa_engine.worker.messages import encode_asked

PLAN = GenerationPlan()
MEGAPIXEL = (1024, 1024)
INSTANT = AdapterSpec(name="instant", target="benchmarks.worker_boundary:Fragile")


class Fragile(Instant):
    """Answers at once, and crashes when it is told to."""

    def answer(self, question: Question, plan: GenerationPlan) -> Answer:
        if question.text == "die":
            ctypes.string_at(8)
        return super().answer(question, plan)


def per_question(session: Session, images: Iterable[ImageSource], count: int) -> list[float]:
    """Seconds of each question."""
    seconds = []
    for number, image in zip(range(count), images, strict=False):
        question = Question(question_id=number, image=image, text="What colour is it?")
        started = perf_counter()
        session.ask([question], PLAN)
        seconds.append(perf_counter() - started)
    return seconds


def kinds(folder: Path, count: int) -> Iterator[tuple[str, Iterable[ImageSource], int]]:
    """Each way an image crosses, and how many questions to ask that way."""
    file = folder / "image.jpg"
    Image.effect_noise((320, 240), 60).convert("RGB").save(file)
    data = file.read_bytes()
    pictures = [Image.new("RGB", MEGAPIXEL, colour) for colour in ("red", "green")]
    slow = max(1, count // 10)
    yield "path", cycle([file]), count
    yield f"bytes, {len(data) >> 10} KiB, the same", cycle([data]), count
    yield f"bytes, {len(data) >> 10} KiB, a new one each", cycle([data, data + b" "]), count
    yield "PIL, 1 megapixel, the same", cycle(pictures[:1]), count
    yield (
        "PIL, 1 megapixel, 5 questions each",
        cycle([p for p in pictures for _ in range(5)]),
        count,
    )
    yield "PIL, 1 megapixel, a new one each", cycle(pictures), slow


def show_questions(folder: Path, count: int) -> None:
    """The table of costs per question, inline for comparison."""
    print(f"{'per question, ms':<40}{'questions':>10}{'median':>9}{'p99':>9}{'largest':>9}")
    inline = LocalSession(Instant(), ModelRef())
    inline.load()
    row("inline", per_question(inline, cycle([folder]), count))
    session = WorkerSession(INSTANT)
    session.load()
    for name, images, asked in kinds(folder, count):
        row(name, per_question(session, images, asked))
    session.release()
    inline.release()


def show_crossings(count: int) -> None:
    """How often a question crosses to its worker when batches of 4 of 32 are answered."""
    with (
        mock.patch.object(outbox, "encode_asked", wraps=encode_asked) as encode,
        Engine(adapters=[AdapterSpec(name="crowd", target="tests.fakes:DeadlyTogether")]) as engine,
    ):
        engine.run([Question(question_id=n, image=b"", text="?") for n in range(count)])
    print(f"crossings to the worker per question: {encode.call_count / count:.2f}")


def row(name: str, seconds: list[float]) -> None:
    """One line of a table, in milliseconds."""
    ordered = sorted(second * 1000 for second in seconds)
    p99 = ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]
    middle = statistics.median(ordered)
    print(f"{name:<40}{len(ordered):>10}{middle:>9.3f}{p99:>9.3f}{ordered[-1]:>9.3f}")


def show_starts(spec: AdapterSpec, times: int) -> None:
    """Start to ready, and release to gone."""
    starts, ends = [], []
    for _ in range(times):
        session = WorkerSession(spec)
        started = perf_counter()
        session.load()
        starts.append(perf_counter() - started)
        started = perf_counter()
        session.release()
        ends.append(perf_counter() - started)
    row(f"{spec.label}: start and load", starts)
    row(f"{spec.label}: release, seen to be gone", ends)


def show_crashes(spec: AdapterSpec, crashes: int, kill: Callable[[WorkerSession], str]) -> None:
    """What deaths cost the run: the time until a worker is ready again."""
    seconds: list[float] = []
    session = WorkerSession(spec)
    session.load()
    for number in range(crashes):
        text = kill(session)
        question = Question(question_id=number, image=photo(), text=text)
        for asked in (question, evolve(question, text="What colour is it?")):
            [(_, reply)] = session.ask([asked], PLAN)
            seconds += [e.seconds for e in reply.events if e.strategy == "fresh worker"]
    session.release()
    row(f"{spec.label}: until a fresh worker is ready", seconds)


def photo() -> Image.Image:
    """A small picture."""
    return Image.new("RGB", (64, 64), "red")


def crash(_session: WorkerSession) -> str:
    """A question that ends each worker that is asked it."""
    return "die"


def murder(session: WorkerSession) -> str:
    """A worker that is killed just before it is asked."""
    if session.pid is not None:
        os.kill(session.pid, 9)
    return "What colour is it?"


def main() -> None:
    """Print the three tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--questions", type=int, default=20_000)
    parser.add_argument("--crashes", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        show_questions(Path(folder), options.questions)
    show_crossings(options.questions)
    print(f"\n{'per start, ms':<40}{'times':>10}{'median':>9}{'p99':>9}{'largest':>9}")
    embedded = AdapterSpec(name="smolvlm", model=ModelRef(model=BUILTIN))
    show_starts(INSTANT, options.crashes)
    show_crashes(INSTANT, options.crashes // 3, crash)
    try:
        show_starts(embedded, max(1, options.crashes // 4))
        show_crashes(embedded, max(1, options.crashes // 4), murder)
    except VqaEngineError as error:
        print(f"smolvlm, embedded: {error}")


if __name__ == "__main__":
    main()
