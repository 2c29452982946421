"""A faster BLAS stands in for MLX's when it is asked for, and only then."""

from __future__ import annotations

import json
import sys
import sysconfig
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.builders import a_question, png
from tests.environments import ROOT, Environment
from vqa_engine import BUILTIN, AdapterSpec, Engine, ModelRef, Observer
from vqa_engine.blas import chosen, found, trouble
from vqa_engine.interpreter import Interpreter
from vqa_engine.questions.given import as_question_set
from vqa_engine.results import Note
from vqa_engine.worker import WorkerSession
from vqa_engine_cli.main import cli

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="MLX has Accelerate elsewhere")

SITE = Path(sysconfig.get_path("platlib"))
EMBEDDED = AdapterSpec(name="smolvlm", model=ModelRef(model=BUILTIN))


@pytest.fixture(scope="module")
def openblas() -> Path:
    library = found()
    if library is None:
        pytest.skip("no OpenBLAS is installed here, neither by the system nor by a package")
    return library


class Hearing(Observer):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, label: str, note: Note) -> None:
        self.notes.append(note.text)


def test_the_worker_of_an_mlx_model_has_the_library_that_was_asked_for(openblas: Path) -> None:
    session = WorkerSession(EMBEDDED, library=openblas)
    try:
        advice = session.load().advice
        assert str(openblas) in Path(f"/proc/{session.pid}/maps").read_text()
        assert advice == ""
    finally:
        session.release()


def test_the_slow_one_is_told_once_and_the_manifest_names_what_was_taken(
    openblas: Path, tmp_path: Path
) -> None:
    if not list(SITE.glob("mlx*.libs/libblas-*")):
        pytest.skip("this MLX does not bring the reference BLAS")
    hearing, twice = Hearing(), AdapterSpec(name="smolvlm", label="again", model=EMBEDDED.model)
    with Engine(adapters=[EMBEDDED, twice], observer=hearing) as engine:
        engine.run([a_question(image=png())], tmp_path / "run")
    assert len([text for text in hearing.notes if "--blas auto" in text]) == 1
    told = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert {one["blas"] for one in told["adapters"].values()} == {None}
    faster = Engine(adapters=[EMBEDDED], blas="auto").manifest(as_question_set([]))
    assert faster.adapters["smolvlm"].blas == str(openblas)


def test_a_library_that_is_not_there_is_one_sentence() -> None:
    result = CliRunner().invoke(cli, ["ask", "a.png", "?", "--blas", "/no/such.so"])
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert "The BLAS /no/such.so cannot be used: there is no such file. Give the path" in line


def test_what_is_no_blas_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.so").write_text("hello\n" * 100)
    assert "invalid ELF header" in trouble(tmp_path / "text.so")


@pytest.mark.parametrize("name", ["numpy", "scipy"])
def test_a_bundled_blas_with_other_names_inside_is_refused(name: str) -> None:
    libraries = list(SITE.glob(f"{name}.libs/*openblas*"))
    if not libraries:
        pytest.skip(f"{name} brings no OpenBLAS here")
    assert "undefined symbol: sgemm_" in trouble(libraries[0])


def test_another_interpreter_is_asked_for_its_own(tmp_path: Path, openblas: Path) -> None:
    made = Environment.make(tmp_path / "environment")
    (site,) = made.folder.glob("lib/*/site-packages")
    (site / "sources.pth").write_text(str(ROOT / "core"))
    assert chosen("auto", Interpreter("there", str(made.python), ours=False)) == openblas
