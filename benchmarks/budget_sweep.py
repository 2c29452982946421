"""Budgets from the narrowest plan's peak to the widest's: refusals, overshoots and time.

    python benchmarks/budget_sweep.py [--questions N] [--budgets N | --at SIZE …]
        [--tile PIXELS]

SmolVLM of 17 tiles on thin layers, mixed questions: short and long ones, about new images of
several shapes and about the last one again. First the widest plan and the narrowest are
measured without a budget, then the engine is given budgets between their peaks. A budget
counts weights, caches and work together, as the caller's does. All answers have to be the
same. Last, how far the predictions were off.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from attrs import frozen
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.checkpoints import smolvlm

from vqa_engine.adapter import GenerationPlan, ModelRef, Question
from vqa_engine.memory.budget import parse_size, shown
from vqa_engine.memory.policy import MemoryPolicy
from vqa_engine.results import MemoryPrediction
from vqa_engine.session.local import LocalSession
from vqa_engine_adapters.mlx.smolvlm import SmolVlm

WIDEST = GenerationPlan(max_tokens=4, prefill_step=2048, encoder_batch=17)
"""What a GPU begins with; on a CPU a plan that leaves this open begins with less."""

NARROWEST = GenerationPlan(max_tokens=4, prefill_step=32, encoder_batch=1)
WARM_UP = 10
SIZES = ((512, 512), (512, 256), (200, 512), (512, 384))
WORDS = ("what", "colour", "is", "the", "kettle", "left", "of", "the", "dog", "in", "this", "image")


@frozen(kw_only=True)
class Run:
    """What came of the questions under one budget; bytes and seconds."""

    peak: int
    refused: int
    over: int
    seconds: float
    ids: tuple[object, ...]
    predictions: tuple[MemoryPrediction, ...]


def mixed(count: int) -> list[Question]:
    """A third of them about the image before."""
    questions, image = [], None
    for number in range(count):
        if number % 3 != 2:
            across = Image.linear_gradient("L").resize(SIZES[number % len(SIZES)])
            turned = across.rotate(17 * number)
            image = Image.merge("RGB", (across, turned, across.rotate(90)))
        assert image is not None
        text = " ".join(WORDS[at % len(WORDS)] for at in range(5 + 41 * number % 200))
        questions.append(Question(question_id=number, image=image, text=text))
    return questions


def run(
    folder: Path, asked: Sequence[Question], plan: GenerationPlan, budget: int | None, size: int
) -> Run:
    """All questions, at most `size` offered at once."""
    session = LocalSession(SmolVlm(), ModelRef(model=str(folder)), MemoryPolicy(budget=budget))
    session.load()
    said, peaks, predictions, waiting = {}, [], [], list(asked)
    started = time.perf_counter()
    while waiting:
        for question, reply in session.ask(waiting[:size], plan):
            waiting = [one for one in waiting if one is not question]
            answer = reply.answer
            said[question.question_id] = answer.token_ids if answer else None
            predictions += [reply.prediction] if reply.prediction else []
            if answer is not None and answer.memory is not None:
                peaks.append(answer.memory.peak or 0)
    seconds = time.perf_counter() - started
    session.release()
    return Run(
        peak=max(peaks, default=0),
        refused=sum(ids is None for ids in said.values()),
        over=sum(peak > budget for peak in peaks) if budget else 0,
        seconds=seconds,
        ids=tuple(said[one.question_id] for one in asked),
        predictions=tuple(predictions),
    )


def show(name: str, budget: int | None, found: Run, expected: Run) -> None:
    """A line of the table."""
    changed = sum(
        ids is not None and ids != other for ids, other in zip(found.ids, expected.ids, strict=True)
    )
    print(
        f"| {name} | {shown(budget) if budget else ''} | {shown(found.peak)} | {found.refused} "
        f"| {found.over} | {changed} | {found.seconds:.1f} |",
        flush=True,
    )


def errors(predictions: Sequence[MemoryPrediction]) -> str:
    """Mean and worst error after the warm-up."""
    pairs = [(one, one.truth) for one in predictions[WARM_UP:] if one.truth]
    if not pairs:
        return "no predictions"
    off = [(one.expected - truth) / truth for one, truth in pairs]
    past = sum(truth > one.bound for one, truth in pairs)
    mean = sum(map(abs, off)) / len(off)
    return f"mean {mean:.1%}, {min(off):+.0%} to {max(off):+.0%}, {past} of {len(off)} past"


def _between(folder: Path, asked: Sequence[Question], widest: Run, count: int) -> list[int]:
    """So many budgets from the narrowest plan's peak to the widest's."""
    narrowest = run(folder, asked, NARROWEST, None, 1)
    show("narrowest", None, narrowest, widest)
    more = widest.peak - narrowest.peak
    return [narrowest.peak + more * number // max(1, count - 1) for number in range(count)]


def main() -> None:
    """Measure both ends, then the budgets between them, one by one and in batches."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--questions", type=int, default=24)
    parser.add_argument("--tile", type=int, default=512, help="pixels; 256 is quicker")
    parser.add_argument("--budgets", type=int, default=6, help="between the two peaks")
    parser.add_argument("--at", type=parse_size, nargs="+", help="these, one by one only")
    given = parser.parse_args()
    asked = mixed(given.questions)
    print("| plan | budget | peak | refused | over budget | ids changed | s |")
    print("|---|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as at:
        smolvlm.PATCH, smolvlm.SCALE = 16, 4
        folder = smolvlm.write(Path(at) / "model", tile=given.tile)
        widest = run(folder, asked, WIDEST, None, 1)
        show("widest", None, widest, widest)
        found = [widest]
        for budget in given.at or _between(folder, asked, widest, given.budgets):
            for size, name in ((1, "one by one"), (8, "batches"))[: 1 if given.at else 2]:
                found.append(run(folder, asked, WIDEST, budget, size))
                show(name, budget, found[-1], widest)
    for name, one in zip(("no budget", "first budget"), (found[0], found[1]), strict=True):
        print(f"prediction, {name}: {errors(one.predictions)}")


if __name__ == "__main__":
    main()
