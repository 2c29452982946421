"""The torch adapters on a GPU: `python -m benchmarks.cuda [parity|memory|exhaustion]`.

To be run from the repository's root, for it borrows checkpoints of the tests. `parity` asks the
embedded checkpoint the same questions on the CPU and on the GPU, in float32, in float32 without
TF32, and in bfloat16. `memory` compares each question's predicted peak with the one that CUDA
counted, and says what clearing the pool and releasing the model gave back. `exhaustion` lets
CUDA run out of memory for real, between the plan asked for and the next rung of the ladder.
Without a word all three run. `python -m benchmarks.backends reuse --device cuda` is the fourth.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

import torch
from attrs import evolve
from benchmarks.backends import PLAN, Outcome, differing, scene, write_256m

from vqa_engine import load_questions
from vqa_engine.adapter import BUILTIN, GenerationPlan, ModelRef, Question
from vqa_engine.memory.budget import shown
from vqa_engine.plugins.spec import AdapterSpec
from vqa_engine.results import MemoryPrediction
from vqa_engine.session.local import LocalSession
from vqa_engine.worker import WorkerSession
from vqa_engine_adapters.torch.memory import TorchBackend
from vqa_engine_adapters.torch.smolvlm import SmolVlmTorch

CAP = "VQA_ENGINE_BENCHMARK_CAP"
"""The environment variable with the bytes that `Capped` leaves to CUDA's allocator."""

WARM_UP = 12
"""Questions that the prediction learns from before its errors count."""

EDGE = 2048
"""SmolVLM's own bound on the longest edge: up to 17 tiles."""


class Capped(SmolVlmTorch):
    """SmolVLM on a GPU with less memory than it has."""

    def load(self, model: ModelRef) -> None:
        """Load, then take the rest of the memory away."""
        super().load(model)
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(int(os.environ[CAP]) / total)


def parity(count: int) -> None:
    """Accuracy, differing ids and seconds, against the CPU in float32."""
    questions = list(load_questions(f"shapes:seed=71,count={count}"))
    expected = _outcome("cpu float32", questions, device="cpu")
    _show(questions, expected, expected)
    for dtype, tf32 in (("float32", True), ("float32", False), ("bfloat16", True)):
        torch.backends.cudnn.allow_tf32 = tf32
        name = f"cuda {dtype}{'' if tf32 else ', no TF32'}"
        _show(questions, expected, _outcome(name, questions, device="cuda", dtype=dtype))
    torch.backends.cudnn.allow_tf32 = True


def _outcome(name: str, questions: Sequence[Question], **options: str) -> Outcome:
    adapter = SmolVlmTorch()
    adapter.load(ModelRef(model=BUILTIN, options=options))
    adapter.answer(questions[0], PLAN)
    adapter.drop_caches()
    torch.cuda.reset_peak_memory_stats()
    started = perf_counter()
    answers = [adapter.answer(question, PLAN) for question in questions]
    seconds = (perf_counter() - started) / len(questions)
    peak = torch.cuda.max_memory_allocated()
    adapter.release()
    return Outcome(name, answers, seconds, 0.0, peak)


def _show(questions: Sequence[Question], expected: Outcome, found: Outcome) -> None:
    ids = differing(expected, found, lambda answer: answer.token_ids)
    texts = differing(expected, found, lambda answer: answer.text)
    print(
        f"{found.name:24}{found.accuracy(questions):6.1f} %, {ids} ids and {texts} texts differ, "
        f"{1000 * found.seconds:.1f} ms per question, the GPU's peak {shown(found.peak)}"
    )


def memory(count: int) -> None:
    """Predicted and true peaks of a model of the 256M shape, in its default precision."""
    with tempfile.TemporaryDirectory() as folder:
        write_256m(Path(folder), EDGE)
        floor = torch.cuda.memory_allocated()
        session = LocalSession(SmolVlmTorch(), ModelRef(model=folder))
        loaded = session.load()
        total = shown(torch.cuda.mem_get_info()[1])
        print(f"budget {shown(loaded.budget)} of {total}, weights", end=" ")
        print(f"{shown(loaded.profile.weights)}, CUDA counts {shown(loaded.memory.active)}")
        replies = [session.ask([one], GenerationPlan(max_tokens=4))[0][1] for one in _varied(count)]
        _told([reply.prediction for reply in replies if reply.prediction])
        backend = TorchBackend()
        held, free = backend.read(), torch.cuda.mem_get_info()[0]
        print(f"a reading takes {_microseconds(backend):.0f} microseconds")
        backend.calls["clear_cache"]()
        gain = torch.cuda.mem_get_info()[0] - free
        print(f"pool {shown(held.cache)}; clearing it gave the card {shown(gain)} back", end=", ")
        print(f"{shown(backend.read().cache)} stayed in it")
        released = session.release()
        print(f"after release {released.residue} bytes above the floor ", end="")
        print(f"({torch.cuda.memory_allocated() - floor} by torch's own count)")


def _varied(count: int) -> list[Question]:
    """Pictures of several shapes, questions of several lengths."""
    questions = []
    for number in range(count):
        image = scene(number).resize((160 + 97 * number % 800, 160 + 61 * number % 700))
        text = "What is it? " * (1 + 7 * number % 40)
        questions.append(Question(question_id=number, image=image, text=text))
    return questions


def _told(predictions: Sequence[MemoryPrediction]) -> None:
    for number, one in enumerate(predictions):
        if one.truth and one.truth > one.bound:
            print(f"question {number + 2}: {one} is above its bound")
    pairs = [(one, one.truth) for one in predictions[WARM_UP:] if one.truth]
    errors = [(one.expected - truth) / truth for one, truth in pairs]
    above = sum(truth > one.bound for one, truth in pairs)
    largest = max(truth for _, truth in pairs)
    print(
        f"{len(errors)} peaks up to {shown(largest)} above the floor: mean error "
        f"{sum(map(abs, errors)) / len(errors):.1%}, worst under-prediction {min(errors):.1%}, "
        f"{above} above the upper bound"
    )


def _microseconds(backend: TorchBackend) -> float:
    started = perf_counter()
    for _ in range(1000):
        backend.read()
    return (perf_counter() - started) * 1000


def exhaustion() -> None:
    """A cap between the peaks of two plans: the dearer one must fail, the cheaper answer."""
    question, dear = _varied(1)[0], GenerationPlan(max_tokens=4, prefill_step=512, encoder_batch=17)
    cheap = evolve(dear, prefill_step=128, encoder_batch=1)
    with tempfile.TemporaryDirectory() as folder:
        write_256m(Path(folder), EDGE)
        peaks = [_peak(folder, question, plan) for plan in (dear, cheap)]
        os.environ[CAP] = str(sum(peaks) // 2 + 32 * 2**20)
        target = "benchmarks.cuda:Capped"  # not __main__'s, which a worker cannot import
        spec = AdapterSpec(name="capped", model=ModelRef(model=folder), target=target)
        session = WorkerSession(spec)
        session.load()
        reply = session.ask([question], dear)[0][1]
        residue = session.release().residue
    print(f"peaks {shown(peaks[0])} and {shown(peaks[1])}, cap {shown(int(os.environ[CAP]))}")
    for attempt in reply.attempts:
        print(f"{attempt.cause} on rung {attempt.plan.rung}: {attempt.message}")
    last = reply.answer.plan if reply.answer else reply.failure
    print(f"then {last}; {residue} bytes stay after the worker's end")


def _peak(folder: str, question: Question, plan: GenerationPlan) -> int:
    session = LocalSession(SmolVlmTorch(), ModelRef(model=folder))
    session.load()
    answer = session.ask([question], plan)[0][1].answer
    session.release()
    assert answer is not None
    assert answer.memory is not None
    return answer.memory.peak or 0


def main() -> None:
    """Run one part, or all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", nargs="?", choices=("parity", "memory", "exhaustion"))
    parser.add_argument("--questions", type=int, default=500, help="of `parity`")
    given = parser.parse_args()
    print(f"{torch.cuda.get_device_name(0)}, torch {torch.__version__}", flush=True)
    if given.part in (None, "parity"):
        parity(given.questions)
    if given.part in (None, "memory"):
        memory(60)
    if given.part in (None, "exhaustion"):
        exhaustion()


if __name__ == "__main__":
    main()
