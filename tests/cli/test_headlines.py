"""What a run says of questions without an answer."""

from __future__ import annotations

import pytest

from vqa_engine.runs.journal import Tally
from vqa_engine_cli.display import headlines


@pytest.mark.parametrize(
    ("tally", "said"),
    [
        (Tally(done=5), []),
        (
            Tally(done=200, failed=3, causes={"image": 2, "out_of_memory": 1}),
            [
                "3 of 200 questions have no answer (image: 2, out_of_memory: 1); "
                "run the same command to ask them again"
            ],
        ),
        (
            Tally(unasked=1),
            ["1 of 1 question has no answer (not asked: 1); run the same command to ask it again"],
        ),
        (Tally(done=9, degraded=1), ["1 question was answered by a cheaper plan"]),
    ],
)
def test_open_questions_are_counted_with_their_causes(tally: Tally, said: list[str]) -> None:
    assert list(headlines(tally)) == said
