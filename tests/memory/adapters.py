"""Real adapters on real MLX arrays, each with one habit of memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import mlx.core as mx
from attrs import evolve

from vqa_engine.adapter import (
    Answer,
    CleanupStrategy,
    GenerationPlan,
    MemoryProfile,
    ModelRef,
    Question,
    QuestionCost,
    TokenCounts,
)
from vqa_engine.errors import VqaEngineError

ROW = 512
"""Float32 numbers in 2,048 bytes."""


def array(numbers: int, fill: float = 1.0) -> Any:
    """An evaluated float32 array."""
    made = mx.full((numbers,), fill)
    mx.eval(made)
    return made


class Steady:
    """Computes with arrays and keeps none of them. The base of the others."""

    strategies: tuple[CleanupStrategy, ...] = ()
    weights = 250_000

    def __init__(self) -> None:
        self.model: Any = None
        self.asked = 0
        self.loads = 0

    def load(self, model: ModelRef) -> None:
        self.loads += 1
        self.model = array(self.weights)

    def answer(self, question: Question, plan: GenerationPlan) -> Answer:
        self.asked += 1
        self.think()
        return Answer(text="yes", plan=plan)

    def think(self) -> None:
        """One question's work."""
        array(1000 + 7 * self.asked)

    def release(self) -> None:
        self.model = None

    def memory_profile(self) -> MemoryProfile:
        return MemoryProfile(backend="mlx", weights=self.weights * 4, strategies=self.strategies)


class Leaking(Steady):
    """Keeps 2,048 bytes of each question for ever."""

    def __init__(self) -> None:
        super().__init__()
        self.history: list[Any] = []

    def think(self) -> None:
        super().think()
        self.history.append(array(ROW))

    def release(self) -> None:
        super().release()
        self.history = []


class Row:
    """A result with its array, as mlx-vlm's `GenerationResult` with its logprobs."""

    def __init__(self) -> None:
        self.logprobs = array(32_768)


class KeepingResults(Leaking):
    """Keeps each question's whole result: 128 KiB."""

    def think(self) -> None:
        self.history.append(Row())


class Node:
    """An array in a reference cycle."""

    def __init__(self) -> None:
        self.array = array(ROW)
        self.itself = self


class Cyclic(Steady):
    """Lets go of arrays that only the garbage collector can free."""

    def think(self) -> None:
        Node()


class WarmingUp(Leaking):
    """Grows for ten questions, as a model does that compiles for each new shape."""

    def think(self) -> None:
        if self.asked <= 10:
            super().think()


class Wandering(Steady):
    """Holds something of a random size from one question to the next."""

    def think(self) -> None:
        self.last = array(1 + (self.asked * 7919) % 4096)

    def release(self) -> None:
        super().release()
        self.last = None


class OnPurpose(Leaking):
    """Keeps a cache, and says so."""

    def cached_bytes(self) -> int:
        return sum(one.nbytes for one in self.history)

    def drop_caches(self) -> None:
        self.history = []


class Attached(Steady):
    """Does not let go when told to: the release leaves 2,048 bytes behind."""

    kept: Any = None

    def release(self) -> None:
        super().release()
        type(self).kept = array(ROW)


class Chunked(Steady):
    """Prefills a prompt in steps: its peak grows with step times prompt, its text does not.

    The text is a checksum of all scores, so it shows that nothing was left out.
    """

    heads = 4

    def cost(self, questions: Sequence[Question], plan: GenerationPlan) -> QuestionCost:
        return QuestionCost(prompt_tokens=self.tokens(whole(questions)))

    @staticmethod
    def tokens(question: Question) -> int:
        """Prompt tokens of a question: its id tells."""
        return 64 + int(str(question.question_id)) % 1024

    def answer(self, question: Question, plan: GenerationPlan) -> Answer:
        tokens, step = self.tokens(question), plan.prefill_step or 2048
        keys, total = mx.arange(tokens, dtype=mx.int32) % 7, mx.array(0)
        for start in range(0, tokens, step):
            queries = keys[start : start + step]
            scores = mx.broadcast_to(
                queries[None, :, None] * keys[None, None, :],
                (self.heads, queries.size, tokens),
            ) + mx.zeros((self.heads, 1, 1), dtype=mx.int32)
            mx.eval(scores)
            total = total + scores.sum()
            mx.eval(total)
        counts = TokenCounts(prompt=tokens, completion=1)
        return Answer(text=str(total.item()), plan=plan, tokens=counts)


class Seeded(Chunked):
    """Knows what its attention takes: four heads of int32, and the products beside them."""

    kv_per_token: int | None = None

    def memory_profile(self) -> MemoryProfile:
        return MemoryProfile(
            backend="mlx",
            weights=self.weights * 4,
            kv_per_token=self.kv_per_token,
            attention_per_pair=20,
            strategies=self.strategies,
        )


class Filling(Seeded):
    """Keeps 400,000 bytes of each question until it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.history: list[Any] = []

    def answer(self, question: Question, plan: GenerationPlan) -> Answer:
        answer = super().answer(question, plan)
        self.history.append(array(100_000))
        return answer

    def release(self) -> None:
        super().release()
        self.history = []


class Hoarding(Filling):
    """Keeps the same on purpose, and gives it back when asked."""

    def cached_bytes(self) -> int:
        return sum(one.nbytes for one in self.history)

    def drop_caches(self) -> None:
        self.history = []


class Crowding(Seeded):
    """Answers up to eight questions together, which share all but eight tokens each."""

    def __init__(self) -> None:
        super().__init__()
        self.together = 0

    def batch_size(self, upcoming: Sequence[Question], plan: GenerationPlan) -> int:
        return min(8, len(upcoming))

    def answer_batch(
        self, questions: Sequence[Question], plan: GenerationPlan, following: Question | None
    ) -> Sequence[Answer | VqaEngineError]:
        self.together += len(questions)
        return [self.answer(whole(questions), plan)] * len(questions)


class FillingTogether(Filling, Crowding):
    """Keeps 400,000 bytes of each batch, and answers up to `together` questions in one."""

    most = 4

    def batch_size(self, upcoming: Sequence[Question], plan: GenerationPlan) -> int:
        return min(self.most, len(upcoming))

    def answer_batch(
        self, questions: Sequence[Question], plan: GenerationPlan, following: Question | None
    ) -> Sequence[Answer | VqaEngineError]:
        return [self.answer(whole(questions), plan)] * len(questions)


class FillingAlone(FillingTogether):
    """As one that prepares the next image, but answers one at a time."""

    most = 1


def whole(questions: Sequence[Question]) -> Question:
    """The question that costs as much as all these together."""
    more = 8 * (len(questions) - 1)
    return evolve(questions[0], question_id=int(str(questions[0].question_id)) + more)
