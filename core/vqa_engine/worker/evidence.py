"""What can be read about memory around a death; all of it is best effort, and Linux first.

The kernel tells nobody why it sent SIGKILL, and a failed allocation in native code is
just a SIGSEGV. So the child reports its size after each question, and the host watches
the kernel's counters of out-of-memory kills.
"""

from __future__ import annotations

import resource
from pathlib import Path

from attrs import frozen

from vqa_engine.worker.messages import Vitals

_STATM = Path("/proc/self/statm")  # proc(5): sizes in pages, the first is the address space
_CGROUPS = Path("/proc/self/cgroup")
_MOUNT = Path("/sys/fs/cgroup")
_VMSTAT = Path("/proc/vmstat")


@frozen(kw_only=True)
class OomKills:
    """How many processes the kernel has ended for want of memory.

    `group` counts this process's control group (`memory.events` in version 2,
    `memory.oom_control` in version 1), `system` the whole machine (`/proc/vmstat`).
    0 where it cannot be read, which is everywhere but on Linux.
    """

    group: int = 0
    system: int = 0

    def since(self, before: OomKills) -> OomKills:
        """The kills that came after `before`."""
        return OomKills(group=self.group - before.group, system=self.system - before.system)


def oom_kills() -> OomKills:
    """The counters now."""
    group = max((_counter(path) for path in _group_files()), default=0)
    return OomKills(group=group, system=_counter(_VMSTAT))


def vitals() -> Vitals:
    """This process's size; about five microseconds."""
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return Vitals(
        address_space=_address_space(),
        limit=None if limit == resource.RLIM_INFINITY else limit,
    )


def _address_space() -> int | None:
    try:
        with _STATM.open("rb", buffering=0) as file:
            return int(file.read().split(None, 1)[0]) * resource.getpagesize()
    except OSError:  # not Linux, or no descriptor left
        return None


def _group_files() -> list[Path]:
    """The files that may hold this group's counter; cgroups(7) gives the format."""
    files = []
    for line in _text(_CGROUPS).splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            files.append(_MOUNT / path.lstrip("/") / "memory.events")
        elif "memory" in controllers.split(","):
            files.append(_MOUNT / "memory" / path.lstrip("/") / "memory.oom_control")
    return files


def _counter(path: Path) -> int:
    for line in _text(path).splitlines():
        name, _, value = line.partition(" ")
        if name == "oom_kill":
            return int(value)
    return 0


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # not Linux, another cgroup version, or hidden by a container
        return ""
