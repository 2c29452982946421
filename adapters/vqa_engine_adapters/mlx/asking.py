"""Questions of one loaded model asked in groups about one image, an outcome for each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import takewhile
from typing import TypeVar

from vqa_engine.adapter import GenerationPlan, Question, QuestionCost
from vqa_engine.errors import AnswerError, ImageError, VqaEngineError
from vqa_engine.failures import classify, forget
from vqa_engine_adapters.continuing import within
from vqa_engine_adapters.mlx.answering import Answering
from vqa_engine_adapters.mlx.picture import Order, Picture, Preparation, Prompt, same_source
from vqa_engine_adapters.mlx.pool import discard

_ROWS = 64
"""Options scored together at most: four for each of 16 questions."""

Outcome = TypeVar("Outcome")

Make = Callable[[Mapping[int, str], Picture, GenerationPlan], Mapping[int, Outcome]]
"""What computes, of prompts by place, the outcome of the first and of those that go with it."""


class Asking:
    """The next image is opened, hashed and cut on a thread while one is asked about.

    The thread begins when the device computes: before, it would only keep the interpreter from
    the thread that has to give the device its work.
    """

    def __init__(
        self,
        answering: Answering,
        prompt: Callable[[Question, str | None], str],
        order: Order,
    ) -> None:
        self.answering, self._prompt = answering, prompt
        self.preparation = Preparation(order, answering.readying.cut_ahead)
        self._following: Question | None = None
        answering.readying.meanwhile = self._prefetch

    def size(self, upcoming: Sequence[Question], plan: GenerationPlan) -> int:
        """How many of the first questions are about one image, as far as they go together."""
        plan = self.answering.possible(plan)
        most, first = self.answering.most(plan), upcoming[0]
        others = takewhile(lambda one: _same_image(first, one), upcoming[1:most])
        return within([first, *others], plan, _ROWS)

    def prompts(self, questions: Sequence[Question], plan: GenerationPlan) -> list[Prompt]:
        """The prompts of questions that are asked together, or why there is none."""

        def made(question: Question) -> Prompt:
            readying = self.answering.readying
            try:
                prompt = self._prompt(question, plan.system)
                readying.context.check_text(prompt, readying.prompts.tokens)
                return prompt
            except AnswerError as error:
                return error

        return self.preparation.prompts(questions, made)

    def picture(self, question: Question, plan: GenerationPlan) -> Picture:
        """The question's picture, as small as the plan wants it.

        Raises:
            ImageError: the image cannot be used.
        """
        return self.preparation.picture(question, plan.image_longest_edge)

    def cost(self, questions: Sequence[Question], plan: GenerationPlan) -> QuestionCost:
        """What these questions about one image will together put through the model.

        Raises:
            ImageError: the image cannot be used.
            AnswerError: none of them can be asked.
        """
        plan = self.answering.possible(plan)
        picture, prompts = self.picture(questions[0], plan), self.prompts(questions, plan)
        askable = [prompt for prompt in prompts if isinstance(prompt, str)]
        if not askable:
            raise next(one for one in prompts if isinstance(one, AnswerError))
        return self.answering.readying.cost(askable, picture, plan)

    def outcomes(
        self,
        questions: Sequence[Question],
        prompts: Sequence[Prompt],
        plan: GenerationPlan,
        make: Make[Outcome],
    ) -> list[Outcome | VqaEngineError]:
        """What cannot be asked is an error at its place; the rest is answered in groups.

        Raises:
            OutOfMemory: MLX said so. As after every error, what was computed is gone.
            BackendError: MLX failed.
            AnswerError: several questions failed together.
        """
        plan = self.answering.possible(plan)
        outcomes: dict[int, Outcome | VqaEngineError] = {
            place: one for place, one in enumerate(prompts) if isinstance(one, AnswerError)
        }
        left = {place: one for place, one in enumerate(prompts) if isinstance(one, str)}
        try:
            while left:
                outcomes |= self._group(questions[0], left, plan, make)
                left = {place: one for place, one in left.items() if place not in outcomes}
        finally:
            self.preparation.clear()
            self._following = None
        return [_of(question, outcomes[place]) for place, question in enumerate(questions)]

    def follow(self, last: Question, following: Question | None) -> None:
        """Have the next question's picture prepared, unless it is the last one's."""
        if following is not None and not _same_image(last, following):
            self._following = following

    def _prefetch(self) -> None:
        following, self._following = self._following, None
        if following is not None:
            self.preparation.prefetch(following)

    def _group(
        self,
        first: Question,
        prompts: Mapping[int, str],
        plan: GenerationPlan,
        make: Make[Outcome],
    ) -> Mapping[int, Outcome | VqaEngineError]:
        """Outcomes of the first of the prompts and of those that go with it, by place."""
        try:
            with self._careful():
                return make(prompts, self.picture(first, plan), plan)
        except ImageError as error:
            return dict.fromkeys(prompts, error)
        except AnswerError as error:
            if len(self.answering.together) > 1:
                raise  # nobody knows whose fault it is
            return {next(iter(prompts)): error}

    @contextmanager
    def _careful(self) -> Iterator[None]:
        """Say what an error in the block was, and let go of all that had to do with it."""
        try:
            yield
        except VqaEngineError as error:
            forget(error)
            raise
        except Exception as error:
            forget(error)
            self.answering.readying.prefixes.clear()
            discard()
            raise classify(error, "mlx_vlm") from error


def _of(question: Question, outcome: Outcome | VqaEngineError) -> Outcome | VqaEngineError:
    """The outcome; an error of the common image names the question that it is given for."""
    if not isinstance(outcome, ImageError) or outcome.question_id == question.question_id:
        return outcome
    return ImageError(
        outcome.reason,
        image=outcome.image,
        origin=question.origin,
        question_id=question.question_id,
    )


def _same_image(one: Question, other: Question) -> bool:
    """Whether two questions that are asked at once are about one image."""
    single = not (one.images or other.images)
    return single and (one.image is other.image or same_source(one, other))
