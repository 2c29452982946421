"""What many places bring, and what they cost: `python -m benchmarks.places [PART …]`.

scaling   an adapter that takes 100 ms without taking the processor, in 1, 2, 4 and 8 places
ray       the same in 1 and 2 actors of a Ray cluster of its own (needs Ray)
cores     the embedded model in 1 and 2 workers, each on a processor core of its own (Linux)
model     a real model in one place and in all: `--adapter` and `--place` (repeatable), such as
          two GPUs; by default the embedded one in 2 workers, each with all cores
overhead  an adapter that answers at once: a worker without places, and 1, 2 and 4 places
long      214,354 questions with instant answers in 4 places (`--questions` for fewer)

Times run from the moment when every place has answered to the last answer. There are five
questions about each image.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import psutil
from attrs import define, evolve, field
from tests.builders import a_question
from tests.fakes import Instant

from vqa_engine import (
    Answer,
    Engine,
    GenerationPlan,
    Observer,
    Progress,
    Question,
    QuestionSet,
    Row,
    load_questions,
)
from vqa_engine.adapter import MemoryProfile, ModelRef
from vqa_engine.plugins.spec import AdapterSpec
from vqa_engine_adapters.mlx.smolvlm import SmolVlm

PARTS = ("scaling", "ray", "cores", "model", "overhead", "long")
MIB = 1 << 20


class Meeting(Instant):
    """Answers once it is loaded in as many places as its options say."""

    def load(self, model: ModelRef) -> None:
        folder = Path(model.options["at"])
        (folder / str(time.monotonic_ns())).touch()
        while len(list(folder.iterdir())) < model.options["places"]:
            time.sleep(0.01)


class Waiting(Meeting):
    """Takes 100 ms, as a GPU does: the processor is free meanwhile."""

    def answer(self, question: Question, plan: GenerationPlan) -> Answer:
        time.sleep(0.1)
        return super().answer(question, plan)


class Pinned(SmolVlm):
    """Runs on one processor core, the one that its option `core` names."""

    def load(self, model: ModelRef) -> None:
        for thread in Path("/proc/self/task").iterdir():
            os.sched_setaffinity(int(thread.name), {int(model.options["core"])})
        super().load(_without_core(model))

    def profile_of(self, model: ModelRef) -> MemoryProfile:
        return super().profile_of(_without_core(model))


def _without_core(model: ModelRef) -> ModelRef:
    return evolve(model, options={k: v for k, v in model.options.items() if k != "core"})


class Many:
    """Questions of VQA v2's shape, five about each image, made while iterating."""

    name = "many"

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Question]:
        return self.at(range(self._count))

    def at(self, places: Iterable[int]) -> Iterator[Question]:
        for number in places:
            yield a_question(number, image=Path(f"/images/{number // 5}.jpg"))

    def digest(self) -> str:
        return f"many {self._count}"


@define
class Watch(Observer):
    """What came after all of so many places had answered, and what this process held most."""

    expected: int
    began: float = 0.0
    ended: float = 0.0
    before: int = 0
    held: int = 0
    places: Counter[str] = field(factory=Counter)

    def answered(self, row: Row, progress: Progress) -> None:
        self.ended = time.perf_counter()
        self.places[row.place] += 1
        if not self.began and len(self.places) == self.expected:
            self.began, self.before = self.ended, progress.done
        if progress.done % 1000 == 0:
            self.held = max(self.held, psutil.Process().memory_info().rss)

    @property
    def rate(self) -> float:
        """Questions a second."""
        return (self.places.total() - self.before) / (self.ended - self.began)


def measured(
    adapter: AdapterSpec, questions: QuestionSet, places: Sequence[str], expected: int
) -> Watch:
    """A journaled run in so many places."""
    watch = Watch(expected)
    with (
        tempfile.TemporaryDirectory() as scratch,
        Engine(adapters=[adapter], places=places, observer=watch) as engine,
    ):
        result = engine.run(questions, Path(scratch, "run"))
        assert result.complete
        assert watch.places.total() == len(questions)
    return watch


def synthetic(adapter: type, places: Sequence[str], count: int, meet: int) -> Watch:
    """A run of an adapter of this file, which answers once all places have loaded it."""
    with tempfile.TemporaryDirectory() as met:
        model = ModelRef(options={"places": meet, "at": met})
        target = f"benchmarks.places:{adapter.__name__}"
        spec = AdapterSpec(name="timed", target=target, model=model)
        return measured(spec, Many(count), places, meet)


def scaling(scheme: str, counts: Sequence[int]) -> None:
    """Questions a second in so many places."""
    alone = 0.0
    for count in counts:
        watch = synthetic(Waiting, [f"{scheme}?count={count}"], 60 * count, count)
        alone = alone or watch.rate
        show(watch, alone)


def cores(count: int) -> None:
    """The embedded model on one core, and on two."""
    model = ModelRef(model="builtin")
    spec = AdapterSpec(name="pinned", target="benchmarks.places:Pinned", model=model)
    places = [f"local://?name=core-{core}&core={core}" for core in sorted(os.sched_getaffinity(0))]
    several(spec, places[:2], count)


def several(spec: AdapterSpec, places: Sequence[str], count: int) -> None:
    """A real model in the first place, and in all of them, with so many questions for each."""
    alone = 0.0
    for some in (places[:1], places):
        questions = load_questions(f"shapes:count={count * len(some)}")
        watch = measured(spec, questions, some, len(some))
        alone = alone or watch.rate
        show(watch, alone)


def show(watch: Watch, alone: float) -> None:
    shares = "/".join(str(share) for share in watch.places.values())
    rate = f"{watch.rate:8.2f} questions/s, {watch.rate / alone:.2f} x"
    print(f"  {watch.expected} places: {rate}  ({shares})", flush=True)


def overhead(count: int) -> None:
    """Microseconds of a question whose answer takes no time."""
    for places in (0, 1, 2, 4):
        addresses = [f"local://?count={places}"] if places else []
        watch = synthetic(Meeting, addresses, count, max(1, places))
        print(f"  {places or 'no'} places: {1e6 / watch.rate:.0f} µs a question", flush=True)


def long(count: int) -> None:
    """A run as long as VQA v2's validation set."""
    watch = synthetic(Meeting, ["local://?count=4"], count, 4)
    seconds = watch.ended - watch.began
    print(f"  {count:,} questions in 4 places: {seconds:.1f} s, {1e6 / watch.rate:.0f} µs each")
    print(f"  held by the engine at most: {watch.held / MIB:.0f} MiB")
    print(f"  shares: {dict(watch.places)}")


def main() -> None:
    """Print the parts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", default=PARTS, help=", ".join(PARTS))
    parser.add_argument("--questions", type=int, default=214_354)
    parser.add_argument("--each", type=int, default=1500, help="for each place, of real models")
    parser.add_argument("--adapter", default="smolvlm@builtin")
    parser.add_argument("--place", action="append", help="of the part model")
    given = parser.parse_args()
    for part in given.parts:
        print(f"{part}:", flush=True)
        match part:
            case "scaling":
                scaling("local://", (1, 2, 4, 8))
            case "ray":
                scaling("ray://local", (1, 2))
            case "cores":
                cores(given.each)
            case "model":
                places = given.place or ("local://?name=one", "local://?name=other")
                several(AdapterSpec.parse(given.adapter), places, given.each)
            case "overhead":
                overhead(min(given.questions, 10_000))
            case "long":
                long(given.questions)
            case _:
                parser.error(f"no part {part!r}; choose from {', '.join(PARTS)}")


if __name__ == "__main__":
    main()
