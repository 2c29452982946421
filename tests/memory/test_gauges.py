"""Gauges read what is there, and say why when it is not.

What this platform lacks (Metal, MPS, cgroup limits, pressure levels) is replayed from
the figures in docs/facts/memory.md.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import mlx.core as mx
import pytest

from vqa_engine.errors import BackendError, ConfigurationError
from vqa_engine.memory.backend import MemoryBackend, NoBackend
from vqa_engine.memory.budget import budget, expected, parse_size, shown
from vqa_engine.memory.gauges import (
    AvailableGauge,
    CgroupGauge,
    Figure,
    Gauge,
    PressureLevelGauge,
    PsiGauge,
    RlimitGauge,
    System,
    memory_groups,
    process_gauge,
)
from vqa_engine_adapters.mlx.memory import MlxBackend
from vqa_engine_adapters.torch.memory import TorchBackend

GIB = 1 << 30
MIB = 1 << 20


def figures(gauge: Gauge) -> dict[str, Figure]:
    return {figure.name: figure for figure in gauge.read()}


class Fixed:
    """A gauge that always says the same."""

    name = "fixed"

    def __init__(self, *figures: Figure) -> None:
        self._figures = figures

    def read(self) -> tuple[Figure, ...]:
        return self._figures


def test_mlx_counts_and_says_what_its_device_does_not_tell() -> None:
    kept = mx.zeros((1000,))
    mx.eval(kept)
    backend = MlxBackend()
    assert (backend.read().active or 0) >= kept.nbytes
    assert backend.limit().value is None
    assert "device_info" in backend.limit().missing


def test_an_old_mlx_is_named_call_by_call() -> None:
    with pytest.raises(BackendError, match=r"mlx\.core\.get_active_memory.*0\.32\.1"):
        MlxBackend(mx=SimpleNamespace())


def metal(recommended: int = 18 * GIB) -> MlxBackend:
    """MLX as it is on a Mac: Metal's device figures, and nothing is held."""
    info = {"max_recommended_working_set_size": recommended, "memory_size": 24 * GIB}
    calls = {name: lambda: 0 for name in dir(mx) if name.endswith(("_memory", "_cache", "_limit"))}
    kinds = {"array": mx.array, "gpu": mx.gpu, "default_device": lambda: mx.Device(mx.gpu)}
    return MlxBackend(mx=SimpleNamespace(device_info=lambda: info, **kinds, **calls))


def roomy() -> System:
    return System(Fixed(Figure("available", 64 * GIB)))


def test_the_budget_is_the_working_set_less_a_reserve() -> None:
    found = budget(metal(), roomy())
    assert found.limit == 18 * GIB - round(1.8 * GIB)
    assert "max_recommended_working_set_size" in found.source


def test_the_budget_is_capped_by_what_the_system_leaves() -> None:
    found = budget(metal(), System(Fixed(Figure("cgroup left", 4 * GIB))))
    assert found.limit == 4 * GIB - round(0.4 * GIB)
    assert "cgroup left" in found.source


def test_the_callers_budget_replaces_the_devices() -> None:
    assert budget(metal(), roomy(), 6 * GIB).limit == 6 * GIB
    assert expected("mlx", roomy(), 6 * GIB).limit == 6 * GIB


def test_nothing_known_is_no_limit() -> None:
    silent = System(Fixed(Figure("available", missing="not here")))
    assert budget(NoBackend(), silent).limit is None
    assert silent.left().missing


@pytest.mark.parametrize("backend", [NoBackend(), TorchBackend("cpu", torch=SimpleNamespace())])
def test_a_bound_that_a_backend_lacks_is_an_error(backend: MemoryBackend) -> None:
    with pytest.raises(BackendError, match="set_cache_limit"):
        backend.set_cache_limit(5)


def test_this_process_has_a_footprint() -> None:
    read = figures(process_gauge())
    assert 0 < (read["anonymous"].value or 0) <= (read["footprint"].value or 0)


def test_available_memory_is_less_than_all() -> None:
    read = figures(AvailableGauge())
    assert 0 < (read["available"].value or 0) < (read["total"].value or 0)


@pytest.mark.parametrize(("level", "word"), [(1, "normal"), (2, "warn"), (4, "critical")])
def test_macos_pressure_has_a_word(level: int, word: str) -> None:
    [figure] = PressureLevelGauge(lambda _name: level).read()
    assert (figure.value, figure.unit) == (level, word)


@pytest.mark.parametrize(("level", "stage"), [(1, 0), (2, 1), (4, 2)])
def test_macos_pressure_is_a_stage(level: int, stage: int) -> None:
    assert System(pressure=(PressureLevelGauge(lambda _name: level),)).pressure() == stage


@pytest.mark.parametrize(("some", "full", "stage"), [(9.9, 0.1, 0), (30.0, 1.0, 1), (40.0, 12, 2)])
def test_psi_is_a_stage(tmp_path: Path, some: float, full: float, stage: int) -> None:
    (tmp_path / "memory").write_text(f"some avg10={some:.2f}\nfull avg10={full:.2f}\n")
    assert System(pressure=(PsiGauge(tmp_path / "memory"),)).pressure() == stage


def test_a_system_that_tells_no_pressure_has_none() -> None:
    assert System(pressure=(PsiGauge(Path("/nowhere")),)).pressure() == 0


def test_pressure_that_cannot_be_read_is_missing() -> None:
    def refuse(_name: str) -> int:
        raise OSError("no sysctl")

    assert PressureLevelGauge(refuse).read()[0].missing == "no sysctl"
    assert PsiGauge(Path("/nowhere")).read()[0].missing


def test_psi_is_per_cent_of_ten_seconds(tmp_path: Path) -> None:
    file = tmp_path / "memory"
    file.write_text(
        "some avg10=12.50 avg60=3.00 avg300=1.00 total=99\n"
        "full avg10=4.00 avg60=1.00 avg300=0.00 total=9\n"
    )
    some, full = PsiGauge(file).read()
    assert (some.value, full.value, some.unit) == (12.5, 4.0, "%")


def a_machine(root: Path, member: str, mounts: str, files: dict[str, str]) -> Path:
    """A root folder with the control group files of a machine."""
    for name, text in {
        "proc/self/cgroup": member,
        "proc/self/mountinfo": mounts,
        **files,
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


V2 = "31 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
V1 = "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
EVENTS = "low 0\nhigh 0\nmax 12\noom 3\noom_kill {}\noom_group_kill 0\n"
CONTROL = "oom_kill_disable 0\nunder_oom 0\noom_kill {}\n"
SECOND = ("memory.max", "memory.events", EVENTS)
FIRST = ("memory.limit_in_bytes", "memory.oom_control", CONTROL)
CONTAINED = "31 23 0:28 /docker/abc /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
HYBRID = V1 + "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"


def test_cgroup_2_counts_outer_limits_and_forgives_cold_pages(tmp_path: Path) -> None:
    root = a_machine(
        tmp_path,
        "0::/app/worker\n",
        V2,
        {
            "sys/fs/cgroup/app/worker/memory.max": "max\n",
            "sys/fs/cgroup/app/worker/memory.current": "1000\n",
            "sys/fs/cgroup/app/memory.max": "5000\n",
            "sys/fs/cgroup/app/memory.current": "3000\n",
            "sys/fs/cgroup/app/memory.stat": "anon 1\ninactive_file 700\n",
        },
    )
    read = figures(CgroupGauge(root))
    assert [figure.value for figure in read.values()] == [5000, 2300, 2700]


def test_cgroup_1_and_hybrid_machines_are_found(tmp_path: Path) -> None:
    root = a_machine(
        tmp_path,
        "4:memory:/job\n0::/\n",
        HYBRID,
        {
            "sys/fs/cgroup/memory/job/memory.limit_in_bytes": "8000\n",
            "sys/fs/cgroup/memory/job/memory.usage_in_bytes": "6000\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
            "sys/fs/cgroup/memory/memory.usage_in_bytes": "7000\n",
        },
    )
    assert figures(CgroupGauge(root))["cgroup left"].value == 2000


@pytest.mark.parametrize(
    ("member", "mounts", "group", "written"),
    [
        ("0::/app/worker\n", V2, "app/worker", SECOND),
        ("0::/docker/abc\n", CONTAINED, "", SECOND),
        ("4:memory:/job\n", V1, "memory/job", FIRST),
        ("4:memory:/job\n0::/user\n", HYBRID, "memory/job", FIRST),
    ],
    ids=["v2", "v2 in a container", "v1", "hybrid"],
)
def test_kills_are_counted_in_the_processs_own_group(
    tmp_path: Path, member: str, mounts: str, group: str, written: tuple[str, str, str]
) -> None:
    inner = Path("sys/fs/cgroup") / group
    folders = {inner: 2, inner.parent: 5} if group else {inner: 2}
    (limit, counter, text), files = written, dict[str, str]()
    for folder, kills in folders.items():
        files |= {str(folder / limit): "9000\n", str(folder / counter): text.format(kills)}
    root = a_machine(tmp_path, member, mounts, files)
    assert memory_groups(root)[0].oom_kills() == 2


def test_a_group_without_a_counter_has_counted_nothing(tmp_path: Path) -> None:
    root = a_machine(tmp_path, "0::/\n", V2, {"sys/fs/cgroup/memory.max": "max\n"})
    assert memory_groups(root)[0].oom_kills() == 0


def test_a_container_that_mounts_only_its_own_group(tmp_path: Path) -> None:
    root = a_machine(
        tmp_path,
        "0::/docker/abc\n",
        CONTAINED,
        {
            "sys/fs/cgroup/memory.max": "100\n",
            "sys/fs/cgroup/memory.current": "60\n",
        },
    )
    assert figures(CgroupGauge(root))["cgroup left"].value == 40


def test_no_limit_and_no_cgroup_are_different_words(tmp_path: Path) -> None:
    assert "no memory group" in CgroupGauge(tmp_path).read()[0].missing
    files = {"sys/fs/cgroup/memory.max": "max\n", "sys/fs/cgroup/memory.current": "1\n"}
    unlimited = CgroupGauge(a_machine(tmp_path, "0::/\n", V2, files))
    assert "sets a limit" in unlimited.read()[0].missing


def test_limits_of_this_process_are_counted_against_it(monkeypatch: pytest.MonkeyPatch) -> None:
    process = Fixed(Figure("address space", 1000), Figure("data", missing="unknown"))
    monkeypatch.setattr("resource.getrlimit", lambda _which: (5000, 5000))
    address, data = RlimitGauge(process).read()
    assert address.value == 4000
    assert data.missing == "unknown"


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("6GiB", 6 * GIB),
        ("1.5 GiB", 3 * GIB // 2),
        ("800MB", 800_000_000),
        ("512 mib", 512 * MIB),
        ("1048576", MIB),
        ("4k", 4000),
    ],
)
def test_sizes_are_read(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "much", "-1GiB", "0", "6 GiBit", "0.1"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="6GiB"):
        parse_size(text)


def test_sizes_are_shown() -> None:
    assert [shown(n) for n in (None, 5, 2048, 3 * GIB // 2)] == [
        "unknown",
        "5 B",
        "2.0 KiB",
        "1.5 GiB",
    ]
