"""The listing and the doctor: what is broken harms nobody else, and is told with a remedy."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.builders import a_distribution
from vqa_engine import diagnosis, plugins, registry
from vqa_engine.errors import InterpreterError
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
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    for name, (source, _, _) in BROKEN.items():
        modules = {f"doc_{name}": source}
        a_distribution(folder, f"pkg_{name}", {name: f"doc_{name}:Adapter"}, modules=modules)
    return folder


@pytest.fixture(scope="module")
def reports(site: Path) -> dict[str, registry.PluginReport]:
    """One listing of all of them, each strategy bound."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(site)
        found = registry.report(_found(tuple(BROKEN)), longest=LONGEST, bind=True)
    return {report.plugin.name: report for report in found}


@pytest.mark.parametrize("name", BROKEN)
def test_each_plugin_is_told_apart(name: str, reports: dict[str, registry.PluginReport]) -> None:
    _, state, reason = BROKEN[name]
    report = reports[name]
    assert report.state == state
    assert reason in report.reason
    assert bool(report.remedy) == bool(reason)


def test_a_strategy_whose_call_is_missing_is_named(
    reports: dict[str, registry.PluginReport],
) -> None:
    (binding,) = reports["binds"].bindings
    assert binding.strategy == "CacheLimit"
    assert "set_cache_limit" in binding.error
    assert reports["binds"].model == "a/model"


def test_nothing_is_imported_here(reports: dict[str, registry.PluginReport]) -> None:
    assert not [name for name in sys.modules if name.startswith("doc_")]


@pytest.mark.parametrize("columns", ["80", "100"])
def test_the_table_fits_and_shows_reason_and_remedy(
    site: Path, monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.syspath_prepend(site)
    monkeypatch.setattr("vqa_engine.registry.find", lambda: _found(("needs", "binds")))
    result = _invoke("adapters")
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= int(columns)
    assert "No module named 'no_such_library'" in result.stdout
    assert "→ It needs the module 'no_such_library'" in result.stdout
    (row,) = (line for line in lines if line.startswith("binds"))
    assert row.split() == ["binds", "healthy", "pkg_binds", "1.0", "none", "a/model"]


def test_the_doctor_tells_all_as_json(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(site)
    monkeypatch.setattr("vqa_engine.registry.find", lambda: _found(("binds",)))
    result = _invoke("doctor", "--json", "--python", "/no/such/python")
    assert result.exit_code == 3
    told = json.loads(result.stdout)
    assert "cannot be started" in told["failures"][0]
    assert "set_cache_limit" in told["adapters"][0]["calls"][0]["error"]
    (here,) = told["interpreters"]
    assert here["executable"] == sys.executable
    assert {one["name"] for one in here["backends"]} == {"mlx", "torch"}
    assert {one["state"] for one in told["others"]} == {"healthy"}


def test_an_interpreter_without_vqa_engine_is_named() -> None:
    with pytest.raises(InterpreterError, match="/bin/sh"):
        diagnosis.diagnose(Path("/bin/sh"))


def test_the_hub_cache_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", "/somewhere/hub")
    assert diagnosis.hub_cache() == Path("/somewhere/hub")


def _invoke(*arguments: str) -> Result:
    return CliRunner().invoke(cli, [*arguments], catch_exceptions=False)


def _found(names: tuple[str, ...]) -> list[plugins.Plugin]:
    return [plugin for plugin in plugins.find(registry.GROUP) if plugin.name in names]
