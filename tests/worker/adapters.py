"""Adapters that misbehave, each in one way. They run in a worker, never in the tests.

A question's text may be a command: `BAD` on its own, or before something to say.
"""

from __future__ import annotations

import atexit
import ctypes
import importlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from vqa_engine.adapter import (
    Answer,
    GenerationPlan,
    MemoryProfile,
    ModelRef,
    Question,
    Transfer,
)
from vqa_engine.errors import (
    AnswerError,
    BackendError,
    CheckpointError,
    OutOfMemory,
    VqaEngineError,
)
from vqa_engine.images import open_image
from vqa_engine.memory.strategies import RecycleWorker

BAD = "bad"


class Echo:
    """Says what it was asked, and behaves well unless a subclass does not."""

    options: dict[str, Any]

    def load(self, model: ModelRef) -> None:
        self.options = dict(model.options)

    def answer(self, question: Question, plan: GenerationPlan) -> Answer:
        if question.text.startswith(BAD):
            self.misbehave(question, plan)
        return Answer(text=f"{question.text}!", plan=plan)

    def release(self) -> None:
        """Nothing is held."""

    def memory_profile(self) -> MemoryProfile:
        return MemoryProfile()

    def misbehave(self, question: Question, plan: GenerationPlan) -> None:
        """What `bad` questions do."""


class Looks(Echo):
    """Says what it sees of the image and of the question."""

    def answer(self, question: Question, plan: GenerationPlan) -> Answer:
        picture = open_image(question)
        colour = picture.getpixel((0, 0))
        facts = (question.question_id, question.choices, question.image_root)
        kind = next(k.__name__ for k in (Path, bytes, object) if isinstance(question.image, k))
        return Answer(text=f"{kind} {picture.size} {colour} {facts}", plan=plan)


class Moves(Echo):
    """Works in another folder than it was started in."""

    def load(self, model: ModelRef) -> None:
        super().load(model)
        os.chdir("/")

    def answer(self, question: Question, plan: GenerationPlan) -> Answer:
        return Answer(text=f"{open_image(question).size}", plan=plan)


class ReadsText(Echo):
    """Says what a file holds, as runtimes read the files of a checkpoint."""

    def answer(self, question: Question, plan: GenerationPlan) -> Answer:
        return Answer(text=Path(question.text).read_text(), plan=plan)


class Remembers(Echo):
    """Says whether the image is the very object of the last question."""

    last: object = None

    def answer(self, question: Question, plan: GenerationPlan) -> Answer:
        same, self.last = self.last is question.image, question.image
        return Answer(text=str(same), plan=plan)


class WherePlan(Echo):
    """Says under which pid and on which thread it answers."""

    def answer(self, question: Question, plan: GenerationPlan) -> Answer:
        thread = threading.current_thread() is threading.main_thread()
        return Answer(text=f"{os.getpid()} {thread} {sys.executable}", plan=plan)


class OnMlx(Echo):
    """Says that its model is MLX's, so that the governor reads MLX."""

    def memory_profile(self) -> MemoryProfile:
        return MemoryProfile(backend="mlx")


class Depends(Echo):
    """Says which version of a package it found."""

    def answer(self, question: Question, plan: GenerationPlan) -> Answer:
        return Answer(text=str(importlib.import_module("dependency").VERSION), plan=plan)


class Spied(Echo):
    """Says everything that it is given beside the image and the text."""

    def answer(self, question: Question, plan: GenerationPlan) -> Answer:
        facts = question.answers, question.image_id, question.question_type, question.answer_type
        return Answer(text=str(facts), plan=plan)


class Together(WherePlan):
    """Answers up to four questions together, and says how many; `bad` ones misbehave.

    A question `wrong` gets an answer that fits no record, `raise` an error of its own, and
    `recover` one that another try may cure.
    """

    size = 4

    def batch_size(self, upcoming: Sequence[Question], plan: GenerationPlan) -> int:
        return min(self.size, len(upcoming))

    def answer_batch(
        self, questions: Sequence[Question], plan: GenerationPlan, following: Question | None
    ) -> Sequence[Answer | VqaEngineError]:
        return [self.one(question, plan, len(questions)) for question in questions]

    def one(self, question: Question, plan: GenerationPlan, size: int) -> Answer | VqaEngineError:
        if question.text == "raise":
            return AnswerError("beyond me", cause="adapter")
        if question.text == "wrong":
            return Answer(text=None, plan=plan)  # type: ignore[arg-type]
        if question.text == "recover" and size > 1:
            return OutOfMemory("not beside others")
        if question.text.startswith(BAD):
            self.misbehave(question, plan)
        return Answer(text=f"{question.text} {size} {os.getpid()}", plan=plan)


class TogetherDies(Together):
    def misbehave(self, question: Question, plan: GenerationPlan) -> None:
        os.abort()


class TogetherHangs(Together):
    def misbehave(self, question: Question, plan: GenerationPlan) -> None:
        time.sleep(3600)


class TogetherSlow(Together):
    """Takes half a second for each question of a batch."""

    def one(self, question: Question, plan: GenerationPlan, size: int) -> Answer | VqaEngineError:
        time.sleep(0.5)
        return super().one(question, plan, size)


class TogetherRecycled(Together):
    """Wants a fresh process after every six questions."""

    def memory_profile(self) -> MemoryProfile:
        return MemoryProfile(strategies=(RecycleWorker(after=6),))


class TogetherRunsOut(Together):
    """Has no memory for more than one at a time."""

    def answer_batch(
        self, questions: Sequence[Question], plan: GenerationPlan, following: Question | None
    ) -> Sequence[Answer | VqaEngineError]:
        if len(questions) > 1:
            raise OutOfMemory("too many at once")
        return super().answer_batch(questions, plan, following)


class TogetherDeviceFails(Together):
    """A device error of `bad`, which a fresh process cures: it counts its processes."""

    def misbehave(self, question: Question, plan: GenerationPlan) -> None:
        count = Path(self.options["count"])
        number = int(count.read_text()) if count.exists() else 0
        count.write_text(str(number + 1))
        if number < 1:
            raise BackendError("mlx.core.eval", "the device is lost")


class Recycled(WherePlan):
    """Wants a fresh process after every two questions."""

    def memory_profile(self) -> MemoryProfile:
        return MemoryProfile(strategies=(RecycleWorker(after=2),))


class Aborts(Echo):
    def misbehave(self, question: Question, plan: GenerationPlan) -> None:
        os.abort()


class AbortsOnMetal(Echo):
    """Dies the way MLX before 0.32 does (mlx #3186)."""

    def misbehave(self, question: Question, plan: GenerationPlan) -> None:
        os.write(
            2,
            b"libc++abi: terminating due to uncaught exception of type std::runtime_error: "
            b"[METAL] Command buffer execution failed: Insufficient Memory "
            b"(00000008:kIOGPUCommandBufferCallbackErrorOutOfMemory)\n",
        )
        os.abort()


class SpeaksAndAborts(Echo):
    def misbehave(self, question: Question, plan: GenerationPlan) -> None:
        os.write(2, question.text.removeprefix(BAD).encode())
        os.abort()


class Segfaults(Echo):
    def misbehave(self, question: Question, plan: GenerationPlan) -> None:
        ctypes.string_at(8)


class ExitsSystem(Echo):
    def misbehave(self, question: Question, plan: GenerationPlan) -> None:
        sys.exit(0)


class ExitsHard(Echo):
    def misbehave(self, question: Question, plan: GenerationPlan) -> None:
        os._exit(0)


class KillsItself(Echo):
    def misbehave(self, question: Question, plan: GenerationPlan) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


class Raises(Echo):
    def misbehave(self, question: Question, plan: GenerationPlan) -> None:
        raise KeyError("no such thing")


class RaisesBase(Echo):
    def misbehave(self, question: Question, plan: GenerationPlan) -> None:
        raise BaseException("not even an Exception")


class RunsOut(Echo):
    """Out of memory in words, until the plan is cheap enough."""

    def misbehave(self, question: Question, plan: GenerationPlan) -> None:
        if (plan.prefill_step or 2048) > 32:
            raise OutOfMemory(f"it needs more than there is, at step {plan.prefill_step}")


class TooBig(Echo):
    def misbehave(self, question: Question, plan: GenerationPlan) -> None:
        raise RuntimeError(
            "[metal::malloc] Attempting to allocate 37 bytes which is greater than the "
            "maximum allowed buffer size of 27 bytes."
        )


class DeviceFails(Echo):
    def misbehave(self, question: Question, plan: GenerationPlan) -> None:
        raise BackendError("mlx.core.eval", "the device is lost")


class HangsInLoad(Echo):
    def load(self, model: ModelRef) -> None:
        time.sleep(3600)


class HangsInAnswer(Echo):
    def misbehave(self, question: Question, plan: GenerationPlan) -> None:
        time.sleep(3600)


class SpinsInNativeCode(Echo):
    """Holds the interpreter's lock for ever and ignores SIGTERM."""

    def load(self, model: ModelRef) -> None:
        super().load(model)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)

    def misbehave(self, question: Question, plan: GenerationPlan) -> None:
        ctypes.PyDLL(None).sleep(3600)


class Noisy(Echo):
    """Four megabytes of rubbish to both streams, and to descriptor 1 itself."""

    def misbehave(self, question: Question, plan: GenerationPlan) -> None:
        for _ in range(32):
            sys.stdout.write("rubbish " * 8192)
            sys.stderr.write("\x00\xff" * 32768)
            os.write(1, b"VQAE\x00\x00\x00\x02xx" * 6553)


class Forks(Echo):
    """Forks a process that goes on for ever, and one that comes back as if it were us."""

    def misbehave(self, question: Question, plan: GenerationPlan) -> None:
        if os.fork() == 0:
            time.sleep(3600)
        os.fork()


class Daemonises(Echo):
    """Leaves a process behind in a session of its own, with another parent, and dies."""

    def misbehave(self, question: Question, plan: GenerationPlan) -> None:
        subprocess.run(
            [sys.executable, "-S", "-c", "import os,time; os.fork() and os._exit(0); "
             "os.setsid(); time.sleep(3600)"],
            check=True,
        )  # fmt: skip
        if question.text == "bad and deadly":
            os.abort()


class ForksAndDies(Echo):
    def misbehave(self, question: Question, plan: GenerationPlan) -> None:
        if os.fork() == 0:
            time.sleep(3600)
        os.abort()


class ClosesDescriptors(Echo):
    def misbehave(self, question: Question, plan: GenerationPlan) -> None:
        os.closerange(0, os.sysconf("SC_OPEN_MAX"))


class ClosesLowDescriptors(Echo):
    def misbehave(self, question: Question, plan: GenerationPlan) -> None:
        os.closerange(0, 256)


class ClosesAndHangs(Echo):
    def misbehave(self, question: Question, plan: GenerationPlan) -> None:
        os.closerange(0, os.sysconf("SC_OPEN_MAX"))
        time.sleep(3600)


class Outlived(Echo):
    """Starts a program that would outlive it, deaf to SIGTERM."""

    def load(self, model: ModelRef) -> None:
        super().load(model)
        subprocess.Popen(["sh", "-c", "trap '' TERM; sleep 3600 & wait; sleep 3600"])

    def misbehave(self, question: Question, plan: GenerationPlan) -> None:
        os.abort()


class OutlivedWhileBusy(Outlived):
    def misbehave(self, question: Question, plan: GenerationPlan) -> None:
        time.sleep(3600)


class DiesInLoad(Echo):
    def load(self, model: ModelRef) -> None:
        os.abort()


class DiesInLaterLoads(Echo):
    """The first load writes a marker; a load that finds it dies."""

    def load(self, model: ModelRef) -> None:
        marker = Path(model.options["marker"])
        if marker.exists():
            os.abort()
        marker.touch()

    def misbehave(self, question: Question, plan: GenerationPlan) -> None:
        os.abort()


class KilledInLoad(Echo):
    """Is killed from outside while it loads, as often as asked."""

    def load(self, model: ModelRef) -> None:
        count = Path(model.options["count"])
        number = int(count.read_text()) if count.exists() else 0
        count.write_text(str(number + 1))
        if number < model.options["times"]:
            os.kill(os.getpid(), signal.SIGKILL)


class RaisesInLoad(Echo):
    def load(self, model: ModelRef) -> None:
        raise CheckpointError("owner/name", ["here", "there"], "no such file", "Download it.")


class RunsOutInLoad(Echo):
    def load(self, model: ModelRef) -> None:
        raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB.")


class ForgetsThread(Echo):
    """Leaves a thread that would hold up the end of the interpreter, and an atexit call."""

    def load(self, model: ModelRef) -> None:
        super().load(model)
        threading.Thread(target=time.sleep, args=(3600,)).start()
        atexit.register(Path(self.options["marker"]).touch)


class CannotRelease(Echo):
    def release(self) -> None:
        raise RuntimeError("I will not")


class HangsInRelease(Echo):
    def release(self) -> None:
        time.sleep(3600)


class Fetches(Echo):
    """Its checkpoint takes longer to come than a load may take, a bit at a time."""

    def fetch(self, model: ModelRef, report: Callable[[Transfer], None]) -> None:
        for done in range(11):
            report(Transfer(name="owner/slow", folder="/cache", done=done, total=10, free=99))
            time.sleep(model.options["seconds"] / 10)


class WrongRecord(Echo):
    def answer(self, question: Question, plan: GenerationPlan) -> Answer:
        return Answer(text=None, plan=plan)  # type: ignore[arg-type]


class NumpyNumbers(Echo):
    def answer(self, question: Question, plan: GenerationPlan) -> Answer:
        import numpy

        ids = tuple(numpy.arange(3, dtype=numpy.int32))
        # The point: they only look like Python's.
        return Answer(text="numbers", plan=plan, token_ids=ids)  # type: ignore[arg-type]


class Leaks(Echo):
    """A real MLX leak under a real RLIMIT_AS: each question keeps 8 MiB of arrays.

    It calls itself an adapter without a backend, or the governor would see it coming.
    """

    def load(self, model: ModelRef) -> None:
        import resource

        import mlx.core as mx

        self._kept: list[object] = []
        self._mx = mx
        mx.eval(mx.ones((256, 256)) @ mx.ones((256, 256)))
        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        limit = size + model.options["room"]
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

    def answer(self, question: Question, plan: GenerationPlan) -> Answer:
        array = self._mx.ones((1024, 2048)) * len(self._kept)
        self._mx.eval(array)
        self._kept.append(array)
        return Answer(text=question.text, plan=plan)
