"""The classifier: every row of its tables, and which evidence outweighs which."""

from __future__ import annotations

import signal
from typing import get_args

import pytest

from vqa_engine.failures import cause_of
from vqa_engine.memory.backend import TextCause
from vqa_engine.results import Cause
from vqa_engine.worker.evidence import OomKills, oom_kills, vitals
from vqa_engine.worker.exit import WIRE_LOST, Ending, classify
from vqa_engine.worker.messages import Vitals

SAID = [
    ("[metal::malloc] Attempting to allocate 9 bytes which is greater than the maximum "
     "allowed buffer size of 8 bytes.", "too_big"),
    ("RuntimeError: [metal::malloc] Resource limit (499000) exceeded.", "handle_limit"),
    ("[METAL] Command buffer execution failed: Impacting Interactivity "
     "(0000000e:kIOGPUCommandBufferCallbackErrorImpactingInteractivity)", "watchdog"),
    ("Caused GPU Timeout Error (00000002:kIOGPUCommandBufferCallbackErrorTimeout)", "watchdog"),
    ("libc++abi: terminating: [METAL] Insufficient Memory "
     "(00000008:kIOGPUCommandBufferCallbackErrorOutOfMemory)", "out_of_memory"),
    ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB.", "out_of_memory"),
    ("RuntimeError: CUDA error: out of memory", "out_of_memory"),
    ("MPS backend out of memory (MPS allocated: 18 GB)", "out_of_memory"),
    ("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.",
     "out_of_memory"),
    ("terminate called after throwing an instance of 'std::bad_alloc'", "out_of_memory"),
    ("RuntimeError: [malloc] Unable to allocate 68719476736 bytes.", "out_of_memory"),
    ("MemoryError", "out_of_memory"),
    ("numpy._core._exceptions._ArrayMemoryError: Unable to allocate 3.0 GiB for an array",
     "out_of_memory"),
    ("RuntimeError: CUDA error: an illegal memory access was encountered", "backend"),
    ("RuntimeError: Invalid buffer size: 12.00 GiB", "too_big"),
    ("RuntimeError: CUDA driver error: out of memory", "out_of_memory"),
    ("RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
     "out_of_memory"),
    ("RuntimeError: There is no Stream(gpu, 0) in current thread.", "backend"),
]  # fmt: skip

NOT_SAID = [
    "request Timeout while waiting for a lock",
    "it ran out of memory of better days",
    "resource limits: none",
    "",
]

FULL = Vitals(address_space=900 << 20, limit=1 << 30)
ROOM = Vitals(address_space=100 << 20, limit=1 << 30)


@pytest.mark.parametrize(("text", "cause"), SAID)
@pytest.mark.parametrize("code", [-signal.SIGABRT, -signal.SIGSEGV, 1])
def test_words_tell(text: str, cause: Cause, code: int) -> None:
    verdict = classify(Ending(code=code, said=f"noise\n{text}\nmore noise"))
    assert verdict.cause == cause
    assert text[:40] in verdict.message


@pytest.mark.parametrize("text", NOT_SAID)
def test_other_words_do_not(text: str) -> None:
    assert cause_of(text) is None


def test_every_cause_is_tried_by_a_text() -> None:
    assert set(get_args(TextCause)) == {cause for _, cause in SAID}


NUMBERS = [
    (Ending(code=-9), "killed", "jetsam"),
    (Ending(code=-9, kills=OomKills(group=1, system=1)), "out_of_memory", "control group"),
    (Ending(code=-9, kills=OomKills(system=1)), "out_of_memory", "probably"),
    (Ending(code=-15), "killed", "SIGTERM"),
    (Ending(code=143), "killed", "asked from outside"),
    (Ending(code=-11), "crashed", "SIGSEGV"),
    (Ending(code=-11, vitals=FULL), "out_of_memory", "probably ran out of memory"),
    (Ending(code=-6, vitals=FULL), "out_of_memory", "900 MiB of the 1024 MiB"),
    (Ending(code=-11, vitals=ROOM), "crashed", "SIGSEGV"),
    (Ending(code=-15, vitals=FULL), "killed", "SIGTERM"),
    (Ending(code=-6), "crashed", "SIGABRT"),
    (Ending(code=-60), "crashed", "signal 60"),
    (Ending(code=0), "exited", "exit code 0"),
    (Ending(code=3), "exited", "exit code 3"),
    (Ending(code=0, said="MemoryError"), "exited", "exit code 0"),
    (Ending(code=1, said="Traceback (most recent call last):\n  x\nKeyError: 1"), "python",
     "KeyError: 1"),
    (Ending(code=WIRE_LOST), "adapter", "closed file descriptors"),
    (Ending(code=-9, lost="wrote to file descriptors"), "adapter", "wrote to file descriptors"),
    (Ending(code=-9, waited=120.0), "hung", "within 120 s"),
    (Ending(code=-11, waited=0.5, said="MemoryError", vitals=FULL), "hung", "within 0.5 s"),
]  # fmt: skip


@pytest.mark.parametrize(("ending", "cause", "words"), NUMBERS)
def test_numbers_tell(ending: Ending, cause: Cause, words: str) -> None:
    verdict = classify(ending)
    assert verdict.cause == cause
    assert words in verdict.message


def test_every_message_is_one_sentence_or_two() -> None:
    for ending, _, _ in NUMBERS:
        assert classify(ending).message.count("\n") == 0


def test_the_counters_never_go_back() -> None:
    before = oom_kills()
    after = oom_kills().since(before)
    assert (after.group, after.system) >= (0, 0)


def test_vitals_of_this_process() -> None:
    now = vitals()
    assert now.address_space is None or now.address_space > 1 << 20
