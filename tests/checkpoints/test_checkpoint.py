"""From a model's name to a folder with a whole checkpoint, or one sentence why not."""

from __future__ import annotations

import json
import os
import shutil
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.checkpoints.fake_hub import COMMIT, FakeHub
from vqa_engine.adapter import ModelRef
from vqa_engine.errors import (
    AnswerError,
    BackendError,
    CheckpointError,
    OutOfMemory,
    VqaEngineError,
)
from vqa_engine.failures import classify
from vqa_engine_adapters.checkpoints import checkpoint as checkpoint_module
from vqa_engine_adapters.checkpoints import hub as hub_module
from vqa_engine_adapters.checkpoints.checkpoint import Checkpoint, describe, resolve
from vqa_engine_adapters.checkpoints.headers import read_header
from vqa_engine_adapters.families.family import Family
from vqa_engine_adapters.mlx.generic import MlxVlm
from vqa_engine_adapters.mlx.llava import LlavaMlx
from vqa_engine_adapters.mlx.smolvlm import SmolVlm

ANY = MlxVlm.family
HUB_ID = "owner/tiny"

pytest_plugins = ("tests.checkpoints.hub_fixtures",)


def write_tensors(file: Path, names: tuple[str, ...] = ("a", "b")) -> None:
    """A safetensors file with one float32 pair per name."""
    header: dict[str, Any] = {
        name: {"dtype": "F32", "shape": [2], "data_offsets": [8 * index, 8 * index + 8]}
        for index, name in enumerate(names)
    }
    raw = json.dumps(header | {"__metadata__": {"format": "mlx"}}).encode()
    file.write_bytes(len(raw).to_bytes(8, "little") + raw + bytes(8 * len(names)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that passes for a checkpoint."""
    target = tmp_path / "tiny"
    target.mkdir()
    (target / "config.json").write_text(json.dumps({"model_type": "tiny"}))
    (target / "preprocessor_config.json").write_text(json.dumps({"num_crops": 4}))
    write_tensors(target / "model.safetensors")
    return target


def found(model: str, family: Family = ANY, **fields: Any) -> Checkpoint:
    """The checkpoint of that name."""
    return resolve(family, ModelRef(model=model, **fields))


def refused(model: str | None, family: Family = ANY, **fields: Any) -> CheckpointError:
    """The error that the name leads to: one line, with its cause out of the text."""
    with pytest.raises(CheckpointError) as caught:
        resolve(family, ModelRef(model=model, **fields))
    assert "\n" not in str(caught.value)
    assert "Traceback" not in str(caught.value)
    return caught.value


class TestFolder:
    """A local folder is read as far as its headers."""

    def test_is_read(self, folder: Path) -> None:
        checkpoint = found(str(folder))
        assert checkpoint.folder == folder
        assert checkpoint.settings["num_crops"] == 4
        assert sum(tensor.nbytes for tensor in checkpoint.tensors.values()) == 16

    def test_processor_settings_may_be_nested(self, folder: Path) -> None:
        """transformers 5 writes the image processor's settings into processor_config.json."""
        nested = {"image_seq_len": 64, "image_processor": {"num_crops": 16}}
        (folder / "processor_config.json").write_text(json.dumps(nested))
        settings = found(str(folder)).settings
        assert (settings["num_crops"], settings["image_seq_len"]) == (16, 64)

    def test_shards_are_those_of_the_index(self, folder: Path) -> None:
        (folder / "model.safetensors").rename(folder / "one.safetensors")
        write_tensors(folder / "two.safetensors", ("c",))
        write_tensors(folder / "stray.safetensors", ("d",))
        index = {"weight_map": {"a": "one.safetensors", "c": "two.safetensors"}}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
        assert set(found(str(folder)).tensors) == {"a", "b", "c"}
        (folder / "two.safetensors").unlink()
        assert "two.safetensors is missing" in str(refused(str(folder)))

    @pytest.mark.parametrize(
        ("name", "content", "reason"),
        [
            ("config.json", None, "config.json is missing"),
            ("config.json", b"{", "config.json is not readable JSON"),
            ("config.json", b"\xff\xfe", "config.json is not readable JSON"),
            ("config.json", b"[]", "config.json is not a JSON object"),
            ("preprocessor_config.json", b"{", "preprocessor_config.json is not readable JSON"),
            ("model.safetensors", None, "*.safetensors is missing"),
            ("model.safetensors", b"", "model.safetensors is broken: it has no safetensors"),
            ("model.safetensors", bytes(64), "model.safetensors is broken: it has no safetensors"),
            ("model.safetensors", b"\x02" + bytes(7) + b"[]", "header is not readable"),
            ("model.safetensors", b"version https://git-lfs.github.com", "model.safetensors is br"),
        ],
    )
    def test_broken_file_is_named(
        self, folder: Path, name: str, content: bytes | None, reason: str
    ) -> None:
        (folder / name).unlink()
        if content is not None:
            (folder / name).write_bytes(content)
        assert reason in str(refused(str(folder)))

    @pytest.mark.timeout(20)
    @pytest.mark.parametrize("kind", [os.mkfifo, lambda file: file.symlink_to("/dev/zero")])
    @pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors", "x.py"])
    def test_a_file_that_never_ends_is_named(
        self, folder: Path, name: str, kind: Callable[[Path], None]
    ) -> None:
        (folder / name).unlink(missing_ok=True)
        kind(folder / name)
        assert f"{name} is not a regular file" in str(refused(str(folder)))

    @pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json"])
    @pytest.mark.parametrize("content", ["[" * 100_000, '{"image_processor": [1]}', "\0" * 99])
    def test_hostile_json_is_named(self, folder: Path, name: str, content: str) -> None:
        if name == "config.json" and "image_processor" in content:
            return  # which is no setting there
        (folder / name).write_text(content)
        assert name in str(refused(str(folder)))

    @pytest.mark.parametrize("shards", ["[]", "7", '{"a": 7}', '{"a": null}'])
    def test_an_index_that_names_no_files_is_named(self, folder: Path, shards: str) -> None:
        file = "model.safetensors.index.json"
        (folder / file).write_text(f'{{"weight_map": {shards}}}')
        assert file in str(refused(str(folder)))

    @pytest.mark.parametrize("kept", [-1, 40, 7])
    def test_truncated_weights_are_named(self, folder: Path, kept: int) -> None:
        file = folder / "model.safetensors"
        file.write_bytes(file.read_bytes()[:kept])
        assert "model.safetensors is broken" in str(refused(str(folder)))
        with pytest.raises(ValueError, match=r"truncated|header"):
            read_header(file)

    @pytest.mark.parametrize("name", ["/no/such/folder", "./here", "~/nowhere", "a/b/c"])
    def test_that_is_not_there(self, name: str) -> None:
        assert "there is no such folder" in str(refused(name))

    def test_of_another_family(self, folder: Path) -> None:
        text = str(refused(str(folder), SmolVlm.family))
        assert "'tiny'" in text
        assert "smolvlm or idefics3" in text
        assert "--adapter mlx_vlm" in text

    def test_with_code_of_its_own(self, folder: Path) -> None:
        (folder / "config.json").write_text(json.dumps({"model_file": "evil.py"}))
        assert "evil.py" in str(refused(str(folder)))
        assert found(str(folder), trust_remote_code=True).folder == folder


class TestNames:
    """`builtin` and no name at all."""

    def test_builtin_of_an_adapter_without(self) -> None:
        assert "--adapter smolvlm --model builtin" in str(refused("builtin", LlavaMlx.family))

    def test_builtin(self) -> None:
        from vqa_engine_adapters.builtin import CHECKPOINT

        if not CHECKPOINT.is_dir():
            pytest.skip("the built-in checkpoint is not in this tree yet")
        assert found("builtin", SmolVlm.family).folder == CHECKPOINT

    def test_none(self) -> None:
        assert "no default model" in str(refused(None))
        assert "--model" in str(refused(None))


@pytest.fixture
def cached(cache: Path, folder: Path) -> Callable[[str], Path]:
    """Put the folder into the cache as `owner/tiny` of some branch or tag."""

    def put(revision: str = "main") -> Path:
        storage = cache / "models--owner--tiny"
        (storage / "refs").mkdir(parents=True)
        (storage / "refs" / revision).write_text(COMMIT)
        return Path(shutil.copytree(folder, storage / "snapshots" / COMMIT))

    return put


class TestCache:
    """What is in the local cache needs no network."""

    def test_is_asked_first(self, cached: Callable[..., Path]) -> None:
        copy = cached()
        assert found(HUB_ID).folder == copy

    @pytest.mark.parametrize("revision", ["v1", COMMIT])
    def test_of_a_revision(self, cached: Callable[[str], Path], revision: str) -> None:
        cached("v1")
        assert found(HUB_ID, revision=revision).folder.name == COMMIT
        assert "revision" in str(refused(HUB_ID, revision="v2"))

    def test_with_an_incomplete_copy(self, cached: Callable[..., Path]) -> None:
        (cached() / "model.safetensors").unlink()
        text = str(refused(HUB_ID))
        assert "the local hub cache, where *.safetensors is missing" in text
        assert "then the hub" in text


class TestHub:
    """A download, and each way in which there is none."""

    def test_downloads_once(self, hub: FakeHub, capfd: pytest.CaptureFixture[str]) -> None:
        first = found(HUB_ID)
        asked = len(hub.calls)
        assert first.folder.name == COMMIT
        assert found(HUB_ID) == first
        assert len(hub.calls) == asked
        assert capfd.readouterr() == ("", "")

    def test_completes_a_broken_copy(self, hub: FakeHub, cached: Callable[..., Path]) -> None:
        (cached() / "model.safetensors").unlink()
        assert set(found(HUB_ID).tensors) == {"a", "b"}
        assert f"/{HUB_ID}/resolve/{COMMIT}/model.safetensors" in hub.calls

    @pytest.mark.parametrize("trusted", [False, True])
    def test_fetches_code_only_when_trusted(self, hub: FakeHub, trusted: bool) -> None:
        (hub.repositories[HUB_ID] / "modeling.py").write_text("")
        checkpoint = found(HUB_ID, trust_remote_code=trusted)
        assert (checkpoint.folder / "modeling.py").exists() == trusted

    def test_unknown_revision(self, hub: FakeHub) -> None:
        assert "no revision 'gone'" in str(refused(HUB_ID, revision="gone"))
        assert hub.calls

    def test_unknown_model(self, hub: FakeHub) -> None:
        error = refused("owner/other")
        assert "no such model, or it is private" in str(error)
        assert error.tried == ("the local hub cache", "the hub")
        assert hub.calls

    @pytest.mark.usefixtures("hub")
    def test_a_mistyped_folder_is_said_to_be_none(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "models" / "smolvlm").mkdir(parents=True)
        monkeypatch.chdir(tmp_path)
        text = str(refused("models/smolvml"))
        assert "the folder models/smolvml, which does not exist" in text
        assert "did you mean models/smolvlm?" in text

    @pytest.mark.parametrize(
        ("refusal", "reason"),
        [
            ((401, "RepoNotFound"), "no such model, or it is private"),
            ((403, "GatedRepo"), "accepted its terms"),
            ((500, ""), "HTTP status 500"),
        ],
    )
    def test_refusals(self, hub: FakeHub, refusal: tuple[int, str], reason: str) -> None:
        hub.refusal = refusal
        assert reason in str(refused(HUB_ID))

    @pytest.mark.usefixtures("cache")
    def test_nobody_there(self) -> None:
        error = refused(None, SmolVlm.family)
        assert "SmolVLM2-500M" in str(error)
        assert "(tried the local hub cache, then the hub)" in str(error)
        assert "the hub cannot be reached" in str(error)
        assert "hf download mlx-community/SmolVLM2-500M-Video-Instruct-mlx" in str(error)
        assert error.__cause__ is not None

    @pytest.mark.usefixtures("cache")
    def test_offline(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from huggingface_hub import constants

        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        assert "HF_HUB_OFFLINE" in str(refused(HUB_ID))

    @pytest.mark.usefixtures("cache")
    def test_silence_does_not_hang(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from huggingface_hub import constants

        monkeypatch.setattr(hub_module, "TIMEOUT", 0.3)
        with socket.create_server(("127.0.0.1", 0)) as silent:
            port = silent.getsockname()[1]
            monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{port}")
            started = time.monotonic()
            assert "cannot be reached (ReadTimeout)" in str(refused(HUB_ID))
        assert time.monotonic() - started < 20

    @pytest.mark.usefixtures("cache")
    def test_no_valid_id(self) -> None:
        assert "nor a valid hub id" in str(refused("what is this?"))


class TestDescription:
    """A checkpoint described by its small files and its weights' headers."""

    def test_of_the_hub(self, hub: FakeHub, cache: Path, capfd: pytest.CaptureFixture[str]) -> None:
        described = describe(ANY, ModelRef(model=HUB_ID))
        read = checkpoint_module.read(HUB_ID, hub.repositories[HUB_ID])
        assert (described.config, described.settings) == (read.config, read.settings)
        assert described.tensors == read.tensors
        assert not list(cache.glob("**/*.safetensors"))
        assert capfd.readouterr() == ("", "")

    @pytest.mark.usefixtures("hub")
    def test_is_not_in_the_way_of_a_load(self) -> None:
        """It leaves nothing in the hub's cache that a later load would trip over."""
        describe(ANY, ModelRef(model=HUB_ID))
        assert found(HUB_ID).folder.name == COMMIT

    def test_of_a_folder_is_the_checkpoint(self, folder: Path) -> None:
        assert describe(ANY, ModelRef(model=str(folder))) == found(str(folder))

    @pytest.mark.usefixtures("cache")
    def test_of_a_default_that_is_out_of_reach_is_the_estimate(self) -> None:
        assert SmolVlm().profile_of(ModelRef()) == SmolVlm.family.estimate
        named = ModelRef(model=SmolVlm.family.model)
        assert not SmolVlm().profile_of(named).exact

    @pytest.mark.usefixtures("cache")
    @pytest.mark.parametrize("model", [None, "owner/other", "/no/such/folder"])
    def test_of_another_that_is_out_of_reach(self, model: str | None) -> None:
        with pytest.raises(CheckpointError):
            MlxVlm().profile_of(ModelRef(model=model))


class TestFailures:
    """Texts of MLX and what they mean (docs/facts/memory.md, "Texts to classify")."""

    @pytest.mark.parametrize(
        ("text", "kind"),
        [
            ("[METAL] Command buffer execution failed: Insufficient Memory", OutOfMemory),
            ("(00000008:kIOGPUCommandBufferCallbackErrorOutOfMemory)", OutOfMemory),
            ("CUDA out of memory. Tried to allocate", OutOfMemory),
            ("DefaultCPUAllocator: can't allocate memory", OutOfMemory),
            ("[metal::malloc] Resource limit (499000) exceeded.", BackendError),
            (
                "(0000000e:kIOGPUCommandBufferErrorImpactingInteractivity)",
                BackendError,
            ),
            ("Caused GPU Timeout Error (00000002)", BackendError),
            ("There is no Stream(gpu, 0) in current thread.", BackendError),
            ("Shapes (3,4) and (5,6) cannot be broadcast", AnswerError),
        ],
    )
    def test_are_told_by_their_text(self, text: str, kind: type[VqaEngineError]) -> None:
        assert type(classify(RuntimeError(text), "mlx_vlm")) is kind

    def test_too_large_a_buffer_says_how_large(self) -> None:
        text = (
            "[metal::malloc] Attempting to allocate 9663676416 bytes which is greater than "
            "the maximum allowed buffer size of 8589934592 bytes."
        )
        error = classify(RuntimeError(text), "mlx_vlm")
        assert isinstance(error, OutOfMemory)
        assert (error.needed, error.budget) == (9663676416, 8589934592)

    def test_ours_pass_and_others_keep_their_name(self) -> None:
        ours = CheckpointError("m", (), "r", "Do.")
        assert classify(ours, "x") is ours
        other = classify(KeyError("k"), "x")
        assert isinstance(other, AnswerError)
        assert other.cause == "KeyError"
        assert isinstance(classify(MemoryError(), "x"), OutOfMemory)
