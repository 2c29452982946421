"""The tree of errors."""

from __future__ import annotations

import pickle

import pytest

from vqa_engine import errors
from vqa_engine.errors import AdapterNotInstalled, ContextExceeded, ImageError, VqaEngineError


@pytest.mark.parametrize(
    "error",
    [
        ImageError("it is broken", image="a.png", origin="set.jsonl:3", question_id=7),
        AdapterNotInstalled("smolvml", ["smolvlm"], "smolvlm"),
        ContextExceeded("too long", needed=9000, size=8192),
        errors.OutputError("out.csv", "it is full"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_arrives_in_another_process_with_its_text_and_facts(error: VqaEngineError) -> None:
    error.add_note("seen there")
    arrived = pickle.loads(pickle.dumps(error))
    assert (type(arrived), str(arrived), vars(arrived)) == (type(error), str(error), vars(error))
