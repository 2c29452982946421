"""What the system leaves: available memory, groups, resource limits, pressure."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from pathlib import Path

from vqa_engine.memory.gauges.base import Figure, Gauge
from vqa_engine.memory.gauges.cgroup import CgroupGauge
from vqa_engine.memory.gauges.process import process_gauge

_LEVELS = {1: "normal", 2: "warn", 4: "critical"}
"""`kern.memorystatus_vm_pressure_level` (docs/facts/memory.md, "Pressure signals")."""


_STALLED = 10.0
"""Per cent of the last ten seconds in which some task (short of memory) or all of them (very
short) waited for it. systemd-oomd kills at 60 % of the latter (oomd.conf,
`DefaultMemoryPressureLimit`), so cleaning at a sixth of that comes well before."""


class AvailableGauge:
    """RAM that can be had without swapping: `MemAvailable` on Linux, psutil elsewhere."""

    name = "available"

    def __init__(self, meminfo: Path = Path("/proc/meminfo")) -> None:
        self._meminfo = meminfo

    def read(self) -> tuple[Figure, ...]:
        try:
            lines = self._meminfo.read_text(encoding="ascii").splitlines()
        except OSError:
            return self._portable()  # not Linux
        kib = {name: int(rest.split()[0]) for name, _, rest in (x.partition(":") for x in lines)}
        return (
            Figure("available", kib["MemAvailable"] * 1024),
            Figure("total", kib["MemTotal"] * 1024),
        )

    @staticmethod
    def _portable() -> tuple[Figure, ...]:
        import psutil

        memory = psutil.virtual_memory()
        return Figure("available", memory.available), Figure("total", memory.total)


class RlimitGauge:
    """RLIMIT_AS and RLIMIT_DATA: what each still leaves this process."""

    name = "rlimit"

    LIMITS = (("RLIMIT_AS", "address space"), ("RLIMIT_DATA", "data"))

    def __init__(self, process: Gauge | None = None) -> None:
        self._process = process or process_gauge()

    def read(self) -> tuple[Figure, ...]:
        used = {figure.name: figure for figure in self._process.read()}
        return tuple(self._left(limit, used[figure]) for limit, figure in self.LIMITS)

    @staticmethod
    def _left(name: str, used: Figure) -> Figure:
        if sys.platform == "win32":
            return Figure(name, missing="Windows has no resource limits")
        import resource

        soft, _hard = resource.getrlimit(getattr(resource, name))
        if soft == resource.RLIM_INFINITY:
            return Figure(name, missing=f"{name} is not set")
        if used.value is None:
            return Figure(name, missing=used.missing)
        return Figure(name, max(0, soft - used.value))


class PsiGauge:
    """Linux pressure stall information: per cent of the last ten seconds lost to memory."""

    name = "psi"

    def __init__(self, file: Path = Path("/proc/pressure/memory")) -> None:
        self._file = file

    def read(self) -> tuple[Figure, ...]:
        try:
            lines = self._file.read_text(encoding="ascii").splitlines()
        except OSError as error:
            reason = f"{self._file}: {error.strerror}"
            return tuple(Figure(f"psi {name}", missing=reason) for name in ("some", "full"))
        return tuple(self._figure(line.split()) for line in lines)

    @staticmethod
    def _figure(fields: list[str]) -> Figure:
        values = dict(field.split("=") for field in fields[1:])
        return Figure(f"psi {fields[0]}", float(values["avg10"]), unit="%")


def sysctl(name: str) -> int:
    """An integer of macOS's sysctl tree.

    Raises:
        OSError: there is no such name, or no sysctl.
    """
    library = ctypes.CDLL(None)
    value, size = ctypes.c_int64(0), ctypes.c_size_t(8)
    call = getattr(library, "sysctlbyname", None)
    if call is None or call(name.encode(), ctypes.byref(value), ctypes.byref(size), None, 0):
        raise OSError(f"sysctl {name} cannot be read")
    return value.value


class PressureLevelGauge:
    """macOS's own verdict: 1 normal, 2 warn, 4 critical."""

    name = "pressure level"

    def __init__(self, ask: Callable[[str], int] = sysctl) -> None:
        self._ask = ask

    def read(self) -> tuple[Figure, ...]:
        try:
            level = self._ask("kern.memorystatus_vm_pressure_level")
        except OSError as error:
            return (Figure(self.name, missing=str(error), unit="level"),)
        return (Figure(self.name, level, unit=_LEVELS.get(level, "level")),)


class System:
    """All the system's gauges, and two questions: what is left, and is it short?"""

    def __init__(self, *gauges: Gauge, pressure: tuple[Gauge, ...] | None = None) -> None:
        self.gauges = gauges or (AvailableGauge(), CgroupGauge(), RlimitGauge())
        self._pressure = pressure_gauges() if pressure is None else pressure

    def pressure(self) -> int:
        """What the platform says of its memory: 0 enough, 1 short, 2 very short.

        0 as well where no source reports any.
        """
        figures = (figure for gauge in self._pressure for figure in gauge.read())
        return max((_stage(one) for one in figures if one.value is not None), default=0)

    def left(self) -> Figure:
        """The least of what the sources leave, under the name of the one that says so."""
        wanted = {"available", "cgroup left", "RLIMIT_AS", "RLIMIT_DATA"}
        figures = [figure for gauge in self.gauges for figure in gauge.read()]
        known = [one for one in figures if one.name in wanted and one.value is not None]
        if not known:
            return Figure("left", missing="no source says what the system leaves")
        return min(known, key=lambda figure: figure.value or 0)


def _stage(figure: Figure) -> int:
    """0, 1 or 2 for a figure of one of the pressure gauges."""
    value = figure.value or 0
    if figure.name == PressureLevelGauge.name:
        return {"warn": 1, "critical": 2}.get(_LEVELS.get(int(value), ""), 0)
    return {"psi some": 1, "psi full": 2}.get(figure.name, 0) if value >= _STALLED else 0


def pressure_gauges() -> tuple[Gauge, ...]:
    """The platform's own pressure signals."""
    return (PressureLevelGauge(),) if sys.platform == "darwin" else (PsiGauge(),)
