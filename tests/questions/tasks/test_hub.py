from __future__ import annotations

import importlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests import fakes
from tests.checkpoints.fake_hub import COMMIT, FakeHub, serving, use
from tests.questions.tables.builders import packed, parquet_file, picture
from vqa_engine import Engine
from vqa_engine.errors import QuestionSetError
from vqa_engine.questions.tasks import Task, TaskSet, blinded, find, first, is_here, load_task
from vqa_engine.questions.tasks.pin import pinned
from vqa_engine.questions.tasks.task_set import ask_size, size
from vqa_engine_cli.main import cli

CARD = """
task = "served"
title = "Served"
version = 1
[data]
hub = "owner/new"
also = ["owner/old"]
files = ["data/val-*.parquet"]
questions = 9
[columns]
image = "image"
question = "question"
answers = "answers"
[score]
metrics = ["exact"]
"""


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A hub with one data set of two files, under its old id and its new one."""
    folder = tmp_path / "served"
    for part in range(2):
        rows = [
            {"question": f"q{part}{n}", "answers": ["a"], "image": packed(n)}
            for n in range(4 + part)
        ]
        parquet_file(folder / f"data/val-0000{part}-of-00002.parquet", rows)
    parquet_file(folder / "data/train-00000-of-00001.parquet", [{"question": "no"}])
    with serving(
        FakeHub(dict.fromkeys(("datasets/owner/new", "datasets/owner/old"), folder))
    ) as hub:
        use(hub.url, tmp_path / "hub-cache", monkeypatch)
        yield hub


def task(tmp_path: Path, revision: str = "") -> Task:
    path = tmp_path / "served.toml"
    pin = f'revision = "{revision}"\n' if revision else ""
    path.write_text(CARD.replace("files =", f"{pin}files ="))
    return find.task(str(path))


def loaded(tmp_path: Path) -> TaskSet:
    return load_task(task(tmp_path))


def test_files_are_read_in_order_with_their_pictures(tmp_path: Path, hub: FakeHub) -> None:
    found = list(loaded(tmp_path))
    assert [one.text for one in found] == [
        "q00",
        "q01",
        "q02",
        "q03",
        "q10",
        "q11",
        "q12",
        "q13",
        "q14",
    ]
    images = [one.image for one in found]
    assert [one.read_bytes() for one in images if isinstance(one, Path)] == [
        picture(number) for number in (0, 1, 2, 3, 0, 1, 2, 3, 4)
    ]


def test_only_the_files_of_the_split_are_downloaded(tmp_path: Path, hub: FakeHub) -> None:
    assert not is_here(task(tmp_path))
    loaded(tmp_path)
    assert is_here(task(tmp_path))
    assert not [call for call in hub.calls if "train" in call]
    assert any(COMMIT in call for call in hub.calls)


def test_what_is_complete_is_used_without_the_hub(tmp_path: Path, hub: FakeHub) -> None:
    first = loaded(tmp_path).digest()
    hub.calls.clear()
    hub.repositories.clear()
    assert loaded(tmp_path).digest() == first
    assert hub.calls == []


def test_a_file_that_went_missing_is_downloaded_again(tmp_path: Path, hub: FakeHub) -> None:
    loaded(tmp_path)
    link = next((tmp_path / "hub-cache").rglob("val-00001*"))
    link.resolve().unlink()
    assert not is_here(task(tmp_path))
    assert len(loaded(tmp_path)) == 9


def test_an_id_that_moved_is_found_under_its_other_name(tmp_path: Path, hub: FakeHub) -> None:
    del hub.repositories["datasets/owner/new"]
    assert len(loaded(tmp_path)) == 9


@pytest.mark.slow
def test_an_interrupted_download_goes_on_where_it_stopped(
    tmp_path: Path, hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    constants = importlib.import_module("huggingface_hub.constants")
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 50)
    hub.cut = 100
    try:
        loaded(tmp_path)
    except QuestionSetError:
        assert not is_here(task(tmp_path))
    assert len(loaded(tmp_path)) == 9
    assert 100 in hub.offsets


def test_what_cannot_be_had_is_one_sentence(tmp_path: Path, hub: FakeHub) -> None:
    hub.repositories.clear()
    with pytest.raises(
        QuestionSetError, match=r"owner/new: the hub has no such data set.*owner/old"
    ):
        loaded(tmp_path)


def test_files_that_somebody_put_into_the_hubs_cache_are_used_without_the_hub(
    tmp_path: Path, hub: FakeHub, cache: Path
) -> None:
    one = task(tmp_path, COMMIT)
    digest = load_task(one).digest()
    shutil.rmtree(cache)
    hub.repositories.clear()
    assert load_task(one).digest() == digest
    shutil.rmtree(cache)
    assert load_task(one, offline=True).data_commit == f"owner/new@{COMMIT}"


def test_a_part_of_a_split_in_the_hubs_cache_is_not_the_split(
    tmp_path: Path, hub: FakeHub, cache: Path
) -> None:
    one = task(tmp_path, COMMIT)
    load_task(one)
    shutil.rmtree(cache)
    hub.repositories.clear()
    next((tmp_path / "hub-cache").rglob("val-00001*")).unlink()
    for listing in (tmp_path / "hub-cache").rglob("trees"):  # older clients keep none
        shutil.rmtree(listing)
    wanted = rf"hf download owner/new .* --revision {COMMIT} --include 'data/val-\*"
    with pytest.raises(QuestionSetError, match=wanted):
        load_task(one)


def test_offline_says_that_it_is_not_here(tmp_path: Path, hub: FakeHub) -> None:
    with pytest.raises(QuestionSetError, match="owner/new is not downloaded yet"):
        load_task(task(tmp_path), offline=True)
    assert hub.calls == []


def test_a_pinned_card_names_the_commit_and_the_digest(tmp_path: Path, hub: FakeHub) -> None:
    target = tmp_path / "pinned.toml"
    target.write_text(pinned(task(tmp_path), target))
    data = find.task(str(target)).card.data
    assert data.revision == COMMIT
    assert data.digest == f"sha256:{loaded(tmp_path).data_digest()}"
    assert data.questions == 9
    hub.calls.clear()
    assert len(load_task(find.task(str(target)))) == 9
    assert hub.calls == []  # it is the download that was pinned
    assert pinned(find.task(str(target)), target) == target.read_text()


def test_a_run_notes_the_commit_that_an_unpinned_card_got(tmp_path: Path, hub: FakeHub) -> None:
    questions = load_task(task(tmp_path), limit=2)
    with Engine(adapters=[fakes.Instant], isolation="inline") as engine:
        assert engine.manifest(questions).question_data == f"owner/new@{COMMIT}"
        assert engine.manifest(blinded(questions)).question_data == f"owner/new@{COMMIT}"


def test_the_size_of_a_download_is_asked_for_once(tmp_path: Path, hub: FakeHub) -> None:
    one = task(tmp_path)
    assert size(one) is None
    data = tmp_path / "served" / "data"
    wanted = sum(file.stat().st_size for file in data.glob("val-*"))
    assert ask_size(one) == wanted
    hub.calls.clear()
    assert (size(one), ask_size(one)) == (wanted, wanted)
    assert hub.calls == []
    assert not is_here(one)
    loaded(tmp_path)
    assert size(one) == wanted


def test_a_hub_that_cannot_be_asked_for_the_size_is_said(tmp_path: Path, hub: FakeHub) -> None:
    hub.repositories.clear()
    with pytest.raises(QuestionSetError, match=r"owner/new: the hub has no such data set"):
        ask_size(task(tmp_path))


def changed(tmp_path: Path) -> None:
    """Other questions in a downloaded file of the same size."""
    link = next((tmp_path / "hub-cache").rglob("val-00000*"))
    rows = [{"question": f"Q0{n}", "answers": ["a"], "image": packed(n)} for n in range(4)]
    file = parquet_file(tmp_path / "other.parquet", rows)
    assert file.stat().st_size == link.stat().st_size
    link.resolve().write_bytes(file.read_bytes())


def test_the_first_questions_are_the_ones_that_count(tmp_path: Path, hub: FakeHub) -> None:
    one, digest = task(tmp_path), loaded(tmp_path).data_digest()
    noted = first.known(one, f"owner/new@{COMMIT}")
    assert noted is not None
    assert noted.digest == f"sha256:{digest}"
    assert loaded(tmp_path).data_digest() == digest
    changed(tmp_path)
    with pytest.raises(QuestionSetError, match=r"not those that were first read on .*new@0123"):
        loaded(tmp_path)


def test_another_version_may_read_other_questions_but_says_so(
    tmp_path: Path,
    hub: FakeHub,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    loaded(tmp_path)
    changed(tmp_path)
    monkeypatch.setattr("importlib.metadata.version", lambda _name: "99")
    assert len(loaded(tmp_path)) == 9
    assert "version 99 reads this data differently" in caplog.text
    caplog.clear()
    assert len(loaded(tmp_path)) == 9
    assert not caplog.text


def test_show_tells_the_size_before_and_the_first_digest_after(
    tmp_path: Path, hub: FakeHub
) -> None:
    show = ["tasks", "show", str(tmp_path / "served.toml")]
    task(tmp_path)
    before = CliRunner().invoke(cli, show).output
    assert re.search(r"^size +0 MB$", before, re.MULTILINE)
    assert "digest" not in before
    after = CliRunner().invoke(cli, [*show, "--download"]).output
    assert re.search(r"^digest +sha256:[0-9a-f]{64}, as first read on 20", after, re.MULTILINE)


def test_a_card_with_a_digest_trusts_nothing_else(tmp_path: Path, hub: FakeHub) -> None:
    target = tmp_path / "pinned.toml"
    target.write_text(pinned(task(tmp_path), target))
    changed(tmp_path)
    with pytest.raises(QuestionSetError, match="its questions are not those of the card"):
        load_task(find.task(str(target)))


def test_other_data_than_the_pinned_stops(tmp_path: Path, hub: FakeHub) -> None:
    target = tmp_path / "pinned.toml"
    text = pinned(task(tmp_path), target)
    target.write_text(text.replace('digest = "sha256:', 'digest = "sha256:0'))
    with pytest.raises(QuestionSetError, match="its questions are not those of the card"):
        load_task(find.task(str(target)))
