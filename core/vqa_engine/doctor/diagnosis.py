"""What this machine offers a model: backends, devices, limits, cache, interpreter.

Asking a backend means importing it, so `diagnose` does it in another process; that may be
another interpreter, where a worker will run.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from attrs import frozen

from vqa_engine.errors import BackendError
from vqa_engine.interpreter import Interpreter, say
from vqa_engine.memory import backends
from vqa_engine.memory.budget import budget, shown
from vqa_engine.memory.gauges import System
from vqa_engine.runs import manifest

LONGEST = 180
"""Seconds that a diagnosis may take; the first import of torch on a cold disk takes 60."""


@frozen(kw_only=True)
class BackendFacts:
    """One backend as it is here: its device, and what it may hold.

    `error` is why it cannot be used; then the rest is empty.
    """

    name: str
    device: str = ""
    budget: str = ""
    error: str = ""


@frozen(kw_only=True)
class Diagnosis:
    """One interpreter on this machine. `left` is what the system leaves, in words."""

    python: str
    executable: str
    vqa_engine: str
    system: str
    cores: int
    left: str
    libraries: Mapping[str, str]
    backends: tuple[BackendFacts, ...]
    hub_cache: str
    hub_state: str


def diagnose(interpreter: Interpreter) -> Diagnosis:
    """The diagnosis of an interpreter; takes seconds.

    Raises:
        InterpreterError: it cannot be started, or has no vqa-engine of this version.
    """
    return interpreter.ask("vqa_engine.doctor.diagnosis", kind=Diagnosis, longest=LONGEST)


def here() -> Diagnosis:
    """The diagnosis of this very process, which imports every backend that is installed."""
    version, python = manifest.environment()
    cache = hub_cache()
    return Diagnosis(
        python=python,
        executable=sys.executable,
        vqa_engine=version,
        system=f"{platform.system()} {platform.release()} ({platform.machine()})",
        cores=len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count() or 1,
        left=_left(),
        libraries=manifest.libraries(),
        backends=_backends(),
        hub_cache=str(cache),
        hub_state=_hub_state(cache),
    )


def hub_cache() -> Path:
    """Where checkpoints from the hub are kept (huggingface_hub, "Environment variables")."""
    home = (
        os.environ.get("HF_HOME") or os.environ.get("XDG_CACHE_HOME", "~/.cache") + "/huggingface"
    )
    return Path(os.environ.get("HF_HUB_CACHE") or f"{home}/hub").expanduser()


def _left() -> str:
    figure = System().left()
    return f"{shown(figure.bytes)} ({figure.name or figure.missing})"


def _backends() -> tuple[BackendFacts, ...]:
    """Every backend that has a library, a broken one with its reason."""
    found = (_backend(name) for name in backends.installed())
    return tuple(one for one in found if one is not None)


def _backend(name: str) -> BackendFacts | None:
    try:
        library = backends.load(name).library
        if not library.module:
            return None
        if not library.is_installed:
            error = f"not installed: pip install '{library.requirement}'"
            return BackendFacts(name=name, error=error)
        made = backends.backend(name)
    except BackendError as error:
        return BackendFacts(name=name, error=str(error))
    return BackendFacts(name=name, device=made.describe(), budget=str(budget(made, System())))


def _hub_state(cache: Path) -> str:
    if not cache.is_dir():
        return "not there yet: the first download makes it"
    models = sum(1 for one in cache.iterdir() if one.name.startswith("models--"))
    return f"{models} checkpoints, {shown(shutil.disk_usage(cache).free)} free"


if __name__ == "__main__":
    say(here())
