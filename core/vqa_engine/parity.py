"""Where two adapters part ways: the first stage of a question that is not the same in both.

The stages follow a question on its way: the prompt as text and as ids, the picture as the
processor got it and what it made of it, the image's place in the prompt, the first token's
probabilities, the ids and the text of the answer. A stage that one of the two does not show
(a server, say) is passed over.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from math import isclose
from typing import Any

from attrs import frozen

from vqa_engine.adapter import Answer, QuestionId, Trace
from vqa_engine.results import Row

TOLERANCE = 1e-3
"""By how much pixels and log-probabilities may differ: float32 on two libraries stays within a
tenth of that."""

NO_ANSWER = "no answer"

_Shown = Callable[[Trace], Any]


@frozen(kw_only=True)
class Difference:
    """The first stage at which a question went two ways, and what each of them had there."""

    question_id: QuestionId
    stage: str
    one: str
    other: str


@frozen(kw_only=True)
class Parity:
    """How many of `total` questions went the same way, and where each other one did not."""

    total: int
    differences: tuple[Difference, ...]

    @property
    def same(self) -> int:
        """Questions that were the same to the last character."""
        return self.total - len(self.differences)

    @property
    def counts(self) -> dict[str, int]:
        """Questions by the stage at which they differ first, in the stages' order."""
        found = Counter(one.stage for one in self.differences)
        return {stage: found[stage] for stage in STAGES if found[stage]}

    def example(self, stage: str) -> Difference:
        """The first question that differs at this stage."""
        return next(one for one in self.differences if one.stage == stage)


def compare(one: Iterable[Row], other: Iterable[Row], tolerance: float = TOLERANCE) -> Parity:
    """The same questions, in the same order, put to two adapters."""
    pairs = list(zip(one, other, strict=True))
    found = (_difference(first, second, tolerance) for first, second in pairs)
    return Parity(total=len(pairs), differences=tuple(one for one in found if one is not None))


def _difference(one: Row, other: Row, tolerance: float) -> Difference | None:
    name = one.question.question_id
    if one.answer is None or other.answer is None:
        first, second = (_failure(row) for row in (one, other))
        return Difference(question_id=name, stage=NO_ANSWER, one=first, other=second)
    for stage, shown in _SHOWN:
        first, second = (_of(answer, shown) for answer in (one.answer, other.answer))
        if first and second and not _alike(first, second, tolerance):
            return Difference(
                question_id=name,
                stage=stage,
                one=_apart(first, second, tolerance),
                other=_apart(second, first, tolerance),
            )
    said, meant = (one.answer, other.answer)
    if said.token_ids and meant.token_ids and said.token_ids != meant.token_ids:
        return Difference(
            question_id=name,
            stage="ids",
            one=_apart(said.token_ids, meant.token_ids, 0.0),
            other=_apart(meant.token_ids, said.token_ids, 0.0),
        )
    if said.text != meant.text:
        return Difference(question_id=name, stage="text", one=said.text, other=meant.text)
    return None


def _failure(row: Row) -> str:
    return row.failure.message if row.failure is not None else f"{row.answer}"


def _of(answer: Answer, shown: _Shown) -> Any:
    return None if answer.trace is None else shown(answer.trace)


def _alike(one: Any, other: Any, tolerance: float) -> bool:
    """Equal, floats within the tolerance."""
    if isinstance(one, float) and isinstance(other, float):
        return isclose(one, other, rel_tol=tolerance, abs_tol=tolerance)
    if isinstance(one, Sequence) and isinstance(other, Sequence) and not isinstance(one, str):
        return len(one) == len(other) and all(
            _alike(first, second, tolerance) for first, second in zip(one, other, strict=True)
        )
    return bool(one == other)


def _apart(one: Any, other: Any, tolerance: float) -> str:
    """A value in words; of a long sequence the part from the first difference on."""
    if not isinstance(one, Sequence) or isinstance(one, str) or len(one) <= _FEW:
        return _written(one)
    pairs = enumerate(zip(one, other, strict=False))
    end = min(len(one), len(other))
    place = next((n for n, pair in pairs if not _alike(*pair, tolerance)), end)
    return f"{len(one)} values, from index {place} on: {_written(one[place : place + _FEW])}"


def _written(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, str) or not isinstance(value, Sequence):
        return str(value)
    inner = ", ".join(map(_written, value))
    return f"({inner})" if value and not isinstance(value[0], tuple) else inner


_FEW = 5

_SHOWN: tuple[tuple[str, _Shown], ...] = (
    ("prompt", lambda trace: trace.prompt),
    ("prompt ids", lambda trace: trace.prompt_ids),
    ("picture size", lambda trace: trace.image_size),
    ("picture tiles", lambda trace: _tiles(trace.pixel_shape)),
    ("pixels", lambda trace: trace.pixels),
    ("image positions", lambda trace: trace.image_positions),
    ("first token", lambda trace: dict(trace.first) and _ordered(trace.first)),
)

STAGES = (NO_ANSWER, *(stage for stage, _ in _SHOWN), "ids", "text")
"""In the order in which a question passes them."""


def _tiles(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape without leading ones: libraries put axes of one in front."""
    while shape and shape[0] == 1:
        shape = shape[1:]
    return shape


def _ordered(first: tuple[tuple[int, float], ...]) -> tuple[tuple[int, float], ...]:
    """By id, so that two nearly tied tokens do not count as a difference."""
    return tuple(sorted(first))
