"""A package that offers every name that vqa-engine has stops nobody who did not ask for a name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.builders import a_distribution, png
from vqa_engine.engine import Engine
from vqa_engine.errors import AdapterClash, ConfigurationError
from vqa_engine.memory import backends
from vqa_engine.plugins import entry_points as plugins
from vqa_engine.plugins.resolution import as_default, resolve
from vqa_engine.plugins.spec import AdapterSpec
from vqa_engine.questions import load_questions
from vqa_engine.runs.provenance import origin
from vqa_engine.scoring import metric
from vqa_engine_cli.main import cli


@pytest.fixture
def twin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder to work in, and a package `twin` with every name of ours, which breaks."""
    site, work = tmp_path / "site", tmp_path / "work"
    work.mkdir()
    site.mkdir()
    groups = {
        group: [one.name for one in plugins.find(group) if one.distribution == plugins.OURS]
        for group in plugins.KINDS
    }
    for number, (group, names) in enumerate(groups.items()):
        entries = dict.fromkeys(names, "twin_mod:x")
        modules = {"twin_mod": "1 / 0"}
        a_distribution(site, f"twin{number}", entries, modules=modules, group=group)
    monkeypatch.syspath_prepend(site)
    monkeypatch.chdir(work)
    Path("a.png").write_bytes(png())
    Path("set.jsonl").write_text(
        '{"question_id": 1, "image": "a.png", "question": "What colour?", "answers": ["red"]}\n'
    )
    backends.load.cache_clear()
    monkeypatch.setattr(plugins, "_passed_over", set[str]())
    yield work
    backends.load.cache_clear()


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(cli, [*arguments], catch_exceptions=False)


def test_what_nobody_asked_for_by_name_is_ours(
    twin: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert len(load_questions()) > 0
    questions = load_questions("set.jsonl")
    assert len(questions) == 1
    assert backends.backend("none")
    spec = as_default(AdapterSpec(name="smolvlm"))
    assert spec.target == "vqa_engine_adapters.mlx.smolvlm:SmolVlm"
    assert origin(spec).distribution == plugins.OURS
    assert resolve(None)[0].label == "demo"
    with Engine(spec, isolation="inline") as engine:
        (scores, _) = engine._scored_by(questions)
    assert [one.name for one in scores] == ["exact"]
    warned = [one.getMessage() for one in caplog.records]
    assert (
        sum("its own metric 'exact', not the one that twin2 1.0 offers" in one for one in warned)
        == 1
    )
    assert len(warned) == 4  # that package, and those of the other names that were used


def test_what_was_asked_for_by_name_is_an_error_that_names_both(twin: Path) -> None:
    both = r"offered by (vqa-engine .* and by twin|twin.* and by vqa-engine)"
    with pytest.raises(ConfigurationError, match=both):
        metric("exact")
    with pytest.raises(ConfigurationError, match=both):
        load_questions("shapes:count=3")
    with pytest.raises(AdapterClash, match=both):
        resolve("smolvlm")


@pytest.mark.slow
def test_every_command_without_names_works(twin: Path, caplog: pytest.LogCaptureFixture) -> None:
    ran = invoke("--questions", "set.jsonl", "--output", "out")
    assert ran.exit_code == 0, ran.output
    assert caplog.text.count("its own metric") == 1
    for arguments in (
        ("--limit", "3"),
        ("ask", "a.png", "What colour?"),
        ("score", "out"),
        ("show", "out"),
        ("export", "out"),
        ("compare", "out", "out"),
        ("report", "out"),
        ("memory", "out"),
        ("fit",),
        ("adapters",),
        ("tasks",),
        ("runs", "."),
    ):
        said = invoke(*arguments)
        assert said.exit_code == 0, (arguments, said.output)
    assert "offered by" in invoke("adapters").output
    for named in (("-a", "smolvlm@builtin"), ("score", "out", "--metric", "exact")):
        said = invoke(*named)
        assert said.exit_code == 1
        assert " and by " in said.output
