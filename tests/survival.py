"""A run under random SIGKILLs of its worker and its host, for the test and the benchmark."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
from attrs import define

from tests.fakes import Instant
from vqa_engine import Answer, Engine, GenerationPlan, Observer, Progress, Question, Row
from vqa_engine.runs.journal import FILE, Journal

PAUSE = 0.004
"""Seconds an answer takes, so that a kill mostly finds a question in flight."""


class Steady(Instant):
    """Answers with a text that only the question decides, after a moment."""

    def answer(self, question: Question, plan: GenerationPlan) -> Answer:
        time.sleep(PAUSE)
        return Answer(text=f"answer {question.question_id}", plan=plan)


class Telling(Observer):
    """Prints each id as its row is recorded."""

    def answered(self, row: Row, progress: Progress) -> None:
        sys.stdout.write(f"{row.question.question_id}\n")
        sys.stdout.flush()


@define
class Account:
    """What was done to a run: kills of each kind, hosts that were needed, seconds."""

    workers: int = 0
    hosts: int = 0
    starts: int = 0
    seconds: float = 0.0

    @property
    def kills(self) -> int:
        return self.workers + self.hosts


def host(directory: Path, count: int) -> None:
    """The host's whole program: run, or continue, the same run."""
    asked = [
        Question(question_id=number, image=b"", text="?", answers=("x",)) for number in range(count)
    ]
    with Engine(adapters=[Steady], observer=Telling()) as engine:
        engine.run(asked, directory)


def torment(directory: Path, *, count: int, kills: int, seed: int) -> Account:
    """Run to the end while killing worker or host at random, `kills` times in all.

    A kill comes only after a row was recorded since the last, so that the run moves on.
    """
    chance, account, began = random.Random(seed), Account(), time.monotonic()
    while True:
        account.starts += 1
        if _one_host(directory, count, kills, chance, account):
            account.seconds = time.monotonic() - began
            return account


def _one_host(
    directory: Path, count: int, kills: int, chance: random.Random, account: Account
) -> bool:
    """Start a host and torment it; True when it came to the end by itself."""
    code = "import sys; from pathlib import Path; from tests.survival import host\n"
    code += "host(Path(sys.argv[1]), int(sys.argv[2]))"
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(directory), str(count)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    with process.stdout as lines:
        for _ in lines:
            if account.kills >= kills or chance.random() > 0.5:
                continue
            time.sleep(chance.random() * PAUSE)
            if chance.random() < 0.5:
                account.workers += _kill_worker(process.pid)
            else:
                account.hosts += 1
                process.kill()
                break
    exit_code = process.wait()
    assert exit_code in (0, -signal.SIGKILL), "the host ended in an error of its own"
    return exit_code == 0


def _kill_worker(pid: int) -> int:
    """SIGKILL the host's child; 0 when there is none at the moment."""
    try:
        children = psutil.Process(pid).children()
        for child in children[:1]:
            os.kill(child.pid, signal.SIGKILL)
    except (psutil.NoSuchProcess, ProcessLookupError):
        return 0
    return len(children[:1])


def recorded(directory: Path) -> list[tuple[int | str, str | None]]:
    """(id, text) of every row of the run."""
    journal = Journal(directory / FILE)
    try:
        return [
            (row.question.question_id, row.answer.text if row.answer else None)
            for row in journal.rows()
        ]
    finally:
        journal.close()
