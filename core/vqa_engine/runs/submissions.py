"""Files for the servers that score hidden test sets, checked before they are written.

Each is a plugin of the group `vqa_engine.submissions`: its name is the format's, its object a
`Submission` or a function that makes one. Answers are written as the model gave them; the
servers normalise them themselves.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from string import ascii_uppercase
from typing import Any

import msgspec

from vqa_engine.adapter import Question
from vqa_engine.errors import ScoringError
from vqa_engine.plugins import entry_points as plugins
from vqa_engine.results import Row
from vqa_engine.runs.apart import submission_apart
from vqa_engine.runs.rescoring import answered
from vqa_engine.runs.submission import Answered, Submission, submission_here
from vqa_engine.scoring.letters import read_choice

_encode = msgspec.json.Encoder().encode
_SHOWN = 3


def submission(name: str) -> Submission:
    """The submission of this name, from whatever package offers it.

    Raises:
        ConfigurationError: there is none, or it cannot be used.
    """
    plugin = plugins.select(plugins.SUBMISSIONS, name)
    if not plugin.is_foreign:
        return submission_here(name)
    return submission_apart(plugin)


def submitted(
    form: Submission, rows: Iterable[Row], *, errors_as_empty: bool = False
) -> Iterator[bytes]:
    """The file of one adapter's rows, in pieces; all is checked before the first one.

    Raises:
        ScoringError: questions are missing or have no answer, the set is not one that the
            server scores, or an id is not of the form that it wants.
    """
    found = list(answered(rows))
    _check_count(form, len(found))
    failed = [question.question_id for question, text in found if text is None]
    if failed and not errors_as_empty:
        shown = ", ".join([*map(repr, failed[:_SHOWN]), *(["…"] if failed[_SHOWN:] else [])])
        raise ScoringError(
            f"{len(failed)} of {len(found)} questions have no answer ({shown}), "
            f"and {form.server} scores whole sets; run the command again to ask them, or write "
            "them as empty answers with --errors-as-empty."
        )
    pieces = list(form.encode((question, text or "") for question, text in found))
    return iter(pieces)


def _check_count(form: Submission, count: int) -> None:
    if count in form.counts or not form.counts:
        return
    sizes = " or ".join(f"{one:,}" for one in form.counts)
    raise ScoringError(
        f"The run's set has {count:,} questions, and {form.server} scores sets of {sizes}: "
        "ask the whole test set."
    )


def listed(id_name: str, answer_name: str, id_of: Callable[[Question], Any]) -> Any:
    """The encoder of a JSON list of objects with an id and an answer."""

    def encode(answered: Iterable[Answered]) -> Iterator[bytes]:
        items = ({id_name: id_of(one), answer_name: text} for one, text in answered)
        yield b"[" + b",\n".join(map(_encode, items)) + b"]\n"

    return encode


def number(question: Question) -> int:
    """The id as a whole number.

    Raises:
        ScoringError: it is none.
    """
    try:
        return int(question.question_id)
    except ValueError:
        raise ScoringError(
            f"The server wants whole numbers as ids, and {question.question_id!r} is none."
        ) from None


def _text_id(question: Question) -> str:
    """The id as text."""
    return str(question.question_id)


def letter_of(question: Question, text: str) -> str:
    """The letter that an answer means; the answer itself where it means none."""
    found = read_choice(text, question.choices).choice if question.choices else None
    return text if found is None else ascii_uppercase[found]


def _by_id(answered: Iterable[Answered]) -> Iterator[bytes]:
    """An object of letters or texts by id (MMMU)."""
    yield _encode({_text_id(one): letter_of(one, text) for one, text in answered}) + b"\n"


def _aokvqa(answered: Iterable[Answered]) -> Iterator[bytes]:
    """An object of answers by id, of the task that was asked: with choices, the choice's text."""
    found = {}
    for one, text in answered:
        choice = read_choice(text, one.choices).choice if one.choices else None
        said = text if choice is None else one.choices[choice]
        found[_text_id(one)] = {"multiple_choice" if one.choices else "direct_answer": said}
    yield _encode(found) + b"\n"


def _seed(answered: Iterable[Answered]) -> Iterator[bytes]:
    for one, text in answered:
        yield _encode({"question_id": _text_id(one), "prediction": letter_of(one, text)}) + b"\n"


def _mmbench(answered: Iterable[Answered]) -> Iterator[bytes]:
    """The raw predictions in a TSV: the server reads the letters itself.

    With a task's card the question's text is the whole prompt; the label `asked` has the question.
    """
    yield _line(["index", "question", "A", "B", "C", "D", "prediction"])
    for one, text in answered:
        choices: Sequence[str] = (*one.choices, "", "", "", "")[:4]
        yield _line([_text_id(one), one.labels.get("asked", one.text), *choices, text])


def _line(cells: Sequence[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text, delimiter="\t", lineterminator="\n").writerow(cells)
    return text.getvalue().encode()


VQA_V2 = Submission(
    server="VQA v2's server (EvalAI)",
    counts=(107394, 447793),
    encode=listed("question_id", "answer", number),
)
TEXTVQA = Submission(
    server="TextVQA's server (EvalAI)",
    counts=(5734,),
    encode=listed("question_id", "answer", number),
)
VIZWIZ = Submission(
    server="VizWiz's server (EvalAI)", counts=(8000,), encode=listed("image", "answer", _text_id)
)
DOCVQA = Submission(
    server="the RRC server",
    counts=(5188, 3288),
    encode=listed("questionId", "answer", number),
)
GQA = Submission(
    server="GQA's server (EvalAI)",
    counts=(172174, 1340048, 713449, 4237524),  # test-dev, test, challenge; with val, all at once
    encode=listed("questionId", "prediction", _text_id),
)
MMMU = Submission(server="MMMU's server (EvalAI)", counts=(10500,), encode=_by_id)
MMBENCH = Submission(server="MMBench's server", counts=(1784, 6666), encode=_mmbench)
AOKVQA = Submission(server="A-OKVQA's leaderboard", counts=(6702,), encode=_aokvqa)
SEED = Submission(server="SEED-Bench's leaderboard", counts=(14232, 14233), encode=_seed)
