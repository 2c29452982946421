"""What an exception becomes: its cause, a row for the journal, an error of ours."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vqa_engine.errors import (
    AnswerError,
    BackendError,
    BackendGone,
    CheckpointError,
    ImageError,
    OutOfMemory,
    VqaEngineError,
)
from vqa_engine.failures import classify, describe, forget
from vqa_engine.results import Cause

TOO_BIG = (
    "[metal::malloc] Attempting to allocate 9663676416 bytes which is greater than "
    "the maximum allowed buffer size of 8589934592 bytes."
)


@pytest.mark.parametrize(
    ("error", "cause", "reason"),
    [
        (ImageError("no file", image="a.png"), "image", "no file"),
        (OutOfMemory("Out of memory in x: y."), "out_of_memory", "OutOfMemory (out_of_memory)"),
        (OutOfMemory(f"x: {TOO_BIG}"), "too_big", "OutOfMemory (too_big)"),
        (BackendGone("The server is down."), "gone", "BackendGone (gone)"),
        (BackendError("call", "CUDA error: x"), "backend", "BackendError (backend)"),
        (BackendError("c", "Caused GPU Timeout"), "watchdog", "BackendError (watchdog)"),
        (AnswerError("It failed on id 7.", cause="KeyError"), "adapter", "AnswerError (KeyError)"),
        (MemoryError(), "out_of_memory", "MemoryError"),
    ],
)
def test_an_error_has_a_cause_and_a_reason_without_the_question(
    error: Exception, cause: Cause, reason: str
) -> None:
    failure = describe(error)
    assert (failure.cause, failure.reason) == (cause, reason)
    assert failure.message.endswith(str(error))


def test_the_reason_of_anothers_exception_is_where_the_adapter_was() -> None:
    def adapter(text: str) -> object:
        return json.loads(text)  # the innermost frame is the library's

    line = adapter.__code__.co_firstlineno + 1
    failures = []
    for text in ("{", "[1,"):
        with pytest.raises(json.JSONDecodeError) as caught:
            adapter(text)
        failures.append(describe(caught.value))
    one, other = failures
    assert one.reason == other.reason == f"JSONDecodeError at {Path(__file__).name}:{line}"
    assert one.message != other.message
    assert "json.loads(text)" in one.detail


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (MemoryError(), OutOfMemory),
        (RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"), OutOfMemory),
        (RuntimeError("Invalid buffer size: 12.00 GiB"), OutOfMemory),
        (RuntimeError("[metal::malloc] Resource limit (499000) exceeded."), BackendError),
        (KeyError("k"), AnswerError),
    ],
)
def test_a_librarys_exception_becomes_one_of_ours(
    raised: Exception, kind: type[VqaEngineError]
) -> None:
    error = classify(raised, "library.call")
    assert type(error) is kind
    assert "library.call" in str(error)


def test_one_of_ours_is_left_as_it_is() -> None:
    ours = CheckpointError("m", (), "r", "Do.")
    assert classify(ours, "x") is ours


def test_too_large_a_buffer_says_how_large() -> None:
    error = classify(RuntimeError(TOO_BIG), "x")
    assert isinstance(error, OutOfMemory)
    assert (error.needed, error.budget) == (9663676416, 8589934592)


def test_a_forgotten_error_holds_nothing_of_its_frames() -> None:
    class Array:
        alive = 0

        def __init__(self) -> None:
            Array.alive += 1

        def __del__(self) -> None:
            Array.alive -= 1

    def compute() -> None:
        array = Array()
        raise ValueError(type(array).__name__)

    with pytest.raises(ValueError, match="Array") as caught:
        compute()
    assert Array.alive == 1
    forget(caught.value)
    assert Array.alive == 0
