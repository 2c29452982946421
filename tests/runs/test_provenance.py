"""Where an adapter's code comes from, and that a changed one is another run."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.builders import a_distribution, questions
from vqa_engine import Engine
from vqa_engine.errors import RunMismatch
from vqa_engine.plugins.spec import AdapterSpec
from vqa_engine.runs import manifest
from vqa_engine.runs.manifest import adapter_record
from vqa_engine.runs.provenance import code_hash

GOOD = "from tests.fakes import Instant as Adapter"


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The installed module of the adapter `traced`."""
    site = tmp_path / "site"
    monkeypatch.syspath_prepend(site)
    modules = {"traced_mod": GOOD}
    a_distribution(site, "traced", {"traced": "traced_mod:Adapter"}, modules=modules)
    return site / "traced_mod.py"


def test_the_record_names_distribution_version_and_code(plugin: Path) -> None:
    record = adapter_record(AdapterSpec(name="traced"))
    assert (record.distribution, record.version) == ("traced", "1.0")
    assert record.sha256 == code_hash("traced_mod:Adapter")
    assert "traced_mod" not in sys.modules


def test_a_changed_adapter_is_a_changed_manifest_and_its_run_is_not_continued(
    plugin: Path, tmp_path: Path
) -> None:
    with Engine(adapters=["traced"], isolation="inline") as engine:
        engine.run(questions(2), tmp_path / "run")
        plugin.write_text(f"{GOOD}\n# another one\n")
        with pytest.raises(RunMismatch) as caught:
            engine.run(questions(2), tmp_path / "run")
    assert set(caught.value.differences) == {"adapters.traced.sha256"}


def test_every_module_of_the_adapter_s_package_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    folder = tmp_path / "counted" / "part"
    folder.mkdir(parents=True)
    for name in ("mine.py", "helper.py"):
        (folder / name).write_text("x = 1\n")
    before = code_hash("counted.part.mine:Adapter")
    (folder / "notes.txt").write_text("not code")
    assert code_hash("counted.part.mine:Adapter") == before
    (folder / "helper.py").write_text("x = 2\n")
    assert code_hash("counted.part.mine:Adapter") != before


@pytest.mark.parametrize("target", ["__main__:Adapter", "no_such_module:Adapter"])
def test_code_that_is_nowhere_has_no_hash(target: str) -> None:
    assert code_hash(target) is None


def test_another_interpreter_is_asked_where_its_adapter_comes_from() -> None:
    here = adapter_record(AdapterSpec(name="smolvlm"))
    there = adapter_record(AdapterSpec(name="smolvlm", python=Path(sys.executable)))
    assert (there.distribution, there.sha256) == (here.distribution, here.sha256)
    assert there.libraries == here.libraries


def test_an_interpreter_that_cannot_say_leaves_it_open() -> None:
    record = adapter_record(AdapterSpec(name="smolvlm", python=Path("/no/such/python")))
    assert (record.distribution, record.sha256) == (None, None)


def test_a_manifest_from_before_the_hash_can_be_read(plugin: Path) -> None:
    with Engine(adapters=["traced"], isolation="inline") as engine:
        from vqa_engine.questions.given import as_question_set

        written = engine.manifest(as_question_set(questions(1)))
    older = written.encode().replace(b'"sha256"', b'"forgotten"')
    assert manifest.decode(older).adapters["traced"].sha256 is None


def test_the_libraries_are_those_that_can_change_an_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_distribution(tmp_path, "thirsty", {"thirsty": "m:A"}, modules={"m": GOOD})
    metadata = tmp_path / "thirsty-1.0.dist-info" / "METADATA"
    wanted = ("msgspec>=0.20", "vqa-engine", "absent", 'pytest; extra == "test"')
    metadata.write_text(metadata.read_text() + "".join(f"Requires-Dist: {w}\n" for w in wanted))
    monkeypatch.syspath_prepend(tmp_path)
    found = adapter_record(AdapterSpec(name="thirsty")).libraries
    assert {"python", "Pillow", "msgspec"} <= found.keys()
    assert not {"absent", "pytest", "vqa-engine", "rich"} & found.keys()


def test_the_libraries_are_those_of_the_worker_s_interpreter(tmp_path: Path) -> None:
    """Another environment has its own: here one with another Pillow in front."""
    info = tmp_path / "pillow-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: pillow\nVersion: 0.1\n")
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    record = adapter_record(AdapterSpec(name="smolvlm", python=python))
    assert record.libraries["Pillow"] == "0.1"
    assert adapter_record(AdapterSpec(name="smolvlm")).libraries["Pillow"] != "0.1"
