"""Three ways to run the same questions: mlx-vlm's own loop, the first remedy, the engine.

    python benchmarks/memory_strategies.py [--case NAME] [--questions N] [--prediction N]

Each way runs in a process of its own, on the same random checkpoint of a real
architecture. What is compared: the peak above the weights, the pool at the end, the
processor's time (other work on the machine does not count), and whether the token ids
are the same. `first remedy` is the seed
document's code (shared/seed/enhanced-mlx-memory-management.md), without its prints.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, ClassVar

from attrs import asdict, frozen
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.checkpoints import llava, phi3_v, smolvlm

from vqa_engine.adapter import (
    Answer,
    GenerationPlan,
    ModelRef,
    Question,
    QuestionCost,
)
from vqa_engine.images import open_image
from vqa_engine.memory.budget import shown
from vqa_engine.session import LocalSession
from vqa_engine_adapters.mlx.bounding import bounded
from vqa_engine_adapters.mlx.driver import MlxAdapter
from vqa_engine_adapters.mlx.generation import Prepared, generate, prepare
from vqa_engine_adapters.mlx.llava import LlavaMlx
from vqa_engine_adapters.mlx.phi35_vision import Phi35Vision
from vqa_engine_adapters.mlx.smolvlm import SmolVlm

MAX_TOKENS = 8
QUESTION = "what colour is the kettle left of the dog in this image and how many are there"
WORDS = QUESTION.split()


@frozen(kw_only=True)
class Case:
    """A checkpoint's shape and the questions put to it.

    `edges` are the image's sides in pixels, `words` the least number of words in a
    question; each question has one word more than the one before, so every prompt has a
    length of its own.
    """

    adapter: type[MlxAdapter]
    write: Callable[[Path], Path]
    edges: tuple[int, int]
    words: int
    questions: int


def _smolvlm_split(folder: Path) -> Path:
    """17 tiles of 64 tokens: the real model's 1,088 image tokens on a small body."""
    smolvlm.TILE, smolvlm.PATCH, smolvlm.SCALE = 128, 8, 2
    smolvlm.TOKENS_PER_TILE = 64
    return smolvlm.write(folder)


def _llava_anyres(folder: Path) -> Path:
    """Five crops of 336 px, 576 tokens each: the real model's 2,880 on a small body."""
    llava.EDGE, llava.PATCH, llava.PATCHES = 336, 14, 576
    llava.GRIDS = [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]]
    return llava.write(folder)


CASES = {
    "smolvlm, 200 shapes": Case(
        adapter=SmolVlm, write=smolvlm.write, edges=(90, 70), words=5, questions=200
    ),
    "smolvlm, 17 tiles": Case(
        adapter=SmolVlm, write=_smolvlm_split, edges=(512, 512), words=20, questions=6
    ),
    "llava_next, 5 crops": Case(
        adapter=LlavaMlx, write=_llava_anyres, edges=(672, 672), words=20, questions=4
    ),
    "phi3_v, 4 crops": Case(
        adapter=Phi35Vision,
        write=lambda folder: phi3_v.write(folder, num_crops=4),
        edges=(672, 672),
        words=600,
        questions=4,
    ),
}


@frozen(kw_only=True)
class Result:
    """One way's figures: bytes, CPU seconds for all questions, and a digest of all token ids."""

    weights: int
    peak: int
    pool: int
    seconds: float
    digest: str


def questions(case: Case, folder: Path, count: int) -> Iterator[Question]:
    """The same questions every time."""
    image = folder / "picture.png"
    if not image.exists():
        _picture(case.edges).save(image)
    for number in range(count):
        text = " ".join(WORDS[i % len(WORDS)] for i in range(case.words + number))
        yield Question(question_id=number, image=image, text=text)


def _picture(edges: tuple[int, int]) -> Image.Image:
    across = Image.linear_gradient("L").resize(edges)
    down = Image.linear_gradient("L").rotate(90).resize(edges)
    return Image.merge("RGB", (across, down, Image.radial_gradient("L").resize(edges)))


class Meter:
    """Peaks, the pool and the token ids of one way."""

    def __init__(self, mx: Any) -> None:
        self._mx, self._peak, self._ids = mx, 0, hashlib.sha256()
        self._weights = mx.get_active_memory()
        self._started = time.process_time()
        mx.reset_peak_memory()

    def note(self, ids: tuple[int, ...], peak: int | None = None) -> None:
        """After one question."""
        self._peak = max(self._peak, peak or self._mx.get_peak_memory())
        self._ids.update(repr(ids).encode())

    def result(self) -> Result:
        return Result(
            weights=self._weights,
            peak=self._peak,
            pool=self._mx.get_cache_memory(),
            seconds=time.process_time() - self._started,
            digest=self._ids.hexdigest()[:12],
        )


def ours(case: Case, folder: Path, count: int) -> Result:
    """The engine's session, with the strategies that the adapter declares."""
    import mlx.core as mx

    session = LocalSession(case.adapter(), ModelRef(model=str(folder)))
    session.load()
    meter = Meter(mx)
    for question in questions(case, folder, count):
        reply = session.answer(question, GenerationPlan(max_tokens=MAX_TOKENS))
        if reply.answer is None or reply.answer.memory is None:
            raise RuntimeError(reply.failure)
        meter.note(reply.answer.token_ids, reply.answer.memory.peak)
    found = meter.result()
    session.release()
    return found


def stock(case: Case, folder: Path, count: int, after: Callable[[int], None]) -> Result:
    """mlx-vlm's loop as its README has it, with `after` called after each question."""
    import mlx.core as mx
    from mlx_vlm import load, stream_generate

    # The adapter only formats the prompts and knows the end tokens, so that both ways ask
    # the same; it is released before mlx-vlm loads its own model.
    adapter = case.adapter()
    adapter.load(ModelRef(model=str(folder)))
    asked = [adapter.prompt(question) for question in questions(case, folder, count)]
    loaded = adapter._loaded
    assert loaded is not None
    stop = loaded.stop
    del loaded
    adapter.release()
    model, processor = load(str(folder))
    if case.adapter.family.mend is not None:
        case.adapter.family.mend(processor)
    meter = Meter(mx)
    for number, prompt in enumerate(asked):
        steps = stream_generate(
            model,
            processor,
            prompt,
            image=[str(folder / "picture.png")],
            max_tokens=MAX_TOKENS,
            temperature=0.0,
        )
        ids = []
        for step in steps:
            if step.token in stop:
                break
            ids.append(int(step.token))
        steps.close()
        meter.note(tuple(ids[:MAX_TOKENS]))
        after(number)
    return meter.result()


class FirstRemedy:
    """The seed document's periodic cleanup, every five questions."""

    def __call__(self, number: int) -> None:
        if number > 0 and number % 5 == 0:
            if self._under_pressure():
                for _cycle in range(3):
                    self._clear()
                    gc.collect()
                    time.sleep(0.5)
            else:
                self._clear()
                gc.collect()

    @staticmethod
    def _under_pressure() -> bool:
        import mlx.core as mx

        try:
            metal: Any = mx.metal
            return bool(metal.get_memory_info())
        except AttributeError:
            mx.eval(mx.zeros((1000, 1000)))
            return False

    @staticmethod
    def _clear() -> None:
        import mlx.core as mx

        mx.eval(mx.zeros((1, 1)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            mx.metal.clear_cache()


WAYS: dict[str, Callable[[Case, Path, int], Result]] = {
    "stock loop": lambda case, folder, count: stock(case, folder, count, lambda _number: None),
    "first remedy": lambda case, folder, count: stock(case, folder, count, FirstRemedy()),
    "vqa-engine": ours,
}


class Foreseeing(SmolVlm):
    """Says what a question costs by preparing it, and answers from what was prepared."""

    _ready_made: ClassVar[dict[Any, Prepared]] = {}

    def cost(self, question: Question, plan: GenerationPlan) -> QuestionCost:
        loaded = self._ready()
        image = bounded(open_image(question), plan.image_longest_edge)
        prepared = prepare(loaded, self.prompt(question), image)
        self._ready_made[question.question_id] = prepared
        tiles = prepared.pixels.shape[1] if prepared.pixels.ndim == 5 else len(prepared.pixels)
        return QuestionCost(prompt_tokens=int(prepared.ids.size), image_tiles=int(tiles))

    def _generate(self, loaded: Any, question: Question, plan: GenerationPlan) -> Any:
        return generate(loaded, self._ready_made.pop(question.question_id), plan)


def prediction(folder: Path, count: int) -> None:
    """How far predictions are off, over questions of many sizes."""
    smolvlm.write(folder)
    session = LocalSession(Foreseeing(), ModelRef(model=str(folder)))
    session.load()
    errors, past, worst = [], 0, 0.0
    for number in range(count):
        edges = (40 + (number * 53) % 400, 40 + (number * 97) % 400)
        text = " ".join(WORDS[i % len(WORDS)] for i in range(5 + (number * 31) % 300))
        question = Question(question_id=number, image=_picture(edges), text=text)
        reply = session.answer(question, GenerationPlan(max_tokens=2))
        found: Answer | None = reply.answer
        if found is None:
            raise RuntimeError(reply.failure)
        one = reply.prediction
        if number >= 12 and one is not None and one.truth:
            errors.append(abs(one.expected - one.truth) / one.truth)
            worst = max(worst, (one.truth - one.expected) / one.truth)
            past += one.truth > one.bound
    session.release()
    mean = sum(errors) / len(errors)
    print(f"\nprediction over {len(errors)} questions: mean error {mean:.1%}, ", end="")
    print(f"worst under-prediction {worst:.1%}, {past} past the margin")


def apart(name: str, way: str, folder: Path, count: int) -> Result:
    """One way in a process of its own."""
    command = [sys.executable, __file__, "--case", name, "--questions", str(count)]
    done = subprocess.run(
        [*command, "--way", way, "--folder", str(folder)],
        check=True,
        capture_output=True,
        text=True,
    )
    return Result(**json.loads(done.stdout.splitlines()[-1]))


def compare(name: str, count: int | None) -> None:
    """All ways of one case, as a table."""
    case = CASES[name]
    with tempfile.TemporaryDirectory() as temporary:
        folder = case.write(Path(temporary) / "checkpoint")
        results = {way: apart(name, way, folder, count or case.questions) for way in WAYS}
    first = next(iter(results.values()))
    print(f"\n{name}: {count or case.questions} questions, weights {shown(first.weights)}\n")
    print("| way | peak above weights | of stock | pool at the end | CPU time | same tokens |")
    print("|---|---|---|---|---|---|")
    for way, found in results.items():
        above, whole = found.peak - found.weights, first.peak - first.weights
        same = "yes" if found.digest == first.digest else "NO"
        print(
            f"| {way} | {shown(above)} | {above / whole:.0%} | {shown(found.pool)} "
            f"| {found.seconds:.1f} s | {same} |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", choices=CASES)
    parser.add_argument("--questions", type=int)
    parser.add_argument("--prediction", type=int, default=500)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.way:
        case = CASES[chosen.case]
        small = phi3_v.small_tower(1) if case.adapter is Phi35Vision else nullcontext()
        with small:
            found = WAYS[chosen.way](case, chosen.folder, chosen.questions)
        print(json.dumps(asdict(found)))
        return
    for name in [chosen.case] if chosen.case else CASES:
        with phi3_v.small_tower(1):
            compare(name, chosen.questions)
    if not chosen.case:
        with tempfile.TemporaryDirectory() as temporary:
            prediction(Path(temporary) / "checkpoint", chosen.prediction)


if __name__ == "__main__":
    main()
