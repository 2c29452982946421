"""The question set of a task: its data, checked against the card, in the card's words."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from attrs import evolve, frozen

from vqa_engine.adapter import Question
from vqa_engine.errors import ConfigurationError, QuestionSetError
from vqa_engine.questions import templates
from vqa_engine.questions.choices import OrderedChoices, ordered
from vqa_engine.questions.question_set import QuestionSet
from vqa_engine.questions.selection import select
from vqa_engine.questions.tasks import first, hub
from vqa_engine.questions.tasks.card import Data, Task, Wording
from vqa_engine.questions.tasks.wording import NONE, WordedView, template_of, worded, wording_of
from vqa_engine.questions.view import View

if TYPE_CHECKING:
    from vqa_engine.questions.table.table_set import Table, TableSet


@frozen(eq=False)
class Prompted(View):
    """Any set's questions in the words of one template."""

    template: str

    def digest(self) -> str:
        """SHA-256 (hex) over the set behind it and the template."""
        return hashlib.sha256(f"{self._of.digest()} {self.template}".encode()).hexdigest()

    def _shown(self, question: Question) -> Question:
        return worded(question, Wording(text=self.template))


def presented(  # noqa: PLR0913 - one keyword per command-line option
    questions: QuestionSet,
    choices: str = "given",
    prompt: str | None = None,
    *,
    limit: int | None = None,
    sample: int | None = None,
    seed: int = 0,
) -> QuestionSet:
    """A set that is no task's, with its choices in another order, or in a template's words.

    Raises:
        ConfigurationError: an argument is wrong or does not go with the set.
    """
    chosen = ordered(select(questions, limit=limit, sample=sample, seed=seed), choices)
    if prompt is None or prompt == NONE:
        return chosen
    return Prompted(chosen, template_of(prompt))


@frozen(eq=False)
class TaskSet(View):
    """A task's questions; each model gets them in its family's words (`worded_for`).

    `prompt` names the wording for all adapters, or is itself one as a template; `none`
    leaves it to each adapter. `data_commit` is where the card's data was downloaded from,
    `owner/name@commit`.
    """

    task: Task
    prompt: str | None = None
    data_commit: str | None = None

    @property
    def name(self) -> str:
        """The task's name and its card's version."""
        return f"{self.task.name} v{self.task.card.version}"

    @property
    def headline(self) -> str | None:
        """The figure that is quoted, None for the mean."""
        return self.task.card.score.headline

    @property
    def metrics(self) -> tuple[str, ...]:
        """The card's metrics; the first has the figures by label, and those over orders."""
        score = self.task.card.score
        take = f"{score.take}>" if score.take else ""
        first, *others = (f"{take}{name}" for name in score.metrics)
        rotated = isinstance(self._of, OrderedChoices) and self._of.kind != "shuffled"
        more = [*(["circular"] if rotated else []), *(f"by:{label}" for label in score.by)]
        return ("+".join((first, *more)), *others)

    def worded_for(self, family: str) -> QuestionSet:
        """The questions as a family of models gets them."""
        if self.prompt == NONE:
            return self._of
        return WordedView(self._of, self.wording_for(family)[1])

    def wording_for(self, family: str) -> tuple[str, Wording]:
        """The name of a family's prompt, and the prompt."""
        if self.prompt is not None and "{" in self.prompt:
            return "typed", Wording(text=template_of(self.prompt))
        if self.prompt == NONE:
            return NONE, Wording(source="the adapter")
        return wording_of(self.task.card.prompt, family, self.prompt)

    def data_digest(self) -> str:
        """SHA-256 (hex) over the questions alone, which a card states as its data's digest."""
        return self._of.digest()

    def digest(self) -> str:
        """SHA-256 (hex) over the questions and all that the card says of prompts."""
        card = self.task.card
        said = msgspec.json.encode((card.task, card.version, self.prompt, card.prompt))
        return hashlib.sha256(self._of.digest().encode() + said).hexdigest()

    def _shown(self, question: Question) -> Question:
        return question


def load_task(  # noqa: PLR0913 - one keyword per command-line option
    task: Task,
    *,
    questions: QuestionSet | None = None,
    choices: str = "given",
    prompt: str | None = None,
    limit: int | None = None,
    sample: int | None = None,
    seed: int = 0,
    offline: bool = False,
) -> TaskSet:
    """Load a task's questions, downloading them if need be.

    `questions` are asked instead of the card's own data. `choices` is the order of the
    choices (`vqa_engine.questions.choices`), `limit`, `sample` and `seed` are those of
    `load_questions`. With `offline` nothing is downloaded.

    Raises:
        ConfigurationError: an argument does not go with the task.
        QuestionSetError: the data cannot be had, is broken, or is not what the card says.
    """
    if prompt is not None and "{" in prompt:
        template_of(prompt)
    elif prompt != NONE:
        wording_of(task.card.prompt, "", prompt)
    if choices != "given":
        _check_movable(task)
    base = questions if questions is not None else data_of(task, offline=offline)
    chosen = select(base, limit=limit, sample=sample, seed=seed)
    commit = data_commit(task) if questions is None else None
    return TaskSet(ordered(chosen, choices), task, prompt, commit)


def _check_movable(task: Task) -> None:
    """Choices can be moved only where the prompt lists them.

    Raises:
        ConfigurationError: it does not.
    """
    prompt, columns = task.card.prompt, task.card.columns
    if columns.choices is None and columns.inside is None:
        raise ConfigurationError(
            f"The questions of {task.name} have no choices; ask it with --choices given."
        )
    texts = [one for word in (prompt, *prompt.family.values()) for one in (word.choice, word.text)]
    listed = any(text and "options" in templates.names(text) for text in texts)
    if columns.inside is not None or not listed:
        raise ConfigurationError(
            f"The options of {task.name} are inside its questions and cannot be moved; "
            "ask it with --choices given."
        )


def blinded(questions: QuestionSet) -> QuestionSet:
    """The set without its pictures, also where each adapter has its own wording."""
    from vqa_engine.questions.blind import Blind  # brings Pillow, which other runs do without

    if isinstance(questions, TaskSet):
        return evolve(questions, of=Blind(questions._of))
    return Blind(questions)


def is_here(task: Task) -> bool:
    """Whether a task's data is on this machine."""
    data = task.card.data
    if data.hub is None:
        return any(True for pattern in data.files for _ in task.folder.glob(pattern))
    return hub.cached(data.hub, data.revision, patterns(data)) is not None


def data_commit(task: Task) -> str | None:
    """The data set and commit of a task's download, None for local files or before it."""
    data = task.card.data
    found = data.hub and hub.commit(data.hub, data.revision, patterns(data))
    return f"{data.hub}@{found}" if found else None


def size(task: Task) -> int | None:
    """Bytes of a task's download, as far as they are known here; None for local files."""
    data = task.card.data
    if data.hub is None:
        return None
    return hub.size(data.hub, data.revision, patterns(data)) or data.size


def ask_size(task: Task) -> int | None:
    """As `size`; what is not known is asked of the hub, and remembered.

    Raises:
        ConfigurationError: huggingface_hub is not installed.
        QuestionSetError: the hub cannot be asked.
    """
    data, known = task.card.data, size(task)
    if known is not None or data.hub is None:
        return known
    return hub.ask_size(data.hub, data.also, data.revision, patterns(data))


def data_of(task: Task, *, offline: bool = False) -> TableSet:
    """A task's questions as its data has them, checked against the card.

    Raises:
        QuestionSetError: as `load_task`.
    """
    from vqa_engine.questions.table.table_set import TableSet

    data = task.card.data
    root = task.folder / data.images if data.images else task.folder
    table = _table(task, offline=offline)
    found = TableSet.load(table, task.card.columns, root.absolute())
    _check(task, found)
    return found


def _table(task: Task, *, offline: bool) -> Table:
    from vqa_engine.questions.table.parquet import ImageTable, Parquet

    data = task.card.data
    if data.hub is not None:
        folder = hub.folder(data.hub, data.also, data.revision, patterns(data), offline=offline)
    else:
        folder = task.folder
    files = _files(folder, data, data.files)
    if files[0].suffix != ".parquet":
        return _single(task, files)
    joined = data.joined
    if joined is None:
        return Parquet.open(files)
    return Parquet.open(
        files, ImageTable(tuple(_files(folder, data, joined.files)), joined.key, joined.image)
    )


def _single(task: Task, files: list[Path]) -> Table:
    from vqa_engine.questions.table.delimited import Delimited
    from vqa_engine.questions.table.json_items import Items
    from vqa_engine.questions.table.sheet import Sheet

    readers: Mapping[str, Any] = {
        ".csv": Delimited.open,
        ".tsv": Delimited.open,
        ".xlsx": Sheet.open,
        ".json": Items.open,
    }
    reader = readers.get(files[0].suffix.lower())
    if reader is None or len(files) > 1:
        raise ConfigurationError(
            f"The task card {task.source}: `files` must be parquet files or one file of "
            f"{', '.join(readers)}; {files[0].name} is none."
        )
    table: Table = reader(files[0])
    return table


def patterns(data: Data) -> list[str]:
    """Of all files that the data set's questions need."""
    return [*data.files, *(data.joined.files if data.joined else ())]


def _files(folder: Path, data: Data, patterns: tuple[str, ...]) -> list[Path]:
    """The files of the patterns, sorted by name within each."""
    found = [path for pattern in patterns for path in sorted(folder.glob(pattern))]
    if not found:
        where = f"the data set {data.hub}" if data.hub else str(folder)
        raise QuestionSetError(f"{where} has no file {' or '.join(patterns)}", file=folder)
    return found


def _check(task: Task, found: TableSet) -> None:
    data = task.card.data
    if data.questions is not None and len(found) != data.questions:
        raise QuestionSetError(
            f"it has {len(found)} questions, and the card of {task.name} says {data.questions}: "
            "it is another version of the data",
            file=found.path,
        )
    digest = f"sha256:{found.digest()}"
    if data.digest is None and data.hub is not None:
        first.check(task, data_commit(task), digest)
    elif data.digest not in (None, digest):
        raise QuestionSetError(
            f"its questions are not those of the card of {task.name}: their digest is {digest}, "
            f"not {data.digest}",
            file=found.path,
        )
