"""What plugins cost: the tutorial's steps by script, a listing of fifty, and the bad table.

    python benchmarks/plugins.py [steps] [listing] [faults]

Without an argument all three are shown; the faults take a minute.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.builders import a_distribution  # noqa: E402
from tests.environments import Environment, Wheels  # noqa: E402
from tests.pages import blocks  # noqa: E402
from tests.testing.test_tutorial import TUTORIAL, Reader  # noqa: E402

HEALTHY, BROKEN = 40, 10
GOOD = "from tests.fakes import Instant as Adapter"
BAD = (
    "raise RuntimeError('bad day')",
    "import sys; sys.exit('bye')",
    "assert False",
    "import no_such_library",
    "import os; os._exit(7)",
    "x = (",
    "class Adapter: pass",
    f"{GOOD}\nclass Adapter(Adapter):\n    def answer(self, q): ...",
    "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)",
    "Adapter = 3",
)
"""One for each broken plugin; a hang is timed by itself, for it costs what it is allowed."""

COMMAND = [sys.executable, "-m", "vqa_engine_cli"]


def steps() -> None:
    """The tutorial, section by section: the seconds that a person would wait."""
    print("section of the tutorial                     wall s   CPU s")
    with tempfile.TemporaryDirectory() as name:
        reader = _reader(Path(name))
        total = 0.0
        for section, title in _sections():
            before, started = _cpu(), perf_counter()
            for block in blocks(TUTORIAL):
                if block.section == section:
                    reader.follow(block)
            seconds = perf_counter() - started
            total += seconds
            print(f"{section} {title:<40} {seconds:7.1f} {_cpu() - before:7.1f}")
        print(f"  {'all':<40} {total:7.1f}")


def listing() -> None:
    """`vqa-engine adapters` with fifty plugins, ten of them broken; the median of five."""
    with tempfile.TemporaryDirectory() as name:
        site = Path(name)
        _install(site)
        wall, cpu, states = zip(*(_list(site) for _ in range(5)), strict=True)
        print(f"adapters, {HEALTHY + BROKEN} plugins more, {BROKEN} broken: ", end="")
        print(f"{sorted(wall)[2]:.2f} s wall, {sorted(cpu)[2]:.2f} s CPU, {states[0]}")
        a_distribution(
            site,
            "hanger",
            {"hang": "hang_mod:A"},
            modules={"hang_mod": "import time; time.sleep(99)"},
        )
        hung, _, hanging = _list(site, "--timeout", "2")
        print(f"with one more that hangs, --timeout 2:  {hung:.2f} s wall, {hanging}")


def faults() -> None:
    """The table: each bad adapter, and the standard tests that failed it."""
    from tests.conformance.faults import FAULTS
    from tests.conformance.test_kit import run_suite

    with tempfile.TemporaryDirectory() as name:
        failed = run_suite(Path(name) / "report.xml")
    print(f"{'bad adapter':<22} {'made for it':<44} failed")
    for adapter, wanted in FAULTS.items():
        found = sorted(failed[adapter.__name__])
        print(f"{adapter.__name__:<22} {wanted:<44} {'the same' if found == [wanted] else found}")


def _reader(folder: Path) -> Reader:
    wheels = Wheels(folder / "wheels")
    wheels.build(ROOT)
    environment = Environment.make(folder / "environment")
    environment.install(wheels, "vqa-engine", engine=True)
    (folder / "hello").mkdir()
    return Reader(folder / "hello", environment)


def _sections() -> Iterator[tuple[int, str]]:
    for line in TUTORIAL.read_text("utf-8").splitlines():
        number, _, title = line.removeprefix("## ").partition(". ")
        if line.startswith("## ") and any(
            str(block.section) == number for block in blocks(TUTORIAL)
        ):
            yield int(number), title


def _install(site: Path) -> None:
    for number in range(HEALTHY + BROKEN):
        source = BAD[number] if number < BROKEN else GOOD
        module = f"bench_mod_{number}"
        a_distribution(
            site,
            f"bench{number}",
            {f"bench{number}": f"{module}:Adapter"},
            modules={module: source},
        )


def _list(site: Path, *options: str) -> tuple[float, float, dict[str, int]]:
    environment = {**os.environ, "PYTHONPATH": f"{site}:{ROOT}"}
    before, started = _cpu(), perf_counter()
    command = [*COMMAND, "adapters", "--json", *options]
    done = subprocess.run(command, env=environment, capture_output=True, check=True)
    seconds = perf_counter() - started
    states = [plugin["state"] for plugin in json.loads(done.stdout)]
    return seconds, _cpu() - before, {state: states.count(state) for state in sorted(set(states))}


def _cpu() -> float:
    """Seconds of processor time that our children have taken."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    for part in sys.argv[1:] or ("steps", "listing", "faults"):
        {"steps": steps, "listing": listing, "faults": faults}[part]()
