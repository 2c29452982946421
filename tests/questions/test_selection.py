from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st

from tests.question_builders import lines_file, question
from vqa_engine.adapter import Question
from vqa_engine.errors import ConfigurationError
from vqa_engine.questions import QuestionSet, load_questions
from vqa_engine.questions.selection import select


@frozen
class Counted:
    """Questions 0, 1, 2, …; `made` holds the ids of those that were made."""

    count: int
    made: list[int]

    @property
    def name(self) -> str:
        return "counted"

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Question]:
        return self.at(range(self.count))

    def at(self, places: Iterable[int]) -> Iterator[Question]:
        for number in places:
            self.made.append(number)
            yield question(question_id=number)

    def digest(self) -> str:
        return str(self.count)


def counted(count: int) -> Counted:
    return Counted(count, [])


def ids(questions: QuestionSet) -> list[int | str]:
    return [one.question_id for one in questions]


def test_limit_takes_the_first_and_makes_no_more() -> None:
    base = counted(1000)
    few = select(base, limit=3)
    assert isinstance(few, QuestionSet)
    assert (ids(few), len(few), base.made) == ([0, 1, 2], 3, [0, 1, 2])


def test_a_selection_can_be_iterated_again() -> None:
    few = select(counted(50), sample=5, seed=1)
    assert ids(few) == ids(few)


@given(st.integers(1, 60), st.integers(1, 80), st.integers(0, 5))
def test_sample_keeps_order_and_size(count: int, size: int, seed: int) -> None:
    chosen = ids(select(counted(count), sample=size, seed=seed))
    assert len(chosen) == min(count, size)
    assert chosen == sorted(set(chosen))
    assert chosen == ids(select(counted(count), sample=size, seed=seed))


def test_sample_depends_on_the_seed() -> None:
    assert ids(select(counted(500), sample=9, seed=1)) != ids(
        select(counted(500), sample=9, seed=2)
    )


def test_sample_is_stable_across_versions() -> None:
    assert ids(select(counted(20), sample=4, seed=0)) == [1, 8, 12, 13]


def test_limit_applies_to_the_sample() -> None:
    sampled = ids(select(counted(100), sample=10, seed=3))
    assert ids(select(counted(100), sample=10, limit=4, seed=3)) == sampled[:4]


def test_asking_for_more_gives_the_set_itself() -> None:
    base = counted(3)
    assert select(base, limit=3, sample=7) is base
    assert select(base) is base


def test_digest_tells_selections_apart() -> None:
    base = counted(100)
    sets = [
        base,
        select(base, limit=5),
        select(base, limit=6),
        select(base, sample=5, seed=0),
        select(base, sample=5, seed=1),
        select(counted(101), limit=5),
    ]
    assert len({one.digest() for one in sets}) == len(sets)
    assert select(base, limit=5).digest() == select(counted(100), limit=5).digest()


@pytest.mark.parametrize("number", [0, -1])
@pytest.mark.parametrize("option", ["limit", "sample"])
def test_numbers_below_one(option: str, number: int) -> None:
    with pytest.raises(ConfigurationError, match=f"--{option} is {number}"):
        select(counted(3), **{option: number})


# --- load_questions


def test_options_reach_the_set(tmp_path: Path) -> None:
    path = lines_file(tmp_path, *({"image": "x.png", "text": str(n)} for n in range(9)))
    assert ids(load_questions(path, limit=2)) == [1, 2]
    assert ids(load_questions(str(path), sample=2, seed=4)) == ids(
        select(load_questions(path), sample=2, seed=4)
    )


@pytest.mark.parametrize(
    ("source", "count"), [("shapes", 200), ("shapes:count=7", 7), ("shapes:seed=3,count=5", 5)]
)
def test_shapes(source: str, count: int) -> None:
    assert len(load_questions(source)) == count


def test_shapes_options_decide_the_digest() -> None:
    digests = {load_questions(f"shapes:seed={seed}").digest() for seed in (0, 1)}
    assert len(digests) == 2
    assert load_questions().digest() in digests


@pytest.mark.parametrize("options", ["sed=3", "seed=x", "seed", "count=-1", "seed=²", "count=1e3"])
def test_bad_shapes_options_name_the_good_ones(options: str) -> None:
    with pytest.raises(ConfigurationError, match="seed and count"):
        load_questions(f"shapes:{options}")


@pytest.mark.parametrize("source", ["vqa", "gone.jsonl", "gone.json", "set.csv"])
def test_unknown_sources_list_the_forms(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match=r"shapes.*\.jsonl.*VQA v2") as caught:
        load_questions(source)
    assert "\n" not in str(caught.value)


def test_options_that_do_not_go_together(tmp_path: Path) -> None:
    path = lines_file(tmp_path, {"image": "x.png", "text": "?"})
    wrong: list[dict[str, Any]] = [
        {"source": path, "annotations": path},
        {"annotations": path},
        {"images": tmp_path},
    ]
    for arguments in wrong:
        with pytest.raises(ConfigurationError, match="does not go with"):
            load_questions(**arguments)
    with pytest.raises(ConfigurationError, match="is not a folder"):
        load_questions(path, images=tmp_path / "gone")
