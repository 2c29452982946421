"""The host's side: starts the child, and reads findings until it has all of them."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable

from vqa_engine.errors import WorkerError
from vqa_engine.plugins.probe.finding import Finding, Job, Wanted, decode_finding, encode

LONGEST = 20.0
"""Seconds until an import counts as hung; on an idle machine a healthy one takes 0.1."""


def probe(
    wanted: Iterable[Wanted], *, longest: float = LONGEST, bind: bool = False
) -> list[Finding]:
    """Try each plugin, and say what came of it, in the order asked for.

    Raises:
        WorkerError: the child itself could not run.
    """
    asked = tuple(wanted)
    path = tuple(entry or os.getcwd() for entry in sys.path)  # noqa: PTH109  a str is wanted
    findings = _run(Job(wanted=asked, path=path, longest=longest, bind=bind)) if asked else []
    found = {finding.number: finding for finding in findings}
    return [found[one.number] for one in asked]


def _run(job: Job) -> list[Finding]:
    reader, writer = os.pipe()
    with tempfile.TemporaryFile() as said, os.fdopen(reader, "rb") as results:
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", "vqa_engine.plugins.probe.child", str(writer)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=said,
            pass_fds=(writer,),
            env={**os.environ, "PYTHONPATH": os.pathsep.join(job.path)},
        )
        os.close(writer)
        try:
            assert child.stdin is not None
            with child.stdin as stdin:
                stdin.write(encode(job))
            findings = [decode_finding(line) for line in results]
        finally:
            child.terminate()  # it ends what it forked
            child.wait()
        if len(findings) < len(job.wanted):
            said.seek(0)
            raise _failed(said.read().decode("utf-8", "replace").strip())
    return findings


def _failed(said: str) -> WorkerError:
    last = said.splitlines()[-1] if said else "it said nothing"
    return WorkerError(
        f"The process that tries plugins ended too early: {last}",
        label="probe",
        cause="exited",
        detail=said,
    )
