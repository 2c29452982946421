"""Control groups, version 1, version 2 and both at once: probed, never assumed.

cgroups(7) gives the formats. This is the only reader of them.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from attrs import frozen

from vqa_engine.memory.gauges.base import Figure, counter_in, number_in

_UNLIMITED = 1 << 60
"""Version 1 writes a limit that is not set as the largest page-aligned int64."""


_VERSION_2 = ("memory.max", "memory.current", "memory.events", "inactive_file")
_VERSION_1 = (
    "memory.limit_in_bytes",
    "memory.usage_in_bytes",
    "memory.oom_control",
    "total_inactive_file",
)


@frozen
class Group:
    """One memory group: its files, whose names differ between the versions."""

    folder: Path
    limit_file: str
    usage_file: str
    events_file: str
    cold: str

    def limit(self) -> Figure:
        """The hard limit, missing when none is set."""
        figure = number_in(self.folder / self.limit_file, "cgroup limit")
        if figure.value is not None and figure.value >= _UNLIMITED:
            return Figure(figure.name, missing=f"{self.folder} sets no limit")
        return figure

    def usage(self) -> Figure:
        """What the group uses, less file pages that the kernel would simply drop."""
        figure = number_in(self.folder / self.usage_file, "cgroup usage")
        if figure.value is None:
            return figure
        # Without the split the usage is left as it is: the careful figure.
        cold = counter_in(self.folder / "memory.stat", self.cold)
        return Figure(figure.name, max(0, figure.value - cold))

    def left(self) -> Figure:
        """What may still be allocated before the kernel's out-of-memory killer acts."""
        limit, usage = self.limit(), self.usage()
        if limit.value is None or usage.value is None:
            return Figure("cgroup left", missing=limit.missing or usage.missing)
        return Figure("cgroup left", max(0, limit.value - usage.value))

    def oom_kills(self) -> int:
        """How many of its processes the kernel has killed for lack of memory.

        Whichever group's limit was hit: the kernel counts in the process's own group.
        """
        return counter_in(self.folder / self.events_file, "oom_kill")


class CgroupGauge:
    """The tightest memory group above this process.

    A limit of an outer group binds the inner ones, so all levels are looked at. The
    groups are found once, `left` reads only those that had a limit then.
    """

    name = "cgroup"

    def __init__(self, root: Path = Path("/")) -> None:
        self.groups = memory_groups(root)
        self._limited = [group for group in self.groups if group.limit().value is not None]

    def read(self) -> tuple[Figure, ...]:
        tightest = min(self._limited, key=lambda group: group.left().value or 0, default=None)
        if tightest is None:
            reason = "no memory group" if not self.groups else "no memory group sets a limit"
            names = ("cgroup limit", "cgroup usage", "cgroup left")
            return tuple(Figure(name, missing=reason) for name in names)
        return tightest.limit(), tightest.usage(), tightest.left()


def memory_groups(root: Path = Path("/")) -> tuple[Group, ...]:
    """Every memory group this process is in, innermost first; none where not on Linux."""
    found: list[Group] = []
    for version, mount, inner in _mounts(root):
        path = PurePosixPath(inner)
        for level in (path, *path.parents):
            folder = mount / str(level).lstrip("/")
            group = _group(version, folder)
            if group is not None and group not in found:
                found.append(group)
    return tuple(found)


def _group(version: int, folder: Path) -> Group | None:
    group = Group(folder, *(_VERSION_2 if version == 2 else _VERSION_1))
    return group if (folder / group.limit_file).exists() else None


def _mounts(root: Path) -> list[tuple[int, Path, str]]:
    """(version, where its tree is mounted, this process's path in it)."""
    try:
        member = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
        mounts = (root / "proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []  # not Linux: `read` reports that there is no group
    paths = {fields[1]: fields[2] for fields in (line.split(":", 2) for line in member)}
    memory = next((path for names, path in paths.items() if "memory" in names.split(",")), None)
    found = []
    for line in mounts:
        before, _, after = line.partition(" - ")
        kind, _source, options = [*after.split(), "", "", ""][:3]
        inside, place = before.split()[3:5]
        if kind == "cgroup2" and "" in paths:
            found.append((2, root / place.lstrip("/"), _relative(paths[""], inside)))
        elif kind == "cgroup" and "memory" in options.split(",") and memory is not None:
            found.append((1, root / place.lstrip("/"), _relative(memory, inside)))
    return found


def _relative(path: str, mounted: str) -> str:
    """A group's path below its mount; a container may mount only an inner part."""
    return path.removeprefix(mounted) if mounted != "/" and path.startswith(mounted) else path
