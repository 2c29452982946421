"""A worker never outlives its host, however the host ends and whatever the worker does."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from time import monotonic, sleep

import psutil
import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
BOUND = 20.0

NO_KERNEL_HELP = """
import fcntl, os, subprocess, sys, time
if hasattr(fcntl, "F_SETSIG"):
    del fcntl.F_SETSIG
from vqa_engine.worker import guard
guard.follow(int(sys.argv[1]))
subprocess.Popen(["sleep", "3600"])
print(os.getpid(), flush=True)
time.sleep(3600)
"""


def start(*arguments: str) -> tuple[subprocess.Popen[str], int]:
    """A host, and its worker's number: that may have ended already."""
    command = [sys.executable, "-m", "tests.worker.host", *arguments]
    host = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert host.stdout is not None
    with host.stdout:
        return host, int(host.stdout.readline())


def await_end(pid: int) -> None:
    until = monotonic() + BOUND
    while lives(pid):
        assert monotonic() < until, f"{pid} still lives"
        sleep(0.02)


def lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize(
    "adapter", ["Echo", "HangsInAnswer", "SpinsInNativeCode", "OutlivedWhileBusy"]
)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_the_worker_ends_with_its_host(adapter: str, number: signal.Signals) -> None:
    host, worker = start(adapter)
    host.send_signal(number)
    host.wait(BOUND + 10)
    await_end(worker)


def test_a_host_that_forgets_to_release_leaves_nobody() -> None:
    host, worker = start("Outlived", "leave")
    assert host.wait(BOUND) == 0
    await_end(worker)


def test_without_the_kernels_help_a_thread_does_it() -> None:
    import os

    reader, writer = os.pipe()
    command = [sys.executable, "-c", NO_KERNEL_HELP, str(reader)]
    child = subprocess.Popen(
        command, pass_fds=[reader], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    os.close(reader)
    assert child.stdout is not None
    with child.stdout:
        assert child.stdout.readline()
    assert child.poll() is None
    os.close(writer)
    assert child.wait(BOUND) == -signal.SIGTERM
