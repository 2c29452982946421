"""Memory backends as plugins: another package's counts and is understood, a broken one is named."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import vqa_engine
from tests.builders import a_distribution, a_question, png
from tests.environments import EXAMPLES, Environment, Wheels
from vqa_engine import Engine, Row, failures
from vqa_engine.doctor.machine import inspect
from vqa_engine.errors import BackendError
from vqa_engine.interpreter import Interpreter
from vqa_engine.memory import backends
from vqa_engine.memory.backend import Library
from vqa_engine.plugins.entry_points import MEMORY_BACKENDS
from vqa_engine.strays import MARK

EXAMPLE = EXAMPLES / "vqa-engine-counting-backend"
WEIGHTS = 1 << 20
"""Bytes of the example's model."""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on the path to install distributions in."""
    monkeypatch.syspath_prepend(tmp_path)
    _forget()
    yield tmp_path
    _forget()


def _forget() -> None:
    backends.load.cache_clear()
    backends.libraries.cache_clear()
    failures._patterns.cache_clear()
    backends._loaded.clear()


def a_backend(site: Path, source: str, name: str = "theirs", target: str = "Theirs") -> None:
    """Install a package with one backend."""
    module = name.replace("-", "_")
    offered = {"theirs": f"{module}:{target}"}
    a_distribution(site, name, offered, modules={module: source}, group=MEMORY_BACKENDS)


@pytest.fixture
def counting(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example package, installed and not yet imported."""
    for module in [one for one in sys.modules if one.startswith("vqa_engine_counting_backend")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.syspath_prepend(EXAMPLE / "src")
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    for group, offered in project["entry-points"].items():
        a_distribution(site, f"counting_{group[-4:]}", offered, group=group)


def rows(*texts: str, isolation: str = "process") -> list[Row]:
    """The rows of questions about a picture of 20 x 10 pixels."""
    picture = png((20, 10))
    asked = [a_question(n, image=picture, text=text) for n, text in enumerate(texts)]
    with Engine(adapters=["buffered"], isolation=isolation) as engine:  # type: ignore[arg-type]
        return list(engine.answers(asked))


@pytest.mark.usefixtures("counting")
class TestAnothersBackend:
    def test_its_counters_are_in_every_row(self) -> None:
        told = [row.answer.memory for row in rows("How bright?", "And now?") if row.answer]
        read = [(one.active, one.cache, one.peak) for one in told if one]
        assert read == [(WEIGHTS, 600, WEIGHTS + 600)] * 2

    @pytest.mark.slow
    def test_its_error_is_classified_where_it_is_raised(self) -> None:
        failed, answered = rows("Take everything", "How bright?", isolation="inline")
        assert failed.failure is not None
        assert failed.failure.cause == "out_of_memory"
        assert answered.answer is not None

    @pytest.mark.slow
    def test_its_last_words_are_classified_by_the_host(self) -> None:
        failed, answered = rows("Take everything and crash", "How bright?")
        assert failed.failure is not None
        assert failed.failure.cause == "out_of_memory"
        assert "buffers: no room left on device" in failed.failure.message
        assert answered.answer is not None

    def test_it_is_listed_without_its_library(self) -> None:
        assert "counting" in backends.installed()
        assert backends.libraries()["counting"].is_installed
        assert "vqa-engine-counting-backend" in backends.distributions()
        assert "vqa_engine_counting_backend.buffers" not in sys.modules


@pytest.mark.slow
@pytest.mark.timeout(1200)  # a loaded machine is slow, and that is no fault
def test_its_package_proves_itself_where_no_checkout_is_on_the_path(
    wheels: Wheels, tmp_path: Path
) -> None:
    made = Environment.make(tmp_path / "environment")
    made.install(wheels, "vqa-engine", engine=True)
    made.install(wheels, EXAMPLE.name)
    made.run("-m", "pytest", "-q", "-p", "no:cacheprovider", str(EXAMPLE), cwd=tmp_path)


def test_a_backend_that_nobody_offers() -> None:
    with pytest.raises(
        BackendError, match=r"no memory backend 'onnx'; choose from: mlx, none, torch"
    ):
        backends.backend("onnx")


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("import no_such_library", "No module named 'no_such_library'"),
        ("Theirs = 5", "does not name a subclass of MemoryBackend"),
        ("class Theirs: pass", "does not name a subclass of MemoryBackend"),
        (
            """
            from vqa_engine.memory.backend import Library
            class Theirs:
                library = Library()
                def __init__(self, device): pass
            """,
            "Theirs does not implement MemoryBackend",
        ),
        (
            """
            from vqa_engine.memory.backend import Library, MemoryBackend
            class Theirs(MemoryBackend):
                name = "theirs"
                library = Library()
                def __init__(self, device): 1 / 0
            """,
            "creating it failed: ZeroDivisionError",
        ),
        (
            """
            from vqa_engine.memory.backend import Library
            Library(failures=(("gone", "words"),))
            """,
            "'gone' is not one of too_big",
        ),
    ],
)
def test_a_broken_backend_names_its_package_and_the_remedy(
    site: Path, source: str, why: str
) -> None:
    a_backend(site, source)
    with pytest.raises(BackendError) as caught:
        backends.backend("theirs")
    assert "theirs 1.0 is installed, but" in str(caught.value)
    assert why in str(caught.value)
    assert re.search("pip install --upgrade theirs|Install the package", str(caught.value))
    sys.modules.pop("theirs", None)


def test_two_packages_with_one_name_are_both_named(site: Path) -> None:
    a_backend(site, "")
    a_backend(site, "", name="others")
    with pytest.raises(BackendError, match=r"others 1\.0 .* and by theirs 1\.0 .*Uninstall"):
        backends.backend("theirs")


def test_a_broken_backend_keeps_nobody_from_reading_the_others(
    site: Path, caplog: pytest.LogCaptureFixture
) -> None:
    a_backend(site, "import no_such_library")
    assert failures.cause_of("CUDA out of memory") == "out_of_memory"
    assert "no_such_library" in caplog.text


def test_a_pattern_that_is_no_expression_is_an_error_at_import() -> None:
    with pytest.raises(Exception, match="unterminated"):
        Library(failures=(("backend", "[a"),))


def _named(tree: ast.Module) -> Iterator[str]:
    """The strings of a module that name a first-party backend; docstrings are sentences."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            word = node.value.partition(".")[0]
            if word in {"mlx", "torch"}:
                yield node.value


def test_core_names_no_backend_but_its_own() -> None:
    core = Path(vqa_engine.__file__).parent
    found = {
        str(file.relative_to(core)): names
        for file in core.rglob("*.py")
        if (names := list(_named(ast.parse(file.read_text()))))
    }
    assert found == {}


SOUND = """
from vqa_engine.memory.backend import Library, MemoryBackend
class Theirs(MemoryBackend):
    name = "{name}"
    library = Library(module="json", requirement="x", failures=(("backend", "json broke"),))
    def __init__(self, device=None):
        super().__init__(device)
        {does}
"""


@pytest.mark.slow
def test_a_backend_that_ends_its_process_costs_the_doctor_no_other(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offered = {"sound": "pass", "quits": "import os; os._exit(7)"}
    for name, does in offered.items():
        source = SOUND.format(name=name, does=does)
        a_distribution(
            site, name, {name: f"b_{name}:Theirs"}, modules={f"b_{name}": source},
            group=MEMORY_BACKENDS,
        )  # fmt: skip
    a_distribution(
        site, "dead", {"dead": "b_dead:Theirs"}, modules={"b_dead": "import os; os._exit(7)"},
        group=MEMORY_BACKENDS,
    )  # fmt: skip
    found = {one.name: one for one in inspect(Interpreter.of("vqa-engine")).backends}
    assert not found["sound"].error
    assert "ended or stopped the process" in found["quits"].error
    assert "dead" not in found  # the list of plugins says what is wrong with it


def test_a_worker_imports_no_backend_that_its_model_does_not_need(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_backend(site, "raise AssertionError('imported')")
    monkeypatch.setenv(MARK, "a worker's")
    assert failures.cause_of("json broke") is None
    assert failures.cause_of("std::bad_alloc") == "out_of_memory"
    site.joinpath("theirs.py").write_text(SOUND.format(name="theirs", does="pass"))
    backends.load("theirs")
    assert failures.cause_of("json broke") == "backend"
