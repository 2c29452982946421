"""A dozen questions with known answers, put to the default checkpoints on this machine.

The pictures are drawn or printed text (tools/draw_selftest.py): no model of a working adapter
should miss many. What comes of it is one record, to be attached to an issue.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from attrs import evolve, frozen

from vqa_engine.adapter import GenerationPlan, QuestionId
from vqa_engine.doctor.machine import Machine, inspect
from vqa_engine.engine import Engine
from vqa_engine.errors import VqaEngineError
from vqa_engine.interpreter import Interpreter
from vqa_engine.observer import Observer
from vqa_engine.plugins.entry_points import ADAPTERS, OURS
from vqa_engine.plugins.probe.report import PluginReport, report
from vqa_engine.plugins.spec import AdapterSpec
from vqa_engine.questions import load_questions
from vqa_engine.results import Loaded, Row
from vqa_engine.runs.checkpoint import hub_commit

QUESTIONS = Path(__file__).parent / "questions.jsonl"

NOT_HERE = "not on this machine; --download fetches them, or vqa-engine pull NAME"


@frozen(kw_only=True)
class Asked:
    """One question and what came of it; `right` is whether a known answer is in the text.

    `image_tokens` and `prompt_tokens` are the model's, `seconds` the whole question's, `peak`
    the bytes at its highest.
    """

    question_id: QuestionId
    question: str
    expected: tuple[str, ...]
    said: str
    right: bool
    seconds: float
    error: str = ""
    prompt_tokens: int | None = None
    image_tokens: int | None = None
    completion_tokens: int | None = None
    peak: int | None = None


@frozen(kw_only=True)
class Tried:
    """One adapter: its checkpoint and its answers, or why it could not run.

    `commit` is the hub's, where it is known. `device`, `weights` (bytes) and `load_seconds`
    are None of one that did not load.
    """

    adapter: str
    model: str | None
    commit: str | None = None
    backend: str | None = None
    device: str | None = None
    weights: int | None = None
    load_seconds: float | None = None
    error: str = ""
    asked: tuple[Asked, ...] = ()

    @property
    def right(self) -> int:
        """Questions with a known answer in the text."""
        return sum(one.right for one in self.asked)

    @property
    def rate(self) -> float | None:
        """Questions a second, the load not counted."""
        seconds = sum(one.seconds for one in self.asked)
        return len(self.asked) / seconds if seconds else None

    @property
    def peak(self) -> int | None:
        """Bytes at the highest of all questions."""
        return max((one.peak for one in self.asked if one.peak), default=None)


@frozen(kw_only=True)
class SelfTest:
    """What is attached to an issue: the machine, and each adapter that was tried."""

    machine: Machine
    tried: tuple[Tried, ...]
    left_out: Mapping[str, str]


def offered() -> tuple[PluginReport, ...]:
    """The engine's own adapters that have a default checkpoint and can run here."""
    found = report((ADAPTERS,), bind=True)
    return tuple(one for one in found if one.distribution == OURS and one.model is not None)


def choose(
    found: Iterable[PluginReport], *, download: bool
) -> tuple[list[AdapterSpec], dict[str, str]]:
    """Those to try without being named, and why each other one is left out."""
    chosen, left = [], {}
    for one in found:
        reason = _obstacle(one, download=download)
        if reason:
            left[one.name] = reason
        else:
            chosen.append(AdapterSpec(name=one.name))
    return chosen, left


def _obstacle(one: PluginReport, *, download: bool) -> str:
    if one.state != "healthy":
        return one.reason
    if one.absent:
        return f"not installed: {one.absent}"
    if one.model and not download and hub_commit(one.model, one.revision) is None:
        return NOT_HERE
    return ""


def machine() -> Machine:
    """This machine, as `doctor` describes it."""
    return inspect(Interpreter.of(OURS))


def run(spec: AdapterSpec, observer: Observer) -> Tried:
    """Ask one adapter all questions; that it cannot run is part of what comes back."""
    hearing, tried = _Hearing(observer), Tried(adapter=spec.label, model=spec.model.model)
    try:
        with Engine(spec, plan=GenerationPlan(), observer=hearing) as engine:
            rows = sorted(
                engine.answers(load_questions(QUESTIONS)),
                key=lambda row: str(row.question.question_id).zfill(4),
            )
        tried = evolve(tried, asked=tuple(_asked(row) for row in rows))
    except VqaEngineError as error:
        tried = evolve(tried, error=str(error))
    return _described(tried, spec, hearing.heard)


def _described(tried: Tried, spec: AdapterSpec, loaded: Loaded | None) -> Tried:
    model = spec.model.model
    commit = hub_commit(model, spec.model.revision) if model else None
    if loaded is None:
        return evolve(tried, commit=commit)
    profile = loaded.profile
    return evolve(
        tried,
        commit=commit,
        backend=profile.backend,
        device=profile.device,
        weights=profile.weights,
        load_seconds=loaded.seconds,
    )


class _Hearing(Observer):
    """Passes downloads and notes on, and keeps what is said of the load."""

    def __init__(self, inner: Observer) -> None:
        self.heard: Loaded | None = None
        self.fetching, self.note = inner.fetching, inner.note  # type: ignore[method-assign]

    def loaded(self, label: str, loaded: Loaded) -> None:
        self.heard = loaded


def _asked(row: Row) -> Asked:
    answer, question = row.answer, row.question
    tokens = answer.tokens if answer else None
    memory = answer.memory if answer else None
    return Asked(
        question_id=question.question_id,
        question=question.text,
        expected=question.answers,
        said=answer.text if answer else "",
        right=answer is not None and is_right(answer.text, question.answers),
        seconds=row.seconds,
        error=row.failure.message if row.failure else "",
        prompt_tokens=tokens.prompt if tokens else None,
        image_tokens=tokens.image if tokens else None,
        completion_tokens=tokens.completion if tokens else None,
        peak=(memory.peak or memory.footprint) if memory else None,
    )


def is_right(text: str, expected: Iterable[str]) -> bool:
    """Whether one of the answers is in the text as a word of its own."""
    return any(re.search(rf"\b{re.escape(one)}\b", text.lower()) for one in expected)
