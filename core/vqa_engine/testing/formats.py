"""What every format of question sets has to do; each test's docstring says what it asks for."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from PIL.ImageFile import ImageFile

from vqa_engine.adapter import Question
from vqa_engine.errors import VqaEngineError
from vqa_engine.images import open_image
from vqa_engine.plugins import entry_points as plugins
from vqa_engine.questions.question_set import QuestionSet
from vqa_engine.questions.source import Source
from vqa_engine.testing.capabilities import Capabilities
from vqa_engine.testing.standard import refuse_unguarded, tampered

_GARBAGE = b"\x00\xff\xfe{[,\n\x80 not what it should be \xc3(" * 20


class FormatConformance:
    """Subclass it, set `form`, write `write`, and run pytest.

    `form` is the entry-point name in `vqa_engine.question_sets` (`.tar`), or the function.
    `write` puts a small file of the format, with at least two questions, and its pictures
    into a folder, and returns the file. A set that is no file defines `source` instead. A
    standard test that is overridden or deleted fails the suite, unless
    `capabilities.waived` gives the reason.

    Raises:
        TypeError: a subclass takes away the test that notices missing tests.
    """

    form: ClassVar[Any]
    capabilities: ClassVar[Capabilities] = Capabilities()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        refuse_unguarded(cls, FormatConformance)

    def write(self, folder: Path) -> Path:
        """Write a small file of the format into an empty folder."""
        raise NotImplementedError("write a small file of the format, and return its path")

    def source(self, folder: Path) -> Source:
        """What the set is made from; a file that was written into `folder`."""
        path = self.write(folder)
        return Source(text=str(path), path=path)

    @pytest.fixture(autouse=True)
    def _conformance(self, request: pytest.FixtureRequest) -> None:
        if reason := self.capabilities.waived.get(request.function.__name__):
            pytest.skip(f"waived: {reason}")

    def test_standard_tests_are_all_there(self) -> None:
        """Every standard test is there as it was written, or waived with a reason."""
        wrong = tampered(type(self), FormatConformance, self.capabilities)
        assert wrong == [], "Give the reason: Capabilities(waived={'test_name': 'why'})."

    def test_it_is_a_question_set(self, tmp_path: Path) -> None:
        """It has a name, and as many questions as its length says, at least two."""
        found = self._load(self.source(tmp_path))
        assert isinstance(found, QuestionSet), "it does not implement QuestionSet"
        assert found.name.strip(), "a question set needs a name"
        assert len(found) == len(list(found)) >= 2, "its length is not the number of questions"

    def test_questions_are_known_by_their_ids(self, tmp_path: Path) -> None:
        """Every id is a number or a text, and no two are equal."""
        ids = [one.question_id for one in self._load(self.source(tmp_path))]
        assert {type(one) for one in ids} <= {int, str}
        assert len(set(ids)) == len(ids), "two questions have one id"

    def test_it_can_be_iterated_again(self, tmp_path: Path) -> None:
        """A second iteration gives the same, also while the first one is under way."""
        found = self._load(self.source(tmp_path))
        first, second = _known(iter(found)), _known(iter(found))
        assert first == second, "a second iteration gives other questions"
        together = list(zip(found, found, strict=True))
        assert all(one == other for one, other in map(_pair, together))

    def test_questions_come_in_any_order(self, tmp_path: Path) -> None:
        """`at` gives the questions of those places in that order; a place may come again."""
        found = self._load(self.source(tmp_path))
        whole, last = _known(iter(found)), len(found) - 1
        places = [last, 0, last]
        there = [whole[place] for place in places]
        assert _known(found.at(places)) == there, "at() gives other questions, or another order"
        assert _known(found.at([])) == []

    def test_pictures_stay_closed_until_they_are_asked_about(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Loading and iterating decodes no picture, so a large set starts at once."""
        source, opened = self.source(tmp_path), list[object]()
        real = ImageFile.load

        def noted(file: ImageFile) -> Any:
            opened.append(file)
            return real(file)

        monkeypatch.setattr(ImageFile, "load", noted)
        found = self._load(source)
        list(found)
        found.digest()
        assert opened == [], f"{len(opened)} pictures were decoded"

    def test_every_picture_can_be_opened(self, tmp_path: Path) -> None:
        """Every image of every question is one."""
        for question in self._load(self.source(tmp_path)):
            for place in range(len(question.all_images)):
                try:
                    assert min(open_image(question, place).size) > 0
                except VqaEngineError as error:
                    what = f"question {question.question_id!r}: image {place} cannot be opened"
                    raise AssertionError(f"{what}: {error}") from error

    def test_a_path_cannot_leave_the_folder_of_the_images(self, tmp_path: Path) -> None:
        """A question with a path has an `image_root`: a file from outside names no other."""
        for question in self._load(self.source(tmp_path)):
            if any(isinstance(image, Path) for image in question.all_images):
                assert question.image_root is not None, (
                    f"question {question.question_id!r} has no image_root"
                )

    def test_the_digest_is_of_what_is_asked(self, tmp_path: Path) -> None:
        """It is a SHA-256 in hex, and the same when the files are loaded again elsewhere."""
        source = self.source(tmp_path / _made(tmp_path, "here"))
        digest = self._load(source).digest()
        assert re.fullmatch("[0-9a-f]{64}", digest), f"{digest!r} is not a SHA-256 in hex"
        assert self._load(source).digest() == digest
        if source.path is not None:
            moved = tmp_path / "elsewhere"
            shutil.copytree(tmp_path / "here", moved)
            path = moved / source.path.relative_to(tmp_path / "here")
            assert self._load(Source(text=str(path), path=path)).digest() == digest

    @pytest.mark.parametrize("damage", ["empty", "half", "garbage"])
    def test_a_broken_file_is_an_error_of_ours(self, tmp_path: Path, damage: str) -> None:
        """A damaged file raises nothing but a `VqaEngineError`, whose text names the file."""
        source = self.source(tmp_path)
        if source.path is None or source.path.is_dir():
            pytest.skip("it is not a file")
        whole = source.path.read_bytes()
        damaged = {"empty": b"", "half": whole[: len(whole) // 2], "garbage": _GARBAGE}
        source.path.write_bytes(damaged[damage])
        noticed = ""
        try:
            count = len(list(self._load(source)))
        except VqaEngineError as error:
            noticed = str(error)
        except Exception as error:
            raise AssertionError(f"a damaged file raises {type(error).__name__}") from error
        if not noticed:
            assert damage == "half" and count, "a damaged file is not noticed"  # noqa: PT018
        else:
            assert source.path.name in noticed, f"{noticed} does not name the file"

    def _load(self, source: Source) -> QuestionSet:
        # Not by attribute access: a function would come back as a method.
        form = next(vars(one)["form"] for one in type(self).__mro__ if "form" in vars(one))
        form = form.__func__ if isinstance(form, staticmethod) else form
        made = plugins.load(plugins.QUESTION_SETS, form) if isinstance(form, str) else form
        found: QuestionSet = made(source)
        return found


def _made(folder: Path, name: str) -> str:
    (folder / name).mkdir()
    return name


def _pair(pair: tuple[Question, Question]) -> tuple[object, object]:
    return _facts(pair[0]), _facts(pair[1])


def _known(questions: Iterator[Question]) -> list[object]:
    return [_facts(one) for one in questions]


def _facts(question: Question) -> tuple[object, ...]:
    return (question.question_id, question.text, question.answers, question.choices)
