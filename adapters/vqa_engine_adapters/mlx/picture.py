"""The picture of the question in hand: opened, bounded and hashed once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from pathlib import Path

from attrs import define
from PIL import Image

from vqa_engine.adapter import Question
from vqa_engine.images import bounded, content_hash, open_image
from vqa_engine_adapters.mlx.pixels import Pixels


@define
class Picture:
    """RGB pixels as the processor gets them, and the hash that stands for them.

    `pixels` are what the processor makes of them, where that was done ahead.
    """

    image: Image.Image
    pixels: Pixels | None = None

    def take_pixels(self) -> Pixels | None:
        """The pixels that were cut ahead, which are kept no longer."""
        pixels, self.pixels = self.pixels, None
        return pixels

    @cached_property
    def digest(self) -> str:
        """`vqa_engine.images.content_hash` of the pixels, computed when first asked for."""
        return content_hash(self.image)


Ahead = Callable[[Picture], Pixels | None]
"""Cuts a picture on the thread; None for one whose pixels nobody will ask for."""


class InHand:
    """Keeps one question's prompt and decoded image between its cost and its answer.

    It goes by the question object itself, and forgets it when the question is answered:
    a file or an image of the caller's may change before it is asked about again.
    """

    def __init__(self, cut: Ahead | None = None) -> None:
        self._cut = cut
        self._question: Question | None = None
        self._whole: Picture | None = None
        self._bounded: dict[int, Picture] = {}
        self._prompt: str | None = None
        self._together: tuple[Sequence[Question], list[str]] | None = None
        self._coming: tuple[Question, Future[Picture]] | None = None
        self._pool: ThreadPoolExecutor | None = None

    def prefetch(self, question: Question) -> None:
        """Open, hash and cut the picture of the question that comes next, on a thread.

        Only Pillow and numpy run there: MLX belongs to the thread that loaded the model.
        """
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, thread_name_prefix="prefetch")
        self._coming = question, self._pool.submit(_ready, question, self._cut)

    def prompt(self, question: Question, make: Callable[[Question], str]) -> str:
        """The question's prompt, made by `make` when it is first asked for."""
        self._take(question)
        if self._prompt is None:
            self._prompt = make(question)
        return self._prompt

    def prompts(self, questions: Sequence[Question], make: Callable[[Question], str]) -> list[str]:
        """The prompts of questions that are asked together; the first one is in hand."""
        self._take(questions[0])
        if self._together is None or self._together[0] is not questions:
            self._together = questions, [make(question) for question in questions]
        return self._together[1]

    def picture(self, question: Question, longest_edge: int | None) -> Picture:
        """The question's picture, its longer side at most `longest_edge` pixels.

        Raises:
            ImageError: the image cannot be used.
        """
        self._take(question)
        if self._whole is None:
            self._whole = self._opened(question)
        whole = self._whole
        if longest_edge is None or max(whole.image.size) <= longest_edge:
            return whole
        if longest_edge not in self._bounded:
            self._bounded[longest_edge] = Picture(bounded(whole.image, longest_edge))
        return self._bounded[longest_edge]

    def put_down(self) -> None:
        """Forget the question and its pixels."""
        self._question = self._whole = self._prompt = self._together = None
        self._bounded.clear()

    def close(self) -> None:
        """Forget everything, and end the thread."""
        self.put_down()
        self._coming = None
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def _opened(self, question: Question) -> Picture:
        if self._coming is None or not _same(self._coming[0], question):
            return Picture(open_image(question))
        (asked, future), self._coming = self._coming, None
        if asked is question or future.exception() is None:
            return future.result()
        return Picture(open_image(question))  # whose error then names this question

    def _take(self, question: Question) -> None:
        if self._question is not question:
            self.put_down()
            self._question = question


def _ready(question: Question, cut: Ahead | None) -> Picture:
    picture = Picture(open_image(question))
    _ = picture.digest
    picture.pixels = cut(picture) if cut is not None else None
    return picture


def _same(one: Question, other: Question) -> bool:
    """Whether what was opened for one question may serve the other.

    A PIL image may have changed, so there only the question itself will do.
    """
    return one is other or same_source(one, other)


def same_source(one: Question, other: Question) -> bool:
    """Whether two questions are about one file or the same bytes."""
    told = isinstance(one.image, (Path, bytes)) and isinstance(other.image, (Path, bytes))
    return told and (one.image, one.image_root) == (other.image, other.image_root)
