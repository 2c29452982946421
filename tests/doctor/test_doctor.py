"""The listing and the doctor: what is broken harms nobody else, and is told with a remedy."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.builders import a_distribution
from tests.environments import ROOT, Environment
from vqa_engine.plugins import entry_points as plugins
from vqa_engine.plugins.probe import PluginReport, report
from vqa_engine_cli.main import cli

GOOD = "from tests.fakes import Instant as Adapter"
LONGEST = 8.0
"""Seconds: enough for a fork on a busy machine, and what the hanging plugin costs."""

BROKEN = {
    "raises": ("raise RuntimeError('bad day')", "broken", "RuntimeError: bad day"),
    "exits": ("import sys; sys.exit('bye')", "broken", "SystemExit: bye"),
    "asserts": ("assert False, 'never'", "broken", "AssertionError: never"),
    "needs": ("import no_such_library", "broken", "No module named 'no_such_library'"),
    "quits": ("import os; os._exit(7)", "broken", "ended the process: exit code 7"),
    "crashes": (
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
        "broken",
        "ended the process: SIGKILL",
    ),
    "hangs": ("import time; time.sleep(600)", "broken", "did not end within 8 seconds"),
    "lacks": (
        f"{GOOD}\nclass Adapter(Adapter): release = None",
        "invalid",
        "the method release() is missing",
    ),
    "differs": (
        f"{GOOD}\nclass Adapter(Adapter):\n    def answer(self, q): ...",
        "invalid",
        "answer(self, q) should be answer(self, question, plan)",
    ),
    "unsure": (
        f"{GOOD}\nclass Adapter(Adapter):\n    def memory_profile(self): 1 / 0",
        "invalid",
        "ZeroDivisionError",
    ),
    "binds": (
        f"{GOOD}\nfrom vqa_engine.adapter import MemoryProfile\n"
        "from vqa_engine.memory.strategies import CacheLimit\n"
        "class Adapter(Adapter):\n    default_model = 'a/model'\n"
        "    def memory_profile(self): return MemoryProfile(strategies=(CacheLimit(1),))",
        "healthy",
        "",
    ),
    "prints": (f"print('hello'); {GOOD}", "healthy", ""),
}


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, PluginReport]:
    """One listing of all of them, each strategy bound."""
    with pytest.MonkeyPatch.context() as patch:
        _install(patch, tmp_path_factory.mktemp("site"), *BROKEN)
        found = report(longest=LONGEST, bind=True)
    return {one.name: one for one in found if one.name in BROKEN}


@pytest.mark.slow
@pytest.mark.parametrize("name", BROKEN)
def test_each_plugin_is_told_apart(name: str, reports: dict[str, PluginReport]) -> None:
    _, state, reason = BROKEN[name]
    found = reports[name]
    assert found.state == state
    assert reason in found.reason
    assert bool(found.remedy) == bool(reason)


@pytest.mark.slow
def test_a_strategy_whose_call_is_missing_is_named(
    reports: dict[str, PluginReport],
) -> None:
    (binding,) = reports["binds"].calls
    assert binding.strategy == "CacheLimit"
    assert "set_cache_limit" in binding.error
    assert reports["binds"].model == "a/model"


@pytest.mark.slow
def test_nothing_is_imported_here(reports: dict[str, PluginReport]) -> None:
    assert not [name for name in sys.modules if name.startswith("doc_")]


@pytest.mark.slow
@pytest.mark.parametrize("columns", ["80", "100"])
def test_the_table_fits_and_shows_reason_and_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    _install(monkeypatch, tmp_path, "needs", "binds")
    result = _invoke("adapters")
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= int(columns)
    assert "No module named 'no_such_library'" in result.stdout
    assert "→ Install the package that provides the module 'no_such_library'" in result.stdout
    (row,) = (line for line in lines if line.startswith("binds"))
    assert row.split() == ["binds", "healthy", "pkg_binds", "1.0", "none", "a/model"]


@pytest.mark.slow
def test_the_doctor_tells_all_as_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _install(monkeypatch, tmp_path, "binds")
    others = ("--python", "binds=/no/such/python", "--python", "smolvlm=/bin/sh")
    result = _invoke("doctor", "--json", *others)
    assert result.exit_code == 3
    here, there, shell = json.loads(result.stdout)["interpreters"]
    assert here["interpreter"] == here["machine"]["executable"] == sys.executable
    plugins = {one["name"]: one for one in here["plugins"]}
    assert "set_cache_limit" in plugins.pop("binds")["calls"][0]["error"]
    assert {one["state"] for one in plugins.values()} == {"healthy"}
    assert {"shapes", "vqa-v2-official", "none"} <= set(plugins)
    assert "binds" not in here["workers"]
    assert there["workers"] == ["binds"]
    assert "The interpreter /no/such/python of 'binds' cannot be started" in there["failures"][0]
    assert "/bin/sh" in shell["failures"][0]


@pytest.mark.slow
def test_an_extra_that_is_not_installed_is_no_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = (
        f"{GOOD}\nfrom vqa_engine.adapter import MemoryProfile\n"
        "from vqa_engine.memory.backend import Library, MemoryBackend\n"
        "class Absent(MemoryBackend):\n    name = 'absent'\n"
        "    library = Library(module='no_such_library', requirement='pkg[absent]')\n"
        "class Adapter(Adapter):\n"
        "    def memory_profile(self): return MemoryProfile(backend='absent')"
    )
    modules = {"doc_absent": source}
    a_distribution(tmp_path, "pkg", {"extra": "doc_absent:Adapter"}, modules=modules)
    backend = {"absent": "doc_absent:Absent"}
    a_distribution(tmp_path, "pkg_backend", backend, group=plugins.MEMORY_BACKENDS)
    monkeypatch.syspath_prepend(tmp_path)
    result = _invoke("doctor")
    assert result.exit_code == 0
    assert "backend absent   not installed: pip install 'pkg[absent]'" in result.stdout
    assert "extra: the backend absent is not installed: pip install 'pkg[absent]'" in result.stdout


@pytest.mark.slow
def test_each_interpreter_of_a_worker_has_a_heading_with_its_own_plugins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _install(monkeypatch, tmp_path, "prints")
    python = _another_python(tmp_path, "pkg_there")
    result = _invoke("doctor", "--python", f"there={python}", "--python", f"nowhere={python}")
    assert result.exit_code == 3
    here, there = result.stdout.split(f"interpreter      {python} (Python ")
    assert "prints, " in here.partition("runs workers of  ")[2].partition("\n")[0]
    assert "runs workers of  there, nowhere\n" in there
    assert f"The interpreter {python} has no adapter 'nowhere' (it has: " in there
    (row,) = (line for line in there.splitlines() if line.startswith("there "))
    assert row.split() == ["there", "healthy", "pkg_there", "1.0", "none", "a/model"]
    assert "\nthere: CacheLimit: FAILED" in there
    assert "there: CacheLimit" not in here


@pytest.mark.parametrize("given", ["/bin/python", "smolvlm=", "=/bin/python"])
def test_an_interpreter_needs_the_name_of_its_adapter(given: str) -> None:
    result = _invoke("doctor", "--python", given)
    assert result.exit_code == 2
    assert "--python must be NAME=PATH, such as smolvlm=" in result.stderr


def test_run_and_doctor_read_python_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    result = _invoke("run", "-a", "smolvlm@builtin", "--python", "smolvml=/bin/python")
    assert result.exit_code == 2
    assert "--python names 'smolvml', but the adapters of this run are: smolvlm." in result.stderr


def _invoke(*arguments: str) -> Result:
    return CliRunner().invoke(cli, [*arguments], catch_exceptions=False)


def _install(patch: pytest.MonkeyPatch, site: Path, *names: str) -> None:
    """Distributions of these adapters, on the path."""
    for name in names:
        modules = {f"doc_{name}": BROKEN[name][0]}
        a_distribution(site, f"pkg_{name}", {name: f"doc_{name}:Adapter"}, modules=modules)
    patch.syspath_prepend(site)


def _another_python(folder: Path, package: str) -> Path:
    """An interpreter with the adapter `there`, which has a strategy that cannot be bound."""
    made = Environment.make(folder / "environment")
    (site,) = made.folder.glob("lib/*/site-packages")
    (site / "sources.pth").write_text("\n".join(map(str, (ROOT / "core", ROOT / "adapters", ROOT))))
    modules = {f"doc_{package}": BROKEN["binds"][0]}
    a_distribution(site, package, {"there": f"doc_{package}:Adapter"}, modules=modules)
    return made.python


RUDE = {
    "kills": "import os, signal; os.kill(os.getppid(), signal.SIGKILL)",
    "writes": "import os\nfor n in range(3, 64):\n    try: os.write(n, b'rubbish' * 9)\n"
    "    except OSError: pass",
    "daemon": "import subprocess, sys; subprocess.Popen([sys.executable, '-S', '-c', "
    "'import time; time.sleep(3600)'], start_new_session=True, close_fds=False)",
    "forks": "import os; os.fork()",
}


@pytest.mark.slow
@pytest.mark.usefixtures("nobody_left")
@pytest.mark.parametrize("rude", RUDE)
def test_no_plugin_makes_another_look_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rude: str
) -> None:
    for name, source in {"rude": RUDE[rude], "kind": "pass"}.items():
        modules = {f"doc_{name}_{rude}": f"{source}\n{GOOD}"}
        target = f"doc_{name}_{rude}:Adapter"
        a_distribution(tmp_path, f"pkg_{name}", {name: target}, modules=modules)
    monkeypatch.syspath_prepend(tmp_path)
    states = {one.name: one.state for one in report(longest=LONGEST)}
    assert {name for name, state in states.items() if state != "healthy"} <= {"rude"}
    assert "kind" in states
    assert "rude" in states


@pytest.mark.slow
@pytest.mark.usefixtures("nobody_left")
@pytest.mark.parametrize("estimate", ["1 / 0", "return None", "raise SystemExit", "os._exit(3)"])
def test_fit_survives_an_adapter_that_cannot_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, estimate: str
) -> None:
    source = f"import os\n{GOOD}\nclass Adapter(Adapter):\n    def memory_profile(self): {estimate}"
    a_distribution(tmp_path, "pkg", {"odd": "doc_odd:Adapter"}, modules={"doc_odd": source})
    monkeypatch.syspath_prepend(tmp_path)
    done = _invoke("fit", "--adapter", "odd")
    assert done.exit_code == 1
    assert done.stderr.startswith("Error: ")
    assert "which is a bug" not in done.stderr
    assert "doc_odd" not in sys.modules
