"""The picture of the questions asked now: opened, bounded and hashed once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from operator import is_
from pathlib import Path

from attrs import define
from PIL import Image

from vqa_engine.adapter import Question
from vqa_engine.errors import AnswerError
from vqa_engine.images import bounded, content_hash, open_image
from vqa_engine_adapters.mlx.pixels import Pixels
from vqa_engine_adapters.turns import QuickTurns


@define
class Picture:
    """RGB pixels as the processor gets them, and their hash.

    `further` are those of a question's other images, in the order in which its prompt has
    them. `pixels` are what the processor makes of them, where that was done ahead.
    """

    image: Image.Image
    pixels: Pixels | None = None
    further: tuple[Image.Image, ...] = ()

    @property
    def images(self) -> tuple[Image.Image, ...]:
        """Every image, in the prompt's order."""
        return (self.image, *self.further)

    def within(self, longest_edge: int) -> Picture:
        """The same with no side longer than so many pixels; itself where none is."""
        if all(max(one.size) <= longest_edge for one in self.images):
            return self
        first, *further = (bounded(one, longest_edge) for one in self.images)
        return Picture(first, further=tuple(further))

    def take_pixels(self) -> Pixels | None:
        """The pixels that were cut ahead, which are kept no longer."""
        pixels, self.pixels = self.pixels, None
        return pixels

    @cached_property
    def digest(self) -> str:
        """`vqa_engine.images.content_hash` of the pixels, computed when first asked for."""
        return " ".join(map(content_hash, self.images))


Ahead = Callable[[Picture], Pixels | None]
"""Cuts a picture on the thread; None for one whose pixels nobody will ask for."""

Order = Callable[[Question], Sequence[int]]
"""A question's images in the order in which its prompt has them."""

Prompt = str | AnswerError
"""A question's whole prompt, or why there is none."""


class Preparation:
    """The prompts and the picture of the questions that are weighed now and answered next.

    Questions are recognised as objects, and forgotten when they are answered: a file or an
    image of the caller's may change before it is asked about again.
    """

    def __init__(self, order: Order, cut: Ahead | None = None) -> None:
        self._order, self._cut = order, cut
        self._questions: tuple[Question, ...] = ()
        self._prompts: list[Prompt] = []
        self._whole: Picture | None = None
        self._bounded: dict[int, Picture] = {}
        self._coming: tuple[Question, Future[Picture]] | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._turns: QuickTurns | None = None

    def prefetch(self, question: Question) -> None:
        """Open, hash and cut the picture of the question that comes next, on a thread.

        Only Pillow and numpy run there: MLX belongs to the thread that loaded the model.
        """
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, thread_name_prefix="prefetch")
            self._turns = QuickTurns()
        self._coming = question, self._pool.submit(self._ready, question)

    def prompts(
        self, questions: Sequence[Question], make: Callable[[Question], Prompt]
    ) -> list[Prompt]:
        """The prompts of questions that are asked together, made when first asked for."""
        self._begin(questions[0])
        if not self._prompts or not _identical(self._questions, questions):
            self._questions = tuple(questions)
            self._prompts = [make(question) for question in questions]
        return self._prompts

    def picture(self, question: Question, longest_edge: int | None) -> Picture:
        """The question's picture, its longer side at most `longest_edge` pixels.

        Raises:
            ImageError: the image cannot be used.
        """
        self._begin(question)
        if self._whole is None:
            self._whole = self._opened(question)
        whole = self._whole
        if longest_edge is None:
            return whole
        if longest_edge not in self._bounded:
            self._bounded[longest_edge] = whole.within(longest_edge)
        return self._bounded[longest_edge]

    def clear(self) -> None:
        """Forget the questions and their picture."""
        self._questions, self._prompts, self._whole = (), [], None
        self._bounded.clear()

    def close(self) -> None:
        """Forget everything, and end the thread."""
        self.clear()
        self._coming = None
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None
        if self._turns is not None:
            self._turns.end()
            self._turns = None

    def _opened(self, question: Question) -> Picture:
        if self._coming is None or not _same(self._coming[0], question):
            return self._open(question)
        (asked, future), self._coming = self._coming, None
        if asked is question or future.exception() is None:
            return future.result()
        return self._open(question)  # whose error then names this question

    def _ready(self, question: Question) -> Picture:
        picture = self._open(question)
        _ = picture.digest
        picture.pixels = self._cut(picture) if self._cut is not None else None
        return picture

    def _open(self, question: Question) -> Picture:
        first, *further = (open_image(question, place) for place in self._order(question))
        return Picture(first, further=tuple(further))

    def _begin(self, first: Question) -> None:
        """Forget other questions than those that begin with `first`."""
        if not _identical(self._questions[:1], (first,)):
            self.clear()
            self._questions = (first,)


def _identical(some: Sequence[Question], others: Sequence[Question]) -> bool:
    return len(some) == len(others) and all(map(is_, some, others))


def _same(one: Question, other: Question) -> bool:
    """Whether what was opened for one question may serve the other.

    A PIL image may have changed, so there only the question itself will do.
    """
    return one is other or same_source(one, other)


def same_source(one: Question, other: Question) -> bool:
    """Whether two questions are about one file or the same bytes, and nothing else."""
    if one.images or other.images:
        return False
    named = isinstance(one.image, (Path, bytes)) and isinstance(other.image, (Path, bytes))
    return named and (one.image, one.image_root) == (other.image, other.image_root)
