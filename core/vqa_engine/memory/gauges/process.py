"""The memory of the process as a whole, cheap enough to be sampled during a run."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

from vqa_engine.memory.gauges.base import Figure, Gauge

PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


class LinuxProcess:
    """`/proc/self/statm`: resident pages, and the anonymous ones among them.

    The slope of the anonymous part shows a leak; file pages (mapped weights) come and
    go with the system's cache. `smaps_rollup` is exact to the page but takes 250 µs,
    this 15.
    """

    name = "process"

    def __init__(self, statm: Path = Path("/proc/self/statm")) -> None:
        self._statm = statm

    def read(self) -> tuple[Figure, ...]:
        pages = [int(field) for field in self._statm.read_bytes().split()]
        size, resident, shared, _text, _library, data, _dirty = pages
        return (
            Figure("footprint", resident * PAGE),
            Figure("anonymous", (resident - shared) * PAGE),
            Figure("address space", size * PAGE),
            Figure("data", data * PAGE),
        )


class _Usage(ctypes.Structure):
    """`struct rusage_info_v0` of `<sys/resource.h>`."""

    _fields_ = (
        ("uuid", ctypes.c_uint8 * 16),
        ("user_time", ctypes.c_uint64),
        ("system_time", ctypes.c_uint64),
        ("idle_wakeups", ctypes.c_uint64),
        ("interrupt_wakeups", ctypes.c_uint64),
        ("pageins", ctypes.c_uint64),
        ("wired", ctypes.c_uint64),
        ("resident", ctypes.c_uint64),
        ("phys_footprint", ctypes.c_uint64),
        ("started", ctypes.c_uint64),
        ("exited", ctypes.c_uint64),
    )


class DarwinProcess:
    """`proc_pid_rusage` of libSystem: `phys_footprint`, the figure that macOS kills by.

    Resident size is wrong both ways there: it counts shared pages and misses compressed
    ones.
    """

    name = "process"

    def __init__(self, library: ctypes.CDLL | None = None) -> None:
        self._ask = (library or ctypes.CDLL("/usr/lib/libSystem.dylib")).proc_pid_rusage

    def read(self) -> tuple[Figure, ...]:
        usage = _Usage()
        failed = self._ask(os.getpid(), 0, ctypes.byref(usage))
        absent = "macOS does not say it"
        footprint = (
            Figure("footprint", missing="proc_pid_rusage failed")
            if failed
            else Figure("footprint", usage.phys_footprint)
        )
        return (
            footprint,
            Figure("anonymous", footprint.value, footprint.missing),
            Figure("address space", missing=absent),
            Figure("data", missing=absent),
        )


class NoProcess:
    """A platform that we cannot read."""

    name = "process"

    def read(self) -> tuple[Figure, ...]:
        reason = f"no gauge for {sys.platform}"
        names = ("footprint", "anonymous", "address space", "data")
        return tuple(Figure(name, missing=reason) for name in names)


def process_gauge() -> Gauge:
    """The gauge of this process on this platform."""
    if sys.platform == "darwin":
        return DarwinProcess()
    return LinuxProcess() if Path("/proc/self/statm").exists() else NoProcess()
