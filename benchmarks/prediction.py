"""How far predictions of memory are off, question by question and in batches, on MLX.

    python -m benchmarks.prediction [--questions N] [--gpu SHAPE]

Tiny checkpoints with random weights, questions of 5 to 304 words about images of 40 to 439
pixels a side, a third of them about the image before, in plans as wide as they start. Errors
count after ten questions, relative to the peak that was measured. A question about the image
before needs little, and what wavers is a few buffers: its relative error is the largest. So a
second figure counts all bytes that predictions were off beside all that were needed. With
`--gpu` the model is one of those of `benchmarks.gpu`, the images are three times as wide and
high, and answers are of 8 tokens instead of 2. Each prediction past its bound is shown.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.gpu_checkpoints import SHAPES, TINY
from PIL import Image

from vqa_engine.adapter import GenerationPlan, ModelRef, Question
from vqa_engine.results import MemoryPrediction
from vqa_engine.session.local import LocalSession

WARM_UP = 10
"""Questions, or batches, that are learned from before errors count."""

_TEXT = "what colour is the kettle left of the dog in this image and how many are there"
WORDS = _TEXT.split()


def many_sizes(count: int, scale: int = 1) -> Iterator[Question]:
    """The same questions every time."""
    for number in range(count):
        if number % 3 != 2:
            edges = (40 + (number * 53) % 400, 40 + (number * 97) % 400)
            image = _picture((edges[0] * scale, edges[1] * scale))
        text = " ".join(WORDS[i % len(WORDS)] for i in range(5 + (number * 31) % 300))
        yield Question(question_id=number, image=image, text=text)


def _picture(edges: tuple[int, int]) -> Image.Image:
    across = Image.linear_gradient("L").resize(edges)
    down = Image.linear_gradient("L").rotate(90).resize(edges)
    return Image.merge("RGB", (across, down, Image.radial_gradient("L").resize(edges)))


def ask(
    session: LocalSession, questions: Sequence[Question], window: int, tokens: int
) -> list[MemoryPrediction]:
    """What was predicted, with its truth; `window` questions are offered at once."""
    waiting, found = list(questions), []
    while waiting:
        replies = session.ask(waiting[:window], GenerationPlan(max_tokens=tokens))
        for question, reply in replies:
            assert reply.answer is not None, reply.failure
            waiting = [one for one in waiting if one is not question]
            found += [reply.prediction] if reply.prediction else []
    return found


def show(name: str, found: Sequence[MemoryPrediction]) -> None:
    """A line of the table, and a line for each prediction past its bound."""
    pairs = [(one, one.truth) for one in found[WARM_UP:] if one.truth]
    errors = [one.expected / truth - 1 for one, truth in pairs]
    bytes_off = sum(abs(one.expected - truth) for one, truth in pairs) / sum(t for _, t in pairs)
    past = [n for n, one in enumerate(found) if n >= WARM_UP and (one.truth or 0) > one.bound]
    off = sum(map(abs, errors)) / len(errors)
    cells = (f"{off:.1%}", f"{bytes_off:.1%}", f"{min(errors):+.0%} to {max(errors):+.0%}")
    print(f"| {name} | {len(pairs)} | {' | '.join(cells)} | {len(past)} |", flush=True)
    for place in past:
        print(f"past its bound, {place + 1} of {len(found)}: {found[place]}", flush=True)


def main() -> None:
    """Each case question by question, and with eight offered at once."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--questions", type=int, default=512)
    parser.add_argument("--at-once", type=int, action="append", help="offered; 1 and 8 if not set")
    parser.add_argument("--gpu", choices=SHAPES, help="a published shape")
    given = parser.parse_args()
    names, scale, tokens = ([given.gpu], 3, 8) if given.gpu else (TINY, 1, 2)
    print(f"{given.questions} questions\n")
    print("| model | predictions | mean error | of all bytes | from, to | past the bound |")
    print("|---|---|---|---|---|---|", flush=True)
    for name in names:
        adapter, write = SHAPES[name]
        for window in given.at_once or (1, 8):
            with tempfile.TemporaryDirectory() as at:
                model = write(Path(at) / "model", large=given.gpu is not None)
                session = LocalSession(adapter(), ModelRef(model=str(model)))
                session.load()
                asked = list(many_sizes(given.questions, scale))
                found = ask(session, asked, window, tokens)
                session.release()
            show(f"{name}, {'one by one' if window == 1 else f'{window} at once'}", found)


if __name__ == "__main__":
    main()
