"""What many places bring, and what they cost: `python -m benchmarks.places [PART …]`.

scaling   an adapter that takes 100 ms without taking the processor, in 1, 2, 4 and 8 places
ray       the same in 1 and 2 actors of a Ray cluster of its own (needs Ray)
model     the embedded model in 1 and 2 workers; needs a core for each
overhead  an adapter that answers at once: a worker without places, and 1, 2 and 4 places
long      214,354 questions with instant answers in 4 places (`--questions` for fewer)

Seconds run from the first answer to the last, after every place has loaded. The questions are
about images of five each.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import psutil
from attrs import define, field
from tests.builders import a_question
from tests.fakes import Instant

from vqa_engine import Answer, Engine, GenerationPlan, Observer, Progress, Question, Row
from vqa_engine import load_questions as load
from vqa_engine.adapter import ModelRef
from vqa_engine.plugins.spec import AdapterSpec

PARTS = ("scaling", "ray", "model", "overhead", "long")
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
    """When the first and the last answer came, and what this process held most."""

    first: float = 0.0
    last: float = 0.0
    held: int = 0
    places: Counter[str] = field(factory=Counter)

    def answered(self, row: Row, progress: Progress) -> None:
        self.last = time.perf_counter()
        self.first = self.first or self.last
        self.places[row.place] += 1
        if progress.done % 1000 == 0:
            self.held = max(self.held, psutil.Process().memory_info().rss)


def measured(
    adapter: type | AdapterSpec, places: Sequence[str], count: int, meet: int = 1
) -> Watch:
    """A journaled run."""
    watch = Watch()
    with tempfile.TemporaryDirectory() as scratch:
        if isinstance(adapter, type):
            met = Path(scratch, "met")
            met.mkdir()
            model = ModelRef(options={"places": meet, "at": str(met)})
            target = f"benchmarks.places:{adapter.__name__}"
            adapter = AdapterSpec(name="timed", target=target, model=model)
            questions = Many(count)
        else:
            questions = load(f"shapes:count={count}")  # type: ignore[assignment]
        with Engine(adapters=[adapter], places=places, observer=watch) as engine:
            result = engine.run(questions, Path(scratch, "run"))
        assert result.complete
        assert sum(watch.places.values()) == len(questions)
    return watch


def compare(adapter: type | AdapterSpec, scheme: str, counts: Sequence[int], each: int) -> None:
    """Questions a second in so many places, `each` of them for every place."""
    alone = 0.0
    for count in counts:
        watch = measured(
            adapter, [f"{scheme}://{_target(scheme)}?count={count}"], each * count, count
        )
        rate = (sum(watch.places.values()) - 1) / (watch.last - watch.first)
        alone = alone or rate
        shares = "/".join(str(share) for share in watch.places.values())
        print(f"  {count} places: {rate:8.2f} questions/s, {rate / alone:.2f} x  ({shares})")


def overhead(count: int) -> None:
    """Microseconds of a question whose answer takes no time."""
    for places in (0, 1, 2, 4):
        addresses = [f"local://?count={places}"] if places else []
        watch = measured(Meeting, addresses, count, max(1, places))
        each = (watch.last - watch.first) / (count - 1)
        print(f"  {places or 'no'} places: {each * 1e6:.0f} µs a question")


def long(count: int) -> None:
    """A run as long as VQA v2's validation set."""
    watch = measured(Meeting, ["local://?count=4"], count, 4)
    seconds = watch.last - watch.first
    print(
        f"  {count:,} questions in 4 places: {seconds:.1f} s, {seconds / count * 1e6:.0f} µs each"
    )
    print(f"  held by the engine at most: {watch.held / MIB:.0f} MiB")
    print(f"  shares: {dict(watch.places)}")


def _target(scheme: str) -> str:
    return "local" if scheme == "ray" else ""


def main() -> None:
    """Print the parts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", default=PARTS, help=", ".join(PARTS))
    parser.add_argument("--questions", type=int, default=214_354)
    given = parser.parse_args()
    for part in given.parts:
        print(f"{part}:", flush=True)
        match part:
            case "scaling":
                compare(Waiting, "local", (1, 2, 4, 8), 60)
            case "ray":
                compare(Waiting, "ray", (1, 2), 60)
            case "model":
                compare(AdapterSpec.parse("smolvlm@builtin"), "local", (1, 2), 300)
            case "overhead":
                overhead(min(given.questions, 10_000))
            case "long":
                long(given.questions)
            case _:
                parser.error(f"no part {part!r}; choose from {', '.join(PARTS)}")


if __name__ == "__main__":
    main()
