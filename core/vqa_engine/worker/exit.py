"""Why a worker died: its words, then numbers, then the bare signal.

Each verdict is one sentence, and says "probably" where the evidence is indirect.
"""

from __future__ import annotations

import signal

from attrs import field, frozen

from vqa_engine.failures import named
from vqa_engine.memory.backend import TextCause
from vqa_engine.results import Cause
from vqa_engine.worker.evidence import OomKills
from vqa_engine.worker.messages import Vitals

WIRE_LOST = 113
"""The child's exit code when it finds its end of the wire closed by somebody else."""

_NEAR_LIMIT = 0.5
"""A share of RLIMIT_AS. The size is that of the last answered question, and the peak of
the next may be as much again; a worker below it was far from its limit."""

_MEANINGS: dict[Cause, str] = {
    "out_of_memory": "The worker ran out of memory",
    "too_big": "The image or the plan needs a single buffer larger than the device allows",
    "handle_limit": "The worker ran out of buffer handles",
    "watchdog": "The GPU's watchdog stopped a step that took too long",
    "backend": "The device failed under the worker",
}

_FAULTS = tuple(
    getattr(signal, name) for name in ("SIGSEGV", "SIGABRT", "SIGBUS", "SIGTRAP", "SIGILL")
)
"""What a failed allocation in native code ends in: SIGSEGV on MLX's CPU backend, SIGABRT
for an uncaught C++ exception on Metal, SIGTRAP or SIGILL from a compiler's trap."""


@frozen(kw_only=True)
class Ending:
    """All that is known of a dead worker.

    `code` is its return code, negative for a signal. `said` is what it printed since the
    question began, `named` the cause that another interpreter reads in that, and its line.
    `waited` is the seconds after which it was ended for not answering, None if it was not.
    `lost` is what the adapter did to the wire, `nonsense` what was wrong with a message.
    `kills` are the kernel's out-of-memory kills since it started, `vitals` its last reported
    size.
    """

    code: int
    said: str = ""
    named: tuple[TextCause, str] | None = None
    waited: float | None = None
    lost: str = ""
    nonsense: str = ""
    kills: OomKills = field(factory=OomKills)
    vitals: Vitals = field(factory=Vitals)


@frozen
class Verdict:
    """The cause of a death, and one sentence about it."""

    cause: Cause
    message: str


def classify(ending: Ending) -> Verdict:
    """The verdict: our own doing first, then words, then numbers, then the bare signal."""
    return (
        _ended_by_us(ending)
        or _by_text(ending)
        or _by_kernel(ending)
        or _by_limit(ending)
        or _by_signal(ending)
        or _by_code(ending)
    )


def _ended_by_us(ending: Ending) -> Verdict | None:
    if ending.waited is not None:
        return Verdict(
            "hung", f"The worker did not answer within {ending.waited:g} s and was ended."
        )
    if ending.nonsense:
        return Verdict(
            "adapter", f"The worker was ended because it made no sense: {ending.nonsense}."
        )
    if ending.lost or ending.code == WIRE_LOST:
        did = ending.lost or "closed file descriptors"
        return Verdict(
            "adapter",
            f"The worker lost its connection to the engine: its code {did} that are not its own.",
        )
    return None


def _by_text(ending: Ending) -> Verdict | None:
    found = (ending.named or named(ending.said)) if ending.code else None
    if found is None:
        return None
    cause, line = found
    return Verdict(cause, f"{_MEANINGS[cause]} ({_how(ending.code)}): {line}")


def _by_kernel(ending: Ending) -> Verdict | None:
    if ending.code != -signal.SIGKILL:
        return None
    if ending.kills.group > 0:
        return Verdict(
            "out_of_memory",
            "The worker ran out of memory: the kernel's out-of-memory killer ended it (SIGKILL; "
            "its control group counts one more such kill).",
        )
    if ending.kills.system > 0:
        return Verdict(
            "out_of_memory",
            "The worker probably ran out of memory: it was killed (SIGKILL) while the kernel's "
            "out-of-memory killer was at work on this machine.",
        )
    return None


def _by_limit(ending: Ending) -> Verdict | None:
    size, limit = ending.vitals.address_space, ending.vitals.limit
    if -ending.code not in _FAULTS or not size or not limit or size < _NEAR_LIMIT * limit:
        return None
    return Verdict(
        "out_of_memory",
        f"The worker probably ran out of memory ({_how(ending.code)}): it had taken "
        f"{size >> 20} MiB of the {limit >> 20} MiB that RLIMIT_AS allows.",
    )


def _by_signal(ending: Ending) -> Verdict | None:
    if ending.code in (-signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP):
        hint = (
            " It may have been the system's answer to too little memory "
            "(jetsam, the out-of-memory killer)."
            if ending.code == -signal.SIGKILL
            else ""
        )
        return Verdict("killed", f"The worker was killed from outside ({_how(ending.code)}).{hint}")
    if ending.code < 0:
        return Verdict("crashed", f"The worker crashed in native code ({_how(ending.code)}).")
    return None


def _by_code(ending: Ending) -> Verdict:
    if ending.code == 128 + signal.SIGTERM:
        return Verdict("killed", "The worker was asked from outside to end (SIGTERM).")
    if ending.code and "Traceback (most recent call last)" in ending.said:
        return Verdict("python", f"The worker ended with an exception: {_last(ending.said)}")
    return Verdict(
        "exited",
        f"The worker ended itself with exit code {ending.code}: "
        "its code called sys.exit or os._exit.",
    )


def _how(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


def _last(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else ""
