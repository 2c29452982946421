"""How far predictions of memory are off, question by question and in batches, on MLX.

    python benchmarks/prediction.py [--questions N]

Tiny checkpoints with random weights, questions of 5 to 304 words about images of 40 to 439
pixels a side, a third of them about the image before, in plans as wide as they start. Errors
count after ten questions, relative to the peak that was measured. A question about the image
before needs little, and what wavers is a few buffers: its relative error is the largest. So a
second figure counts all bytes that predictions were off beside all that were needed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.checkpoints import llava, smolvlm

from vqa_engine.adapter import GenerationPlan, ModelAdapter, ModelRef, Question
from vqa_engine.results import MemoryPrediction
from vqa_engine.session.local import LocalSession
from vqa_engine_adapters.mlx.llava import LlavaMlx
from vqa_engine_adapters.mlx.smolvlm import SmolVlm

WARM_UP = 10
"""Questions, or batches, that are learned from before errors count."""

_TEXT = "what colour is the kettle left of the dog in this image and how many are there"
WORDS = _TEXT.split()

CASES: dict[str, tuple[Callable[[], ModelAdapter], Callable[[Path], Path]]] = {
    "SmolVLM": (SmolVlm, smolvlm.write),
    "LLaVA": (LlavaMlx, llava.write),
}


def many_sizes(count: int) -> Iterator[Question]:
    """The same questions every time."""
    for number in range(count):
        if number % 3 != 2:
            image = _picture((40 + (number * 53) % 400, 40 + (number * 97) % 400))
        text = " ".join(WORDS[i % len(WORDS)] for i in range(5 + (number * 31) % 300))
        yield Question(question_id=number, image=image, text=text)


def _picture(edges: tuple[int, int]) -> Image.Image:
    across = Image.linear_gradient("L").resize(edges)
    down = Image.linear_gradient("L").rotate(90).resize(edges)
    return Image.merge("RGB", (across, down, Image.radial_gradient("L").resize(edges)))


def ask(
    session: LocalSession, questions: Sequence[Question], window: int
) -> list[MemoryPrediction]:
    """What was predicted, with its truth; `window` questions are offered at once."""
    waiting, found = list(questions), []
    while waiting:
        replies = session.ask(waiting[:window], GenerationPlan(max_tokens=2))
        for question, reply in replies:
            assert reply.answer is not None, reply.failure
            waiting = [one for one in waiting if one is not question]
            found += [reply.prediction] if reply.prediction else []
    return found


def show(name: str, count: int, found: Sequence[MemoryPrediction]) -> None:
    """A line of the table."""
    pairs = [(one, one.truth) for one in found[WARM_UP:] if one.truth]
    errors = [one.expected / truth - 1 for one, truth in pairs]
    bytes_off = sum(abs(one.expected - truth) for one, truth in pairs) / sum(t for _, t in pairs)
    past = sum(truth > one.bound for one, truth in pairs)
    off = sum(map(abs, errors)) / len(errors)
    cells = (f"{off:.1%}", f"{bytes_off:.1%}", f"{min(errors):+.0%} to {max(errors):+.0%}")
    print(f"| {name} | {count} | {len(pairs)} | {' | '.join(cells)} | {past} |", flush=True)


def main() -> None:
    """Each case question by question, and with eight offered at once."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--questions", type=int, default=512)
    given = parser.parse_args()
    print("| model | questions | predictions | mean error | of all bytes ", end="")
    print("| from, to | past the bound |\n|---|---|---|---|---|---|---|", flush=True)
    for name, (adapter, write) in CASES.items():
        for window in (1, 8):
            with tempfile.TemporaryDirectory() as at:
                session = LocalSession(adapter(), ModelRef(model=str(write(Path(at) / "model"))))
                session.load()
                found = ask(session, list(many_sizes(given.questions)), window)
                session.release()
            way = "one by one" if window == 1 else "in batches"
            show(f"{name}, {way}", given.questions, found)


if __name__ == "__main__":
    main()
