"""Other interpreters: one that works, and all the ones that cannot."""

from __future__ import annotations

import stat
import sys
import sysconfig
import venv
from pathlib import Path

import attrs
import pytest

from tests.worker import PLAN, ask
from vqa_engine.errors import InterpreterError
from vqa_engine.worker.interpreter import Interpreter

RUBBISH = """#!{}
import os, sys, time
os.write(int(sys.argv[-3]), b"rubbish rubbish")
time.sleep(60)
"""
METADATA = "Metadata-Version: 2.1\nName: vqa-engine\nVersion: {}\n"


@pytest.fixture
def other_python(tmp_path):
    """Makes a virtual environment that sees our packages, less what a test takes away."""

    def make(*, version: str | None = None, bare: bool = False) -> Path:
        venv.create(tmp_path / "venv", with_pip=False, symlinks=True)
        python = tmp_path / "venv" / "bin" / "python"
        major = f"python{sys.version_info.major}.{sys.version_info.minor}"
        site = tmp_path / "venv" / "lib" / major / "site-packages"
        if not bare:
            roots = [sysconfig.get_path("purelib"), *(p for p in sys.path if p.endswith("core"))]
            root = str(Path(__file__).parents[2])
            (site / "ours.pth").write_text("\n".join([*roots, root]))
        if version:
            info = site / f"vqa_engine-{version}.dist-info"
            info.mkdir()
            (info / "METADATA").write_text(METADATA.format(version))
        return python

    return make


def with_python(session, python: Path):
    """The same session under another interpreter."""
    keeper = session._keeper
    keeper._spec = attrs.evolve(keeper._spec, python=python)
    keeper._interpreter = Interpreter.of(keeper._spec)
    return session


def test_another_interpreter_answers(open_session, other_python, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    python = other_python()
    session = with_python(open_session("WherePlan"), python)
    session.load()
    assert session.answer(ask("?"), PLAN).answer.text.endswith(str(python))


def test_another_version_is_named_with_the_cure(open_session, other_python):
    python = other_python(version="0.0.7")
    with pytest.raises(InterpreterError) as caught:
        with_python(open_session("Echo"), python).load()
    text = str(caught.value)
    assert "has vqa-engine 0.0.7, and this one is 0.1.0" in text
    assert f"{python} -m pip install vqa-engine==0.1.0" in text
    assert caught.value.python == str(python)


def test_one_without_vqa_engine(open_session, other_python):
    with pytest.raises(InterpreterError, match=r"has no vqa-engine\. Install it there: .* -m pip"):
        with_python(open_session("Echo"), other_python(bare=True)).load()


def test_one_that_does_not_exist(open_session, tmp_path):
    with pytest.raises(InterpreterError, match=r"cannot be started: No such file"):
        with_python(open_session("Echo"), tmp_path / "python").load()


def test_one_that_may_not_be_run(open_session, tmp_path):
    (tmp_path / "python").write_text("")
    with pytest.raises(InterpreterError, match=r"cannot be started: (Permission|Exec)"):
        with_python(open_session("Echo"), tmp_path / "python").load()


@pytest.mark.parametrize("program", ["/bin/ls", "/bin/true", "/bin/cat"])
def test_one_that_is_no_python(open_session, program):
    with pytest.raises(InterpreterError, match=r"did not start a worker .* It said"):
        with_python(open_session("Echo"), Path(program)).load()


def test_one_that_writes_rubbish_to_the_wire(open_session, tmp_path):
    program = tmp_path / "python"
    program.write_text(RUBBISH.format(sys.executable))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    with pytest.raises(InterpreterError, match="it wrote something else"):
        with_python(open_session("Echo"), program).load()


def test_the_own_interpreter_by_its_path_is_the_own(open_session):
    session = with_python(open_session("WherePlan"), Path(sys.executable))
    session.load()
    assert session.answer(ask("?"), PLAN).answer


def test_a_module_in_the_working_folder_is_not_imported(open_session, tmp_path, monkeypatch):
    (tmp_path / "msgspec.py").write_text("raise RuntimeError('the wrong one')")
    monkeypatch.chdir(tmp_path)
    session = open_session("Echo")
    session.load()
    assert session.answer(ask("?"), PLAN).answer
