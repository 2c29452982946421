"""Run directories made from rows, without any model: what a report is tested on."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from attrs import evolve

from tests.fakes import Instant
from vqa_engine import Engine
from vqa_engine.adapter import (
    Answer,
    GenerationPlan,
    MemoryReading,
    Question,
    Timings,
    TokenCounts,
)
from vqa_engine.questions.given import as_question_set
from vqa_engine.results import BUDGET, Attempt, Cause, Failure, MemoryEvent, MemoryPrediction, Row
from vqa_engine.runs import journal, manifest
from vqa_engine.runs.journal import Journal

PLAN = GenerationPlan(prefill_step=512)
NARROW = GenerationPlan(prefill_step=128, image_longest_edge=448, rung=3)
WORDS = [
    "yes",
    "no",
    "two",
    "red",
    "blue",
    "cat",
    "dog",
    "left",
    "right",
    "kettle",
    "bicycle",
    "pizza",
    "frisbee",
    "3",
    "none",
]
TYPES = {"is the": "yes/no", "how many": "number", "what color": "other", "what is": "other"}
CAUSES: tuple[Cause, ...] = ("image", "out_of_memory", "killed")
METRICS = ("vqa-v2-normalised", "vqa-v2-official")
MIB = 1 << 20


def a_run(
    folder: Path, rows: Iterable[Row], *, count: int | None = None, labels: Sequence[str] = ("a",)
) -> Path:
    """A run directory that holds these rows; `count` is how many questions it was to ask."""
    folder.mkdir(parents=True)
    positions: dict[int | str, int] = {}
    store = Journal(folder / journal.FILE)
    for row in rows:
        position = positions.setdefault(row.question.question_id, len(positions))
        store.record(position, row, tuple(_events(row)))
    for label in labels:
        store.record_events(label, (MemoryEvent(strategy=BUDGET, call=f"{BUDGET}({1400 * MIB})"),))
    store.close()
    with Engine(adapters=[Instant]) as engine:
        found = engine.manifest(as_question_set([]))
    (record,) = found.adapters.values()
    found = evolve(
        found,
        adapters=dict.fromkeys(labels, record),
        question_set="kettles",
        question_count=len(positions) if count is None else count,
    )
    (folder / manifest.FILE).write_bytes(found.encode())
    return folder


def many(count: int, labels: Sequence[str] = ("a", "b"), seed: int = 0) -> Iterator[Row]:
    """Rows of a plausible run: questions of four types, three of four right, a few failures."""
    for number, label in enumerate(labels):
        chance = random.Random(f"{seed} {label}")
        for place in range(count):
            question = a_varied_question(place)
            yield _row(label, question, chance, accuracy=0.78 - 0.07 * number)


def a_varied_question(place: int, **facts: Any) -> Question:
    """The question at a place, always the same one."""
    chance = random.Random(place)
    kind = chance.choice(list(TYPES))
    truth = chance.choice(WORDS)
    agreeing = chance.randint(6, 10)
    defaults: dict[str, Any] = {
        "image": Path(f"val2014/{place // 5:012}.jpg"),
        "text": f"{kind} {chance.choice(WORDS)} near the {chance.choice(WORDS)} {place}?",
        "answers": (truth,) * agreeing + (chance.choice(WORDS),) * (10 - agreeing),
        "image_id": place // 5,
        "question_type": kind,
        "answer_type": TYPES[kind],
    }
    return Question(question_id=1_000_000 + place * 3, **{**defaults, **facts})


def _row(label: str, question: Question, chance: random.Random, accuracy: float) -> Row:
    seconds = float(f"{chance.lognormvariate(-2, 0.5):.3g}")
    if chance.random() < 0.01:
        cause = chance.choice(CAUSES)
        attempt = Attempt(plan=PLAN, cause=cause, message=f"the worker ended: {cause}")
        failure = Failure(cause=cause, message=f"it failed: {cause}", attempts=(attempt,) * 2)
        return Row(adapter=label, question=question, failure=failure, seconds=seconds)
    degraded = chance.random() < 0.01
    text = question.answers[0] if chance.random() < accuracy else chance.choice(WORDS)
    peak = int(chance.gauss(900, 40) * MIB)
    answer = Answer(
        text=text,
        plan=NARROW if degraded else PLAN,
        tokens=TokenCounts(prompt=chance.randint(600, 640), completion=2, image=576, reused=580),
        timings=Timings(prepare=seconds / 5, prefill=seconds / 2, decode=seconds / 5),
        memory=MemoryReading(active=700 * MIB, cache=0, peak=peak, footprint=2 * peak),
        prompt=f"User:<image>{question.text}\nAnswer briefly.\nAssistant:",
        image_size=chance.choice(((384, 288), (384, 256), (288, 384))),
    )
    prediction = MemoryPrediction(expected=peak - 690 * MIB, bound=peak - 640 * MIB)
    return Row(
        adapter=label,
        question=question,
        answer=answer,
        seconds=seconds,
        degraded=degraded,
        prediction=prediction,
    )


def _events(row: Row) -> Iterator[MemoryEvent]:
    about = row.question.question_id
    if row.failure is not None and row.failure.cause == "killed":
        yield MemoryEvent(strategy="fresh worker", call="restart the worker", question_id=about)
    if row.degraded:
        yield MemoryEvent(
            strategy="PressureCleanup", call="clear_cache()", freed=MIB, question_id=about
        )
