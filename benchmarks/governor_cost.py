"""What the governor costs per question, in microseconds, beside an adapter that does nothing.

    python benchmarks/governor_cost.py [--questions N]

Three adapters answer at once: one without a backend, one with MLX's counters and no
strategy, one with every strategy there is and a budget. The adapter's own time is
taken off. It is processor time, the least of five rounds: other work on the machine does
not count.
"""

from __future__ import annotations

import argparse
import timeit
from collections.abc import Callable, Sequence
from time import process_time

import mlx.core as mx

from vqa_engine.adapter import (
    Answer,
    GenerationPlan,
    ImageTokens,
    MemoryProfile,
    ModelRef,
    Question,
    QuestionCost,
    TokenCounts,
)
from vqa_engine.memory.policy import MemoryPolicy
from vqa_engine.memory.strategies import (
    CacheLimit,
    CleanupStrategy,
    EncoderBatch,
    EveryQuestions,
    OnPressure,
    Predictive,
    PrefillStep,
    RecycleWorker,
)
from vqa_engine.session.local import LocalSession

EVERY: tuple[CleanupStrategy, ...] = (
    CacheLimit(),
    PrefillStep(512),
    EncoderBatch(4),
    EveryQuestions(1000),
    OnPressure(),
    Predictive(),
    RecycleWorker(after=10**9, slope=1e12, residue=1 << 40),
)


class Instant:
    """Answers at once; has counters only if its backend has."""

    def __init__(self, backend: str, strategies: tuple[CleanupStrategy, ...] = ()) -> None:
        self._profile = MemoryProfile(
            backend=backend,
            kv_per_token=100_000,
            image_tokens=ImageTokens(per_tile=64, tile_edge=512, max_tiles=17),
            strategies=strategies,
        )
        self._asked = 0

    def load(self, model: ModelRef) -> None:
        """Nothing to load."""

    def cost(self, questions: Sequence[Question], plan: GenerationPlan) -> QuestionCost:
        return QuestionCost(prompt_tokens=100 + self._asked % 900, image_tiles=5)

    def answer(self, question: Question, plan: GenerationPlan) -> Answer:
        self._asked += 1
        tokens = TokenCounts(prompt=100 + self._asked % 900, completion=2)
        return Answer(text="yes", plan=plan, tokens=tokens)

    def release(self) -> None:
        """Nothing to release."""

    def memory_profile(self) -> MemoryProfile:
        return self._profile


class Computing(Instant):
    """Makes one array per question, so that there is a truth to learn from."""

    def answer(self, question: Question, plan: GenerationPlan) -> Answer:
        mx.eval(mx.zeros((1000 + self._asked % 500,)))
        return super().answer(question, plan)


def cost(adapter: Instant, questions: int, policy: MemoryPolicy) -> float:
    """Microseconds per question above the adapter's own."""
    question, plan = Question(question_id=1, image=b"", text="What is it?"), GenerationPlan()
    session = LocalSession(adapter, ModelRef(), policy)
    session.load()
    own = least(lambda: adapter.answer(question, plan), questions)
    all_in = least(lambda: session.ask([question], plan)[0][1], questions)
    session.release()
    return (all_in - own) * 1e6


def least(call: Callable[[], object], times: int) -> float:
    """CPU seconds per call, the least of five rounds."""
    return min(timeit.repeat(call, number=times, repeat=5, timer=process_time)) / times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--questions", type=int, default=5000)
    questions = parser.parse_args().questions
    free, tight = MemoryPolicy(), MemoryPolicy(budget=1 << 34)
    print("| adapter | governor, µs per question |\n|---|---|")
    for name, adapter, policy in (
        ("no backend, no strategies", Instant("none"), free),
        ("MLX counters, no strategies", Computing("mlx"), free),
        ("MLX counters, every strategy, a budget", Computing("mlx", EVERY), tight),
    ):
        print(f"| {name} | {cost(adapter, questions, policy):.1f} |")


if __name__ == "__main__":
    main()
