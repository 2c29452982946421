"""What one interpreter on this machine offers a model: backends, limits, libraries, cache."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from attrs import frozen

from vqa_engine.errors import BackendError, InterpreterError
from vqa_engine.files import hub_cache
from vqa_engine.interpreter import Interpreter, say
from vqa_engine.memory import backends
from vqa_engine.memory.budget import budget, shown
from vqa_engine.memory.gauges import System
from vqa_engine.runs import manifest, provenance

_MODULE = "vqa_engine.doctor.machine"  # this one, which also runs as a program

LONGEST = 180
"""Seconds that an inspection may take; the first import of torch on a cold disk takes 60."""


@frozen(kw_only=True)
class BackendFacts:
    """One memory backend: its device and its budget, or why it cannot be used.

    `absent` says how to install its library, which need not be there; `error` is a fault.
    """

    name: str
    device: str = ""
    budget: str = ""
    absent: str = ""
    error: str = ""


@frozen(kw_only=True)
class Machine:
    """One interpreter on this machine. `available` is memory that is free now, in words."""

    python: str
    executable: str
    vqa_engine: str
    system: str
    cores: int
    available: str
    libraries: Mapping[str, str]
    backends: tuple[BackendFacts, ...]
    hub_cache: str
    hub_state: str


def inspect(interpreter: Interpreter) -> Machine:
    """What an interpreter offers; it imports every backend that is installed, for seconds.

    Raises:
        InterpreterError: it cannot be started, or has no vqa-engine of this version.
    """
    return interpreter.ask(__name__, kind=Machine, longest=LONGEST)


def _here() -> Machine:
    version, python = manifest.environment()
    cache, free = hub_cache(), System().left()
    return Machine(
        python=python,
        executable=sys.executable,
        vqa_engine=version,
        system=f"{platform.system()} {platform.release()} ({platform.machine()})",
        cores=_cores(),
        available=f"{shown(free.bytes)} ({free.name or free.missing})",
        libraries=provenance.libraries(),
        backends=tuple(_backends()),
        hub_cache=str(cache),
        hub_state=_hub_state(cache),
    )


def _cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)  # Linux only
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _backends() -> Iterator[BackendFacts]:
    """Every backend that has a library; one that cannot be imported is a plugin's fault."""
    own = backends.own()
    for name, library in backends.libraries().items():
        if not library.is_installed:
            yield BackendFacts(name=name, absent=f"pip install '{library.requirement}'")
        elif library.module:
            yield _backend(name) if name in own else _asked(name)


def _asked(name: str) -> BackendFacts:
    """Another package's backend, in a process of its own."""
    try:
        return Interpreter.of(name).ask(_MODULE, name, kind=BackendFacts, longest=LONGEST / 3)
    except InterpreterError:
        return BackendFacts(name=name, error="using it ended or stopped the process that tried it")


def _backend(name: str) -> BackendFacts:
    try:
        made = backends.backend(name)
    except BackendError as error:
        return BackendFacts(name=name, error=str(error))
    return BackendFacts(name=name, device=made.describe(), budget=str(budget(made, System())))


def _hub_state(cache: Path) -> str:
    if not cache.is_dir():
        return "not created yet"
    models = sum(1 for one in cache.iterdir() if one.name.startswith("models--"))
    free = shown(shutil.disk_usage(cache).free)
    return f"{models} checkpoint{'s' * (models != 1)}, {free} free"


if __name__ == "__main__":
    say(_backend(sys.argv[1]) if len(sys.argv) > 1 else _here())
