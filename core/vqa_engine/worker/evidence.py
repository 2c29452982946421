"""What can be read about memory around a death; all of it is best effort, and Linux first.

The kernel does not say why it sent SIGKILL, and a failed allocation in native code is
just a SIGSEGV. So the child reports its size after each question, and the host watches
the kernel's counters of out-of-memory kills.
"""

from __future__ import annotations

import resource
from pathlib import Path

from attrs import frozen

from vqa_engine.memory.gauges import counter_in, memory_groups
from vqa_engine.worker.messages import Vitals

_STATM = Path("/proc/self/statm")  # proc(5): sizes in pages, the first is the address space
_VMSTAT = Path("/proc/vmstat")


@frozen(kw_only=True)
class OomKills:
    """How many processes the kernel has killed for lack of memory.

    `group` counts this process's memory control group, `system` the whole machine
    (`/proc/vmstat`).
    0 where it cannot be read, which is everywhere but on Linux.
    """

    group: int = 0
    system: int = 0

    def since(self, before: OomKills) -> OomKills:
        """The kills that came after `before`."""
        return OomKills(group=self.group - before.group, system=self.system - before.system)


def oom_kills() -> OomKills:
    """The counters now."""
    innermost = next((group.oom_kills() for group in memory_groups()), 0)
    return OomKills(group=innermost, system=counter_in(_VMSTAT, "oom_kill"))


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
