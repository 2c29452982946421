"""Places whose sessions die when a test says so; no process is started."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from tests.builders import png, questions
from vqa_engine.adapter import Answer, GenerationPlan, MemoryProfile, MemoryReading, Question
from vqa_engine.crew.crew import Crew
from vqa_engine.crew.job import Job
from vqa_engine.crew.place import Presence, Terms
from vqa_engine.crew.work import Pair, Work
from vqa_engine.errors import PlaceLost, VqaEngineError
from vqa_engine.observer import Observer
from vqa_engine.plugins.spec import AdapterSpec
from vqa_engine.results import Loaded, Note, Released, Reply, Row
from vqa_engine.runs.manifest import AdapterRecord
from vqa_engine.session.protocol import Settled

Asking = Callable[[Sequence[Question]], list[Settled] | VqaEngineError]
"""What a session does when it is asked."""


def said(question: Question) -> Settled:
    """The answer that every place gives: it depends on the question alone."""
    answer = Answer(text=f"answer {question.question_id}", plan=GenerationPlan())
    return question, Reply(answer=answer)


def first(upcoming: Sequence[Question]) -> list[Settled]:
    """Answers one question at a time."""
    return [said(upcoming[0])]


class FakeSession:
    """Loads unless it is told not to, and then does what `asking` does."""

    def __init__(self, asking: Asking, window: int, refusal: VqaEngineError | None) -> None:
        self._asking, self._window, self._refusal = asking, window, refusal

    def load(self) -> Loaded:
        if self._refusal is not None:
            raise self._refusal
        return Loaded(
            profile=MemoryProfile(), seconds=0.0, memory=MemoryReading(), window=self._window
        )

    def ask(self, upcoming: Sequence[Question], plan: GenerationPlan) -> list[Settled]:
        came = self._asking(upcoming)
        if isinstance(came, VqaEngineError):
            raise came
        return came

    def release(self) -> Released:
        return Released(residue=0, seconds=0.0)


class FakeSite:
    """A place that keeps what each of its sessions was offered.

    `lives` says of each session in turn how many exchanges it lasts before the place is
    lost; 0 is lost while loading. After them nothing is lost any more.
    """

    def __init__(  # noqa: PLR0913  what a test may say of a place
        self,
        name: str,
        lives: Iterable[int] = (),
        *,
        asking: Asking = first,
        window: int = 1,
        refusal: VqaEngineError | None = None,
        record: AdapterRecord | None = None,
    ) -> None:
        self.name = name
        self.offered: list[list[int | str]] = []
        self.loads = 0
        self._lives, self._asking, self._window = iter(lives), asking, window
        self.refusal, self._record = refusal, record

    def session(self, terms: Terms) -> FakeSession:
        self.loads += 1
        life = next(self._lives, None)
        refusal = PlaceLost(self.name, "it was told to") if life == 0 else self.refusal
        return FakeSession(self._mortal(life), self._window, refusal)

    def presence(self) -> Presence:
        return Presence(name=self.name, record=self._record)

    def _mortal(self, life: int | None) -> Asking:
        left = life

        def ask(upcoming: Sequence[Question]) -> list[Settled] | VqaEngineError:
            nonlocal left
            self.offered.append([question.question_id for question in upcoming])
            if left is not None:
                left -= 1
                if left < 0:
                    return PlaceLost(self.name, "it was told to")
            return self._asking(upcoming)

        return ask


class Notes(Observer):
    """Keeps what was said, and which models came and went."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.models: list[str] = []

    def note(self, label: str, note: Note) -> None:
        self.texts.append(note.text)

    def loading(self, label: str) -> None:
        self.models.append(f"loading {label}")

    def released(self, label: str, released: Released) -> None:
        self.models.append(f"released {label}")


def groups(count: int, size: int = 3) -> Iterator[list[Pair]]:
    """Questions 0, 1, 2, …, `size` of them about each image."""
    pairs = list(enumerate(questions(count, image=png())))
    return (pairs[start : start + size] for start in range(0, count, size))


def a_job(count: int = 12, size: int = 3, label: str = "instant") -> Job:
    """A job with that many questions."""
    return Job(Terms(spec=AdapterSpec(name="instant", label=label)), Work(groups(count, size)))


def rows_of(
    sites: Sequence[FakeSite], *jobs: Job, observer: Observer | None = None
) -> list[tuple[int, Row]]:
    """(position, row) of everything that came."""
    crew = Crew(sites, jobs, GenerationPlan(), observer=observer or Notes(), pause=0.0)
    return [(position, row) for _, (position, row, _) in crew.records()]
