"""A report's rows, in columns that keep each value once."""

from __future__ import annotations

from attrs import define, field

from vqa_engine.reporting.coded import Column, Lists
from vqa_engine.reporting.scored import Scorer
from vqa_engine.runs import stored
from vqa_engine.runs.journal import Tally
from vqa_engine.runs.opening import Run
from vqa_engine.runs.pace import Pace
from vqa_engine.scoring import ScoreTable

RIGHT = 0.5
"""An answer counts as right from this score on, where an answer is either right or wrong."""

_ALL_DETAIL = 4_000_000
"""Characters of details in one report; later failures keep their message."""

ALL_PROMPTS = 4_000_000
"""Characters of different prompts in one report, what only repeats the question left out."""

_FIGURES = (
    "prompt_tokens",
    "image_tokens",
    "reused_tokens",
    "completion_tokens",
    "prepare",
    "prefill",
    "decode",
    "active",
    "peak",
    "footprint",
    "expected",
    "bound",
)
"""Columns of tokens, milliseconds and bytes; all but the tokens have three digits."""

_FACTS = (
    "answer",
    "finish",
    "plan",
    "cause",
    "message",
    "detail",
    "attempts",
    "prompt",
    "image_size",
    "probability",
    "logprob",
    "place",
    "degraded",
)
"""Columns of everything else. A prompt is in parts, with the question between each two."""


@define
class Contender:
    """One adapter of one run: a column for each fact of its rows.

    `read` is the number of the last row that was read (`vqa_engine.runs.journal`).
    """

    label: str
    run: Run
    adapter: str
    scorer: Scorer
    columns: dict[str, Column] = field(init=False)
    tables: tuple[ScoreTable, ...] = ()
    tally: Tally = field(factory=Tally)
    pace: Pace = field(factory=Pace)
    read: int = 0

    def __attrs_post_init__(self) -> None:
        scores = (f"score.{name}" for name in self.metrics)
        self.columns = {name: Column() for name in (*_FACTS, *_FIGURES, "seconds", *scores)}

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of the metrics."""
        return self.scorer.metrics

    def scores(self, metric: int = 0) -> Column:
        """The scores in one metric, 0..1, None for what was not scored."""
        return self.columns[f"score.{self.metrics[metric]}"]


@define
class Corpus:
    """All questions of the runs, and what each contender made of them.

    A question has the same place in every column. Contenders that were asked other
    questions have None there.
    """

    contenders: list[Contender] = field(factory=list)
    places: dict[stored.Key, int] = field(factory=dict)
    ids: Column = field(factory=Column)
    texts: Column = field(factory=Column)
    pictures: Column = field(factory=Column)
    types: Column = field(factory=Column)
    answer_types: Column = field(factory=Column)
    choices: Column = field(factory=Column)
    images: Column = field(factory=Column)
    """How many further images a question has; None for the usual one."""
    truths: Lists = field(factory=Lists)
    clusters: Column = field(factory=Column)
    """What is not independent (`vqa_engine.scoring.cluster`); the page does without."""
    details_left: int = _ALL_DETAIL
    prompts_left: int = ALL_PROMPTS

    def __len__(self) -> int:
        return len(self.places)

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of the metrics, the first is the headline's."""
        return self.contenders[0].metrics if self.contenders else ()

    def columns(self) -> dict[str, Column]:
        """Every column, those of contender 1 under names that begin with `1.`."""
        own = {
            "id": self.ids,
            "text": self.texts,
            "picture": self.pictures,
            "type": self.types,
            "answer_type": self.answer_types,
            "choices": self.choices,
            "images": self.images,
            **self.truths.columns("truths"),
        }
        for number, contender in enumerate(self.contenders):
            own |= {f"{number}.{name}": column for name, column in contender.columns.items()}
        return own
