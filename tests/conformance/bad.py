"""Adapters with one fault each; `faults.py` says which standard test is made for it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from attrs import evolve
from PIL import Image

from tests.conformance.good import Good
from vqa_engine.adapter import (
    Answer,
    ChoiceScores,
    GenerationPlan,
    MemoryProfile,
    ModelRef,
    Question,
    QuestionCost,
    TokenCounts,
)
from vqa_engine.errors import ImageError, VqaEngineError
from vqa_engine.images import open_image
from vqa_engine.memory.strategies import CacheLimit


class NoRelease:
    """One of the four methods is not there."""

    def load(self, model: ModelRef) -> None: ...

    def answer(self, question: Question, plan: GenerationPlan) -> Answer:
        return Answer(text="yes", plan=plan)

    def memory_profile(self) -> MemoryProfile:
        return MemoryProfile()


class NeedsAPath(Good):
    """The engine has no argument to make it with."""

    def __init__(self, path: str) -> None:
        super().__init__()


class NoPlan(Good):
    def answer(self, question: Question) -> Answer:  # type: ignore[override]
        return super().answer(question, GenerationPlan())


class CertainTooSoon(Good):
    def memory_profile(self) -> MemoryProfile:
        return evolve(super().memory_profile(), exact=True)


class AnswersUnloaded(Good):
    """Guesses when there was no model yet; a released one it refuses."""

    released = False

    def answer(self, question: Question, plan: GenerationPlan) -> Answer:
        if self.model is None and not self.released:
            return Answer(text="red", plan=plan)
        return super().answer(question, plan)

    def release(self) -> None:
        super().release()
        self.released = True


class SaysStrings(Good):
    def answer(self, question: Question, plan: GenerationPlan) -> Answer:
        return super().answer(question, plan).text  # type: ignore[return-value]


class CannotLoad(Good):
    def load(self, model: ModelRef) -> None:
        raise RuntimeError("no such file")


class Talkative(Good):
    """Goes on after the last token that was asked for."""

    def answer(self, question: Question, plan: GenerationPlan) -> Answer:
        return evolve(super().answer(question, plan), token_ids=(1, 2, 3))


class Moody(Good):
    def look(self, question: Question) -> str:
        return f"{super().look(question)} {random.random()}"


class Remembers(Good):
    """Answers in view of the text before."""

    def load(self, model: ModelRef) -> None:
        super().load(model)
        self.last = ""

    def look(self, question: Question) -> str:
        self.last, before = question.text, self.last
        return f"{super().look(question)} {before not in ('', question.text)}"


class Blind(Good):
    def look(self, question: Question) -> str:
        super().look(question)
        return "yes"


class KeyedByText(Good):
    """Keeps what it saw under the question's text."""

    def load(self, model: ModelRef) -> None:
        super().load(model)
        self.seen: dict[str, str] = {}

    def key(self, question: Question) -> str:
        return question.text

    def look(self, question: Question) -> str:
        fresh = super().look(question)
        return self.seen.setdefault(self.key(question), fresh)


class KeyedByPath(KeyedByText):
    """Keeps what it saw under the image's path."""

    asked = 0

    def key(self, question: Question) -> str:
        self.asked += 1
        return str(question.image if isinstance(question.image, Path) else self.asked)


class Shrinks(Good):
    """Works on the caller's picture."""

    def look(self, question: Question) -> str:
        seen = super().look(question)
        image = question.image
        if isinstance(image, Image.Image) and image.mode == "RGB" and min(image.size) > 8:
            image.thumbnail((8, 8))
        return seen


class OnlyRgb(Good):
    """Takes every picture for a decoded RGB one."""

    def look(self, question: Question) -> str:
        if getattr(question.image, "mode", "RGB") != "RGB":
            raise ValueError("not enough image channels")
        return super().look(question)


class AnswersTheBroken(Good):
    """Makes an answer of an error."""

    def look(self, question: Question) -> str:
        try:
            return super().look(question)
        except ImageError as error:
            return f"error: {error}"


class FallsApart(Good):
    """Loses its model with the first question that fails."""

    def look(self, question: Question) -> str:
        try:
            return super().look(question)
        except ImageError:
            self.model = None
            raise


class NeedsWords(Good):
    def look(self, question: Question) -> str:
        return f"{super().look(question)} {question.text.split()[0]}"


class ShortOfBreath(Good):
    def look(self, question: Question) -> str:
        if len(question.text) > 1000:
            raise IndexError("index 1000 is out of bounds")
        return super().look(question)


class AsciiOnly(Good):
    def look(self, question: Question) -> str:
        question.text.encode("ascii")
        return super().look(question)


class NoChoice(Good):
    def look(self, question: Question) -> str:
        if question.choices:
            raise KeyError("choices")
        return super().look(question)


class HoldsOn(Good):
    """Marks itself released, and keeps the model."""

    def release(self) -> None:
        self.kept = self.model
        super().release()


class ReleasesOnce(Good):
    released = False

    def load(self, model: ModelRef) -> None:
        super().load(model)
        self.released = False

    def release(self) -> None:
        if self.released:
            raise RuntimeError("already released")
        super().release()
        self.released = True


class ReleasesWhatIsThere(Good):
    """Cannot release what was never loaded."""

    loaded = False

    def load(self, model: ModelRef) -> None:
        super().load(model)
        self.loaded = True

    def release(self) -> None:
        if not self.loaded:
            raise AttributeError("'NoneType' object has no attribute 'close'")
        super().release()


class AnswersReleased(Good):
    released = False

    def release(self) -> None:
        super().release()
        self.released = True

    def answer(self, question: Question, plan: GenerationPlan) -> Answer:
        if self.released:
            return Answer(text="red", plan=plan)
        return super().answer(question, plan)

    def load(self, model: ModelRef) -> None:
        super().load(model)
        self.released = False


class LoadsOnce(Good):
    used = False

    def load(self, model: ModelRef) -> None:
        if self.used:
            raise RuntimeError("the model is gone")
        super().load(model)
        self.used = True


class Leaks(Good):
    """Keeps a little of each question until it is released."""

    def load(self, model: ModelRef) -> None:
        super().load(model)
        self.history: list[bytes] = []

    def look(self, question: Question) -> str:
        self.history.append(bytes(4096))
        return super().look(question)

    def release(self) -> None:
        super().release()
        self.history = []


class BindsNothing(Good):
    """Bounds a pool that it does not have."""

    def memory_profile(self) -> MemoryProfile:
        return evolve(super().memory_profile(), strategies=(CacheLimit(1 << 20),))


class Guesses(Good):
    """Its estimate is a tenth of the truth."""

    def memory_profile(self) -> MemoryProfile:
        profile = super().memory_profile()
        return profile if profile.exact else MemoryProfile(weights=100_000)


class OnMlx(Good):
    """Holds an MLX array of `WEIGHTS` bytes."""

    told = 1 << 20
    array: Any = None

    def load(self, model: ModelRef) -> None:
        import mlx.core as mx

        super().load(model)
        self.array = mx.ones((1 << 20) // 4)
        mx.eval(self.array)

    def release(self) -> None:
        super().release()
        self.array = None

    def memory_profile(self) -> MemoryProfile:
        return MemoryProfile(backend="mlx", weights=self.told, exact=self.model is not None)


class Understates(OnMlx):
    """Tells half of what it holds, before and after."""

    told = 1 << 19


class SharesItsModel(OnMlx):
    """The class holds the model, so no release of an object lets go of it."""

    kept: ClassVar[list[Any]] = []

    def load(self, model: ModelRef) -> None:
        super().load(model)
        self.kept.append(self.array)


class KeepsItsCache(Good):
    """Has a cache, and does not drop it."""

    def cached_bytes(self) -> int:
        return 100

    def drop_caches(self) -> None:
        """Forgotten."""


class Cheap(Good):
    """Counts the text, and forgets the image."""

    def cost(self, questions: Sequence[Question], plan: GenerationPlan) -> QuestionCost:
        return QuestionCost(prompt_tokens=10)

    def answer(self, question: Question, plan: GenerationPlan) -> Answer:
        tokens = TokenCounts(prompt=74, completion=1)
        return evolve(super().answer(question, plan), tokens=tokens)


class Batches(Good):
    """Answers any number together, and well. The base of those that do not."""

    def batch_size(self, upcoming: Sequence[Question], plan: GenerationPlan) -> int:
        return len(upcoming)

    def answer_batch(
        self, questions: Sequence[Question], plan: GenerationPlan, following: Question | None
    ) -> Sequence[Answer | VqaEngineError]:
        return [self.outcome(question, plan) for question in questions]

    def outcome(self, question: Question, plan: GenerationPlan) -> Answer | VqaEngineError:
        try:
            return self.answer(question, plan)
        except ImageError as error:
            return error


class MixesUp(Batches):
    """Gives the answers as they come, not as they were asked for."""

    def answer_batch(
        self, questions: Sequence[Question], plan: GenerationPlan, following: Question | None
    ) -> Sequence[Answer | VqaEngineError]:
        outcomes = super().answer_batch(questions, plan, following)
        answers = [one for one in outcomes if isinstance(one, Answer)]
        return outcomes if len(answers) < len(outcomes) else answers[::-1]


class AllOrNothing(Batches):
    """Lets one broken image cost the whole batch."""

    def outcome(self, question: Question, plan: GenerationPlan) -> Answer:
        return self.answer(question, plan)


class TwoWays(Batches):
    """Asked by itself it says something else."""

    def answer(self, question: Question, plan: GenerationPlan) -> Answer:
        return evolve(super().answer(question, plan), text="something else")

    def outcome(self, question: Question, plan: GenerationPlan) -> Answer | VqaEngineError:
        try:
            return Good.answer(self, question, plan)
        except ImageError as error:
            return error


class Hasty(Batches):
    """Opens the next image at once, whatever it is."""

    def answer_batch(
        self, questions: Sequence[Question], plan: GenerationPlan, following: Question | None
    ) -> Sequence[Answer | VqaEngineError]:
        if following is not None:
            open_image(following)
        return super().answer_batch(questions, plan, following)


class Scores(Good):
    """A good scorer of choices: the base of those with a fault."""

    def score_choices(
        self, question: Question, options: Sequence[str], plan: GenerationPlan
    ) -> ChoiceScores:
        return ChoiceScores(loglikelihoods=tuple(-float(len(one)) for one in options))


class Shares(Scores):
    """Gives each option's probability instead of its logarithm."""

    def score_choices(
        self, question: Question, options: Sequence[str], plan: GenerationPlan
    ) -> ChoiceScores:
        return ChoiceScores(loglikelihoods=tuple(1 / len(one) for one in options))


class InARow(Scores):
    """Scores an option behind those before it."""

    def score_choices(
        self, question: Question, options: Sequence[str], plan: GenerationPlan
    ) -> ChoiceScores:
        before = [sum(map(len, options[:n])) for n in range(len(options))]
        return ChoiceScores(loglikelihoods=tuple(-float(1 + one) for one in before))


class SpoilsItsCache(Scores):
    """Answers with the options that it scored last."""

    seen = ""

    def look(self, question: Question) -> str:
        return super().look(question) + self.seen

    def load(self, model: ModelRef) -> None:
        super().load(model)
        self.seen = ""

    def score_choices(
        self, question: Question, options: Sequence[str], plan: GenerationPlan
    ) -> ChoiceScores:
        self.seen = " ".join(options)
        return super().score_choices(question, options, plan)


class ScoresTogether(Scores, Batches):
    """Scores several questions, and the options of each behind those of the one before."""

    def score_choices_batch(
        self, questions: Sequence[Question], options: Sequence[Sequence[str]], plan: GenerationPlan
    ) -> list[ChoiceScores | VqaEngineError]:
        return [
            ChoiceScores(loglikelihoods=tuple(-float(number + len(one)) for one in each))
            for number, each in enumerate(options)
        ]
