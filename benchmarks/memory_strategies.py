"""Three ways to run the same questions: mlx-vlm's own loop, the first remedy, the engine.

    python benchmarks/memory_strategies.py [--case NAME] [--against WAY] [--questions N]

Each way runs in a process of its own, on the same random checkpoint of a real
architecture. What is compared: the peak above the weights, the pool (its largest after a
question, and at the end), the most memory that the process had resident above where it
stood with the weights loaded (pixels that numpy holds count here), the processor's time
(other work on the machine does not count), and whether the token ids are the same. `first
remedy` is what an earlier script did between questions (docs/facts/memory.md), without its
prints. `no reuse` computes each question from its image on, `saver` is `--memory saver`,
`a quarter` has a budget of a quarter of the stock loop's peak above the weights.

Without `--case` all cases run but the large one.
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
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

from attrs import asdict, frozen
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.checkpoints import llava, phi3_v, smolvlm

from vqa_engine.adapter import GenerationPlan, ModelRef, Question
from vqa_engine.memory.budget import shown
from vqa_engine.memory.policy import MemoryPolicy
from vqa_engine.session.local import LocalSession
from vqa_engine_adapters.mlx.driver import MlxAdapter
from vqa_engine_adapters.mlx.llava import LlavaMlx
from vqa_engine_adapters.mlx.phi35_vision import Phi35Vision
from vqa_engine_adapters.mlx.smolvlm import SmolVlm

MAX_TOKENS = 8
PLAN = GenerationPlan(max_tokens=MAX_TOKENS)
TOWER = 2
"""Phi's vision layers. It reads the last one's input, so of one layer nothing is computed."""

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
    """17 tiles of 512 px, 1,024 patches and 64 tokens: the real model's on a small body."""
    smolvlm.PATCH, smolvlm.SCALE = 16, 4
    return smolvlm.write(folder, tile=512)


def _smolvlm_256m(folder: Path) -> Path:
    """The same with SmolVLM-256M's layers, heads and widths; its vocabulary stays small."""
    tiny = smolvlm._config

    def config(model_type: str, vocabulary: int, *sizes: int) -> dict[str, Any]:
        made = tiny(model_type, vocabulary, *sizes)
        made["text_config"] |= {
            "hidden_size": 576,
            "intermediate_size": 1536,
            "num_hidden_layers": 30,
            "num_attention_heads": 9,
            "num_key_value_heads": 3,
            "head_dim": 64,
        }
        made["vision_config"] |= {
            "hidden_size": 768,
            "intermediate_size": 3072,
            "num_hidden_layers": 12,
            "num_attention_heads": 12,
        }
        return made

    with patch.object(smolvlm, "_config", config):
        return _smolvlm_split(folder)


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
    "smolvlm, 256M-shaped": Case(
        adapter=SmolVlm, write=_smolvlm_256m, edges=(512, 512), words=20, questions=2
    ),
}

LARGE = "smolvlm, 256M-shaped"
"""Takes minutes a question with MLX's reference BLAS; run it with OpenBLAS preloaded:
LD_PRELOAD=/usr/lib/x86_64-linux-gnu/openblas-pthread/libopenblas.so.0."""


@frozen(kw_only=True)
class Result:
    """One way's figures: bytes, CPU seconds for all questions, and a digest of all token ids.

    `largest` is the largest pool after a question, `pool` the one at the end, `resident` the
    most that the whole process took above what it had when the model was loaded.
    """

    weights: int
    peak: int
    largest: int
    pool: int
    resident: int
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
        self._mx, self._peak, self._largest = mx, 0, 0
        self._ids = hashlib.sha256()
        self._weights = mx.get_active_memory()
        Path("/proc/self/clear_refs").write_text("5")  # forget the highest figure so far
        self._resident = _status("VmRSS")
        self._started = time.process_time()
        mx.reset_peak_memory()

    def note(self, ids: tuple[int, ...], peak: int | None = None) -> None:
        """After one question."""
        self._peak = max(self._peak, peak or self._mx.get_peak_memory())
        self._largest = max(self._largest, self._mx.get_cache_memory())
        self._ids.update(repr(ids).encode())

    def result(self) -> Result:
        return Result(
            weights=self._weights,
            peak=self._peak,
            largest=self._largest,
            pool=self._mx.get_cache_memory(),
            resident=max(0, _status("VmHWM") - self._resident),
            seconds=time.process_time() - self._started,
            digest=self._ids.hexdigest()[:12],
        )


def _status(name: str) -> int:
    """Bytes of a line in this process's status (proc_pid_status(5))."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) * 1024


def ours(
    case: Case,
    folder: Path,
    count: int,
    reuse: str = "on",
    policy: MemoryPolicy = MemoryPolicy(),  # noqa: B008  it is frozen
) -> Result:
    """The engine's session."""
    import mlx.core as mx

    model = ModelRef(model=str(folder), options={"reuse": reuse})
    session = LocalSession(case.adapter(), model, policy)
    session.load()
    meter = Meter(mx)
    for question in questions(case, folder, count):
        reply = session.ask([question], PLAN)[0][1]
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
    loaded = adapter._ready()
    stop = loaded.stop
    del loaded
    adapter.release()
    model, processor = load(str(folder))
    if case.adapter.family.mend is not None:
        case.adapter.family.mend(model, processor, {})
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


WAYS: dict[str, Callable[[Case, Path, int, int | None], Result]] = {
    "stock loop": lambda case, at, count, _: stock(case, at, count, lambda _number: None),
    "first remedy": lambda case, at, count, _: stock(case, at, count, FirstRemedy()),
    "vqa-engine": lambda case, at, count, _: ours(case, at, count),
    "vqa-engine, no reuse": lambda case, at, count, _: ours(case, at, count, reuse="off"),
    "vqa-engine, saver": lambda case, at, count, _: ours(
        case, at, count, policy=MemoryPolicy(saver=True)
    ),
    "vqa-engine, a quarter": lambda case, at, count, budget: ours(
        case, at, count, policy=MemoryPolicy(budget=budget)
    ),
}


def apart(name: str, way: str, folder: Path, count: int, budget: int) -> Result:
    """One way in a process of its own."""
    command = [sys.executable, __file__, "--case", name, "--questions", str(count)]
    command += ["--budget", str(budget)]
    done = subprocess.run(
        [*command, "--way", way, "--folder", str(folder)],
        check=True,
        capture_output=True,
        text=True,
    )
    return Result(**json.loads(done.stdout.splitlines()[-1]))


def compare(name: str, count: int | None, ways: Sequence[str]) -> None:
    """These ways of one case beside the stock loop, as a table."""
    case = CASES[name]
    with tempfile.TemporaryDirectory() as temporary:
        folder = case.write(Path(temporary) / "checkpoint")
        first = apart(name, "stock loop", folder, count or case.questions, 0)
        quarter = first.weights + (first.peak - first.weights) // 4
        results = {"stock loop": first} | {
            way: apart(name, way, folder, count or case.questions, quarter) for way in ways
        }
    print(f"\n{name}: {count or case.questions} questions, weights {shown(first.weights)}\n")
    print("| way | peak above weights | of stock | resident | of stock | pool, largest ", end="")
    print("| at the end | CPU time | same tokens |\n|---|---|---|---|---|---|---|---|---|")
    for way, found in results.items():
        above, whole = found.peak - found.weights, first.peak - first.weights
        same = "yes" if found.digest == first.digest else "NO"
        print(
            f"| {way} | {shown(above)} | {above / whole:.0%} | {shown(found.resident)} "
            f"| {found.resident / first.resident:.0%} "
            f"| {shown(found.largest)} | {shown(found.pool)} "
            f"| {found.seconds:.1f} s | {same} |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", choices=CASES)
    parser.add_argument("--questions", type=int)
    parser.add_argument("--against", choices=[*WAYS][1:], action="append", help="all if left out")
    parser.add_argument("--budget", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.way:
        case = CASES[chosen.case]
        small = phi3_v.small_tower(TOWER) if case.adapter is Phi35Vision else nullcontext()
        with small:
            found = WAYS[chosen.way](case, chosen.folder, chosen.questions, chosen.budget)
        print(json.dumps(asdict(found)))
        return
    for name in [chosen.case] if chosen.case else [one for one in CASES if one != LARGE]:
        with phi3_v.small_tower(TOWER):
            compare(name, chosen.questions, chosen.against or [*WAYS][1:])


if __name__ == "__main__":
    main()
