"""The engine, with real adapter classes that answer at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import fakes
from tests.builders import a_question, png, questions
from vqa_engine import Engine, GenerationPlan, Observer, Progress, Question, QuestionSet, Row
from vqa_engine.errors import (
    AdapterInvalid,
    AdapterNotInstalled,
    AnswerError,
    CheckpointError,
    ConfigurationError,
    QuestionSetError,
    RunError,
    RunLocked,
    RunMismatch,
)
from vqa_engine.plugins.spec import AdapterSpec
from vqa_engine.questions.given import GivenQuestions
from vqa_engine.runs.directory import RunDirectory


@pytest.fixture(autouse=True)
def _clean_logs() -> None:
    fakes.First.log.clear()
    fakes.Interrupting.interrupted = False


def engine(*adapters: object, **options: object) -> Engine:
    return Engine(adapters=adapters or [fakes.Instant], isolation="inline", **options)  # type: ignore[arg-type]


class Ids(Observer):
    """Remembers which questions were put, and the progress told with each."""

    def __init__(self) -> None:
        self.ids: list[int | str] = []
        self.progress: list[Progress] = []

    def answered(self, row: Row, progress: Progress) -> None:
        self.ids.append(row.question.question_id)
        self.progress.append(progress)


def test_ask_gives_an_answer_that_prints_as_its_text() -> None:
    with engine(fakes.Looking) as asked:
        assert str(asked.ask(png((5, 3)), "How large?")) == "5x3"


def test_ask_takes_a_path_as_text(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png((4, 4)))
    with engine(fakes.Looking) as asked:
        assert asked.ask(str(tmp_path / "a.png"), "How large?").text == "4x4"


def test_ask_of_a_bad_image_says_why() -> None:
    with engine(fakes.Looking) as asked, pytest.raises(AnswerError, match=r"^image ") as caught:
        asked.ask(b"no picture", "What?")
    assert caught.value.cause == "image"


def test_a_run_gives_rows_scores_and_counts() -> None:
    with engine(fakes.Oracle) as asked:
        result = asked.run(questions(5))
    assert [row.question.question_id for row in result.rows()] == [0, 1, 2, 3, 4]
    assert [table.overall.percent for table in result.scores["oracle"]] == [100.0]
    assert result.complete
    assert "oracle" in result.table()


def test_a_fault_of_one_question_is_a_row_and_never_scored() -> None:
    with engine(fakes.Raising) as asked:
        result = asked.run(questions(4))
    rows = list(result.rows("raising"))
    assert [row.failure.cause if row.failure else None for row in rows] == [
        None, "python", None, "python",
    ]  # fmt: skip
    assert rows[1].failure is not None
    assert "odd questions are beyond me" in rows[1].failure.message
    assert "Traceback" in rows[1].failure.detail
    table = result.scores["raising"][0]
    assert (table.overall.percent, table.overall.count, table.errors) == (100.0, 2, 2)
    assert not result.complete


def test_a_missing_image_is_an_error_row_that_names_file_and_id(tmp_path: Path) -> None:
    asked = [
        a_question("q9", image=tmp_path / "gone.png", origin="set.jsonl:4"),
        a_question("ok", image=png()),
    ]
    with engine(fakes.Looking) as looking:
        lost, found = looking.run(asked).rows()
    assert lost.failure is not None
    assert lost.failure.cause == "image"
    assert all(part in lost.failure.message for part in ("'q9'", "set.jsonl:4", "gone.png"))
    assert found.answer is not None


def test_an_adapter_that_returns_no_answer_record_is_told_so() -> None:
    with engine(fakes.Confused) as asked:
        (row,) = asked.run(questions(1)).rows()
    assert row.failure is not None
    assert "gave str, not an Answer" in row.failure.message


def test_one_model_is_resident_at_a_time() -> None:
    with engine(fakes.First, fakes.Second) as asked:
        asked.run(questions(2))
    assert fakes.First.log == ["load First", "release First", "load Second", "release Second"]


def test_answers_yields_rows_as_they_come() -> None:
    with engine(fakes.First) as asked:
        rows = asked.answers(questions(3))
        assert next(rows).question.question_id == 0
        assert fakes.First.log == ["load First"]
    assert fakes.First.log == ["load First", "release First"]


def test_an_adapter_that_cannot_load_does_not_stop_the_next() -> None:
    with engine(fakes.Unreachable, fakes.Oracle) as asked:
        result = asked.run(questions(2))
    assert isinstance(result.errors["unreachable"], CheckpointError)
    assert result.tallies["oracle"].done == 2
    assert not result.complete


def test_when_no_adapter_can_load_the_run_is_an_error() -> None:
    with engine(fakes.Unreachable) as asked, pytest.raises(CheckpointError, match="nowhere/model"):
        asked.run(questions(1))


def test_the_same_run_asks_only_what_is_missing(tmp_path: Path) -> None:
    with engine(fakes.Interrupting) as asked, pytest.raises(KeyboardInterrupt):
        asked.run(questions(6), tmp_path / "run")
    ids = Ids()
    with engine(fakes.Interrupting, observer=ids) as asked:
        result = asked.run(questions(6), tmp_path / "run")
    assert ids.ids == [3, 4, 5]
    assert (ids.progress[0].done, ids.progress[0].resumed) == (4, 3)
    assert result.scores["interrupting"][0].overall.count == 6


def test_a_finished_run_loads_no_model(tmp_path: Path) -> None:
    for _ in range(2):
        with engine(fakes.First) as asked:
            result = asked.run(questions(3), tmp_path / "run")
    assert fakes.First.log == ["load First", "release First"]
    assert result.tallies["first"].done == 3


def test_other_settings_are_refused_with_the_difference(tmp_path: Path) -> None:
    with engine() as asked:
        asked.run(questions(1), tmp_path / "run")
    with engine(plan=GenerationPlan(max_tokens=5)) as asked, pytest.raises(RunMismatch) as caught:
        asked.run(questions(2), tmp_path / "run")
    assert caught.value.differences["plan.max_tokens"] == (32, 5)
    assert list(caught.value.differences) == ["plan.max_tokens"]


@pytest.mark.slow
def test_a_fresh_start_leaves_the_old_run_alone(tmp_path: Path) -> None:
    with engine() as asked:
        old = asked.run(questions(2), tmp_path / "run")
        new = asked.run(questions(3), tmp_path / "run", fresh_start=True)
    assert new.directory == tmp_path / "run-2"
    assert (len(list(old.rows())), len(list(new.rows()))) == (2, 3)


def test_a_run_that_another_process_writes_is_refused(tmp_path: Path) -> None:
    with engine() as asked:
        asked.run(questions(1), tmp_path / "run")
        held = RunDirectory(tmp_path / "run", asked.manifest(_set(questions(1))))
        with pytest.raises(RunLocked, match="process"):
            asked.run(questions(1), tmp_path / "run")
        held.close()
        held.close()


def test_an_output_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with engine() as asked, pytest.raises(RunError, match=r"[Gg]ive another path"):
        asked.run(questions(1), tmp_path / "file" / "run")


def test_an_instance_runs_inline_as_it_is() -> None:
    adapter = fakes.Oracle()
    with Engine(adapters=[adapter]) as asked:
        assert asked.run(questions(1)).tallies["oracle"].done == 1


@pytest.mark.parametrize(
    ("adapters", "error"),
    [
        (["no_such"], AdapterNotInstalled),
        ([], ConfigurationError),
        ([fakes.Instant, fakes.Instant], ConfigurationError),
        ([AdapterSpec(name="smolvlm"), AdapterSpec(name="smolvlm")], ConfigurationError),
        ([object()], AdapterInvalid),
    ],
)
def test_wrong_adapters_are_refused_before_anything_runs(
    adapters: list[object], error: type[Exception]
) -> None:
    with pytest.raises(error):
        Engine(adapters=adapters)  # type: ignore[arg-type]


def test_two_checkpoints_of_one_adapter_run_under_their_labels() -> None:
    specs = [AdapterSpec(name="instant", target="tests.fakes:Instant", label=name) for name in "ab"]
    with engine(*specs) as asked:
        assert sorted(asked.run(questions(1)).scores) == ["a", "b"]


def test_a_repeated_id_is_refused_before_any_model_loads() -> None:
    with engine(fakes.First) as asked, pytest.raises(QuestionSetError, match="two questions"):
        asked.run([a_question(1), a_question(1)])
    assert fakes.First.log == []


def test_a_question_that_killed_the_process_three_times_is_given_up(tmp_path: Path) -> None:
    with engine() as asked:
        with RunDirectory(tmp_path / "run", asked.manifest(_set(questions(2)))) as directory:
            for _ in range(3):
                directory.journal.begin("instant", 1)
        good, bad = asked.run(questions(2), tmp_path / "run").rows()
    assert good.answer is not None
    assert bad.failure is not None
    assert bad.failure.cause == "killed"


def _set(asked: list[Question]) -> QuestionSet:
    return GivenQuestions(asked)


@pytest.mark.slow
def test_several_adapters_are_side_by_side_and_compared() -> None:
    with engine(fakes.Oracle, fakes.Instant) as asked:
        table = asked.run(questions(2)).table()
    assert table.count("no answer (error)") == 1
    assert "0 fixed, 0 broken" in table
    assert [line.split().count("100.00") for line in table.splitlines() if "overall" in line] == [
        2,
        0,
    ]
