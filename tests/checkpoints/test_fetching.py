"""Checkpoints brought from the hub: seen, bounded by the disk, continued."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from huggingface_hub import constants

from tests.checkpoints.fake_hub import FakeHub
from vqa_engine.adapter import BUILTIN, Fetchable, ModelRef, Transfer
from vqa_engine.errors import CheckpointError
from vqa_engine_adapters.builtin import CHECKPOINT
from vqa_engine_adapters.checkpoints import transfer
from vqa_engine_adapters.checkpoints.checkpoint import resolve
from vqa_engine_adapters.mlx.smolvlm import SmolVlm

pytest_plugins = ("tests.checkpoints.hub_fixtures",)

TINY = ModelRef(model="owner/tiny")
WEIGHTS = "model.safetensors"
SIZE = (CHECKPOINT / WEIGHTS).stat().st_size


class Interrupted(Exception):
    """The user's Ctrl-C, at a known place."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The embedded checkpoint as the hub's model; its weights count as large."""
    monkeypatch.setattr(transfer, "LARGE", SIZE)
    monkeypatch.setattr(transfer, "INTERVAL", 0.0)
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", SIZE // 10)
    return Path(shutil.copytree(CHECKPOINT, tmp_path / "model"))


def fetched() -> list[Transfer]:
    """What is reported while the checkpoint is fetched."""
    heard: list[Transfer] = []
    SmolVlm().fetch(TINY, heard.append)
    return heard


def interrupted(share: float) -> None:
    """Fetch until this share of all bytes is there."""

    def stop(one: Transfer) -> None:
        if one.done >= share * one.total:
            raise Interrupted

    with pytest.raises((Interrupted, CheckpointError)):
        SmolVlm().fetch(TINY, stop)


def test_adapters_can_be_asked_to() -> None:
    assert isinstance(SmolVlm(), Fetchable)


@pytest.mark.slow
def test_what_is_fetched_is_what_is_loaded(hub: FakeHub) -> None:
    heard = fetched()
    assert heard[-1].done == heard[-1].total >= SIZE
    assert [one.done for one in heard] == sorted(one.done for one in heard)
    assert len(heard) > 5
    hub.calls.clear()
    checkpoint = resolve(SmolVlm.family, TINY)
    assert (checkpoint.folder / WEIGHTS).read_bytes() == (CHECKPOINT / WEIGHTS).read_bytes()
    assert hub.calls == []


def test_what_is_here_is_not_fetched(hub: FakeHub) -> None:
    fetched()
    hub.calls.clear()
    assert fetched() == []
    SmolVlm().fetch(ModelRef(model=BUILTIN), lambda _: None)
    SmolVlm().fetch(ModelRef(model=str(CHECKPOINT)), lambda _: None)
    assert hub.calls == []


def test_what_was_interrupted_is_continued(hub: FakeHub) -> None:
    interrupted(0.6)
    before = hub.sent
    heard = fetched()
    assert heard[0].done < heard[1].done
    assert hub.sent - before < SIZE
    assert (resolve(SmolVlm.family, TINY).folder / WEIGHTS).stat().st_size == SIZE


@pytest.mark.slow
def test_what_was_continued_and_came_out_wrong_is_thrown_away(hub: FakeHub, cache: Path) -> None:
    interrupted(0.6)
    (part,) = cache.glob("*/blobs/*.part")
    part.write_bytes(bytes(part.stat().st_size))
    with pytest.raises(CheckpointError, match="came out wrong"):
        fetched()
    fetched()
    checkpoint = resolve(SmolVlm.family, TINY)
    assert (checkpoint.folder / WEIGHTS).read_bytes() == (CHECKPOINT / WEIGHTS).read_bytes()


@pytest.mark.usefixtures("hub")
def test_a_full_disk_is_known_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: SimpleNamespace(free=10**5))
    with pytest.raises(CheckpointError, match=r"has 0\.00 GB left. Make room"):
        fetched()


@pytest.mark.usefixtures("cache")
def test_without_a_network_the_message_says_what_fetches_it() -> None:
    with pytest.raises(CheckpointError, match="run vqa-engine pull owner/tiny"):
        fetched()


@pytest.mark.usefixtures("cache")
def test_offline_the_message_says_what_fetches_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(CheckpointError, match="Unset that and run vqa-engine pull owner/tiny"):
        fetched()


def test_a_tokenizer_that_code_fetches_is_the_pinned_one(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tokenizers import Tokenizer, models

    from vqa_engine_adapters.torch.moondream_code import TOKENIZERS, _local_tokenizers

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    ((name, commit),) = TOKENIZERS.items()
    root = cache / f"models--{name.replace('/', '--')}"
    for revision, words in ((commit, {"pinned": 0}), ("f" * 40, {"newer": 0})):
        folder = root / "snapshots" / revision
        folder.mkdir(parents=True)
        Tokenizer(models.WordLevel(words)).save(str(folder / "tokenizer.json"))
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text("f" * 40)
    with _local_tokenizers():
        assert Tokenizer.from_pretrained(name).get_vocab() == {"pinned": 0}
    shutil.rmtree(root / "snapshots" / commit)
    with _local_tokenizers(), pytest.raises(CheckpointError):
        Tokenizer.from_pretrained(name)
