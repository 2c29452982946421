"""Which files answered: commits in the hub cache, digests of local folders."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.builders import a_distribution, questions
from vqa_engine import AdapterSpec, Engine
from vqa_engine.adapter import ModelRef
from vqa_engine.errors import RunMismatch
from vqa_engine.files import hub_cache
from vqa_engine.runs import provenance
from vqa_engine.runs.checkpoint import WHOLE, folder_digest, hub_commit
from vqa_engine.runs.directory import read_manifest
from vqa_engine.runs.manifest import adapter_record

COMMIT, OTHER = "a" * 40, "b" * 40


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def put(cache: Path, model: str, commit: str, ref: str = "main") -> None:
    """Lay a hub id into the cache, as a download does."""
    folder = cache / f"models--{model.replace('/', '--')}"
    (folder / "snapshots" / commit).mkdir(parents=True, exist_ok=True)
    (folder / "refs" / ref).parent.mkdir(parents=True, exist_ok=True)
    (folder / "refs" / ref).write_text(commit)


def test_a_hub_id_means_the_commit_of_its_branch_in_the_cache(cache: Path) -> None:
    put(cache, "some/model", COMMIT)
    put(cache, "some/model", OTHER, "refs/pr/1")
    assert hub_commit("some/model") == COMMIT
    assert hub_commit("some/model", "refs/pr/1") == OTHER
    assert hub_commit("some/model", COMMIT) == COMMIT


def test_the_hub_cache_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", "/somewhere/hub")
    assert hub_cache() == Path("/somewhere/hub")


@pytest.mark.parametrize("revision", [None, "main", "v9", COMMIT, "x" * 300, "a\0b"])
def test_what_the_cache_does_not_have_has_no_commit(cache: Path, revision: str | None) -> None:
    put(cache, "other/model", COMMIT)
    assert hub_commit("some/model", revision) is None


def a_folder(path: Path) -> Path:
    path.mkdir()
    (path / "config.json").write_text('{"size": 1}')
    header = json.dumps({"w": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}).encode()
    with (path / "model.safetensors").open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(WHOLE + 1000)
    return path


def change_weights(folder: Path) -> None:
    with (folder / "model.safetensors").open("r+b") as file:
        file.seek(1000)
        file.write(b"\1" * (WHOLE // 2))


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "config.json").write_text('{"size": 2}'),
        lambda folder: (folder / "config.json").rename(folder / "other.json"),
        lambda folder: (folder / "modeling.py").write_text("pass"),
        change_weights,
    ],
)
def test_a_changed_folder_has_another_digest(tmp_path: Path, change: object) -> None:
    folder = a_folder(tmp_path / "model")
    before = folder_digest(str(folder))
    assert before is not None
    assert callable(change)
    change(folder)
    assert folder_digest(str(folder)) != before


def test_where_a_folder_is_and_when_it_was_copied_does_not_count(tmp_path: Path) -> None:
    one, two = a_folder(tmp_path / "one"), a_folder(tmp_path / "two")
    (two / ".cache").mkdir()
    (two / ".cache" / "lock").touch()
    assert folder_digest(str(one)) == folder_digest(str(two))


@pytest.mark.parametrize("model", ["some/model", "builtin", "~nobody/at/all", "x" * 5000, "\0"])
def test_what_is_no_folder_has_no_digest(model: str) -> None:
    assert folder_digest(model) is None


def a_spec(model: str | None) -> AdapterSpec:
    return AdapterSpec(
        name="instant",
        target="tests.fakes:Instant",
        model=ModelRef(model=model, trust_remote_code=True),
    )


def test_the_record_has_the_folder_s_digest_and_whether_its_code_is_trusted(
    tmp_path: Path, cache: Path
) -> None:
    folder = str(a_folder(tmp_path / "model"))
    record = adapter_record(a_spec(folder))
    assert (record.checkpoint, record.commit) == (folder_digest(folder), None)
    assert record.trust_remote_code


@pytest.mark.slow
def test_a_model_that_a_run_downloads_is_no_other_model_on_resume(
    cache: Path, tmp_path: Path
) -> None:
    with Engine(adapters=[a_spec("some/model")], isolation="inline") as engine:
        first = engine.run(questions(1), tmp_path / "run")
        assert read_manifest(tmp_path / "run").adapters["instant"].commit is None
        put(cache, "some/model", COMMIT)
        again = engine.run(questions(1), tmp_path / "run")
        assert read_manifest(tmp_path / "run").adapters["instant"].commit == COMMIT
        put(cache, "some/model", OTHER)
        with pytest.raises(RunMismatch) as caught:
            engine.run(questions(1), tmp_path / "run")
    assert first.tallies == again.tallies
    assert caught.value.differences == {"adapters.instant.commit": (COMMIT, OTHER)}


def test_the_commit_is_no_part_of_the_run_s_name(cache: Path) -> None:
    from vqa_engine.questions import load_questions

    with Engine(adapters=[a_spec("some/model")]) as engine:
        before = engine.manifest(load_questions()).digest
        put(cache, "some/model", COMMIT)
        after = engine.manifest(load_questions())
    assert (after.digest, after.adapters["instant"].commit) == (before, COMMIT)


@pytest.mark.parametrize("revision", ["", f"; default_revision = '{OTHER}'"])
def test_the_default_model_of_a_plugin_counts(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, revision: str
) -> None:
    source = (
        f"from tests.fakes import Instant\nclass A(Instant): default_model = 'some/model'{revision}"
    )
    a_distribution(tmp_path, "has-default", {"with_default": "dm:A"}, modules={"dm": source})
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{Path(__file__).parents[2]}")
    put(cache, "some/model", COMMIT)
    (cache / "models--some--model" / "snapshots" / OTHER).mkdir(parents=True)
    provenance.default_model.cache_clear()
    found = adapter_record(AdapterSpec(name="with_default")).commit
    assert found == (OTHER if revision else COMMIT)
