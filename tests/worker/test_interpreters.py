"""Other interpreters: one that works, and all the ones that cannot."""

from __future__ import annotations

import stat
import sys
import venv
from pathlib import Path
from typing import Protocol

import pytest

from tests.asking import reply_to
from tests.builders import a_distribution
from tests.worker import PLAN, Opener, answered, ask, failed
from vqa_engine.errors import InterpreterError
from vqa_engine.plugins.entry_points import MEMORY_BACKENDS

RUBBISH = """#!{}
import os, sys, time
os.write(int(sys.argv[-2]), b"rubbish rubbish")
time.sleep(60)
"""
ONYX = """
from vqa_engine.memory.backend import Library, MemoryBackend

class Onyx(MemoryBackend):
    name = "onyx"
    library = Library(failures=(("out_of_memory", "arena exhausted"),))
"""
METADATA = "Metadata-Version: 2.1\nName: vqa-engine\nVersion: {}\n"


class PythonMaker(Protocol):
    """Makes another interpreter with a vqa-engine of this version, or a bare one."""

    def __call__(self, *, version: str | None = None, bare: bool = False) -> Path: ...


@pytest.fixture
def other_python(tmp_path: Path) -> PythonMaker:
    """Makes a virtual environment that sees our packages, less what a test takes away."""

    def make(*, version: str | None = None, bare: bool = False) -> Path:
        venv.create(tmp_path / "venv", with_pip=False, symlinks=True)
        python = tmp_path / "venv" / "bin" / "python"
        major = f"python{sys.version_info.major}.{sys.version_info.minor}"
        site = tmp_path / "venv" / "lib" / major / "site-packages"
        if not bare:
            roots = [p for p in sys.path if p.endswith(("core", "site-packages"))]
            root = str(Path(__file__).parents[2])
            (site / "ours.pth").write_text("\n".join([*roots, root]))
        if version:
            info = site / f"vqa_engine-{version}.dist-info"
            info.mkdir()
            (info / "METADATA").write_text(METADATA.format(version))
        return python

    return make


def test_another_interpreter_answers(
    open_session: Opener, other_python: PythonMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    python = other_python()
    session = open_session("WherePlan", python=python)
    session.load()
    assert answered(reply_to(session, ask("?"), PLAN)).text.endswith(str(python))


def test_two_versions_of_one_package_answer_side_by_side(
    open_session: Opener, other_python: PythonMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = other_python()
    (site,) = (tmp_path / "venv").glob("lib/*/site-packages")
    (site / "dependency.py").write_text("VERSION = 2")
    (tmp_path / "dependency.py").write_text("VERSION = 1")
    monkeypatch.syspath_prepend(tmp_path)
    sessions = [open_session("Depends"), open_session("Depends", python=python)]
    for session in sessions:
        session.load()
    assert [answered(reply_to(s, ask("?"), PLAN)).text for s in sessions] == ["1", "2"]


@pytest.mark.slow
def test_last_words_are_read_by_the_backends_of_its_own_environment(
    open_session: Opener, other_python: PythonMaker, tmp_path: Path
) -> None:
    python = other_python()
    (site,) = (tmp_path / "venv").glob("lib/*/site-packages")
    a_distribution(
        site, "onyx", {"onyx": "onyx:Onyx"}, modules={"onyx": ONYX}, group=MEMORY_BACKENDS
    )
    session = open_session("SpeaksAndAborts", python=python)
    session.load()
    failure = failed(reply_to(session, ask("bad onyx: arena exhausted"), PLAN))
    assert failure.cause == "out_of_memory"
    assert "onyx: arena exhausted" in failure.message


def test_another_version_is_named_with_the_cure(
    open_session: Opener, other_python: PythonMaker
) -> None:
    python = other_python(version="0.0.7")
    with pytest.raises(InterpreterError) as caught:
        open_session("Echo", python=python).load()
    text = str(caught.value)
    assert "has vqa-engine 0.0.7, and this one is 0.1.0" in text
    assert f"{python} -m pip install vqa-engine==0.1.0" in text
    assert caught.value.python == str(python)


def test_one_without_vqa_engine(open_session: Opener, other_python: PythonMaker) -> None:
    with pytest.raises(InterpreterError, match=r"has no vqa-engine\. Install it there: .* -m pip"):
        open_session("Echo", python=other_python(bare=True)).load()


def test_one_that_does_not_exist(open_session: Opener, tmp_path: Path) -> None:
    with pytest.raises(InterpreterError, match=r"cannot be started: No such file"):
        open_session("Echo", python=tmp_path / "python").load()


def test_one_that_may_not_be_run(open_session: Opener, tmp_path: Path) -> None:
    (tmp_path / "python").write_text("")
    with pytest.raises(InterpreterError, match=r"cannot be started: (Permission|Exec)"):
        open_session("Echo", python=tmp_path / "python").load()


@pytest.mark.parametrize("program", ["/bin/ls", "/bin/true", "/bin/cat"])
def test_one_that_is_no_python(open_session: Opener, program: str) -> None:
    with pytest.raises(InterpreterError, match=r"did not start a worker .* Its last output"):
        open_session("Echo", python=Path(program)).load()


def test_one_that_writes_rubbish_to_the_wire(open_session: Opener, tmp_path: Path) -> None:
    program = tmp_path / "python"
    program.write_text(RUBBISH.format(sys.executable))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    with pytest.raises(InterpreterError, match="it wrote something else"):
        open_session("Echo", python=program).load()


def test_the_own_interpreter_by_its_path_is_the_own(open_session: Opener) -> None:
    session = open_session("WherePlan", python=Path(sys.executable))
    session.load()
    assert reply_to(session, ask("?"), PLAN).answer


def test_a_module_in_the_working_folder_is_not_imported(
    open_session: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "msgspec.py").write_text("raise RuntimeError('the wrong one')")
    monkeypatch.chdir(tmp_path)
    session = open_session("Echo")
    session.load()
    assert reply_to(session, ask("?"), PLAN).answer
