"""Nothing that comes with a checkpoint runs, unless it is trusted."""

from __future__ import annotations

import importlib
import json
import pickle
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.mlx.builders import ask, edit, picture
from vqa_engine.adapter import GenerationPlan, ModelRef
from vqa_engine.errors import CheckpointError
from vqa_engine_adapters.builtin import CHECKPOINT
from vqa_engine_adapters.checkpoints.checkpoint import Checkpoint
from vqa_engine_adapters.checkpoints.harmless import code_in, data_of
from vqa_engine_adapters.mlx.generic import MlxVlm
from vqa_engine_adapters.mlx.smolvlm import SmolVlm

pytest_plugins = ("tests.mlx.fixtures",)

CONFIGS = (
    "config.json",
    "tokenizer_config.json",
    "processor_config.json",
    "preprocessor_config.json",
    "video_preprocessor_config.json",
    "generation_config.json",
)
CLASSES = [
    "AutoConfig",
    "AutoProcessor",
    "AutoTokenizer",
    "AutoImageProcessor",
    "AutoVideoProcessor",
    "AutoFeatureExtractor",
    "AutoModel",
    "AutoModelForCausalLM",
    "AutoModelForImageTextToText",
]


class Bomb:
    """A pickle that writes a file when it is read."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self._mark,))


def plant(folder: Path, module: str = "evil") -> Path:
    """Code wherever a runtime may look for it; the file that any of it makes."""
    folder.mkdir(exist_ok=True)
    mark = folder.parent / "ran"
    code = f"import pathlib\npathlib.Path({str(mark)!r}).touch()\nclass Evil: ...\n"
    (folder / "custom_generate").mkdir()
    for name in (
        f"{module}.py",
        "custom_generate/generate.py",
        "__init__.py",
        "conftest.py",
        "sitecustomize.py",
        "numpy.py",
    ):
        (folder / name).write_text(code)
    for name in ("pytorch_model.bin", "model.pt", "weights.npz", "adapter_model.bin"):
        (folder / name).write_bytes(pickle.dumps(Bomb(mark)))
    named = dict.fromkeys(CLASSES, f"{module}.Evil")
    entries = {
        "auto_map": named | {"AutoTokenizer": [f"{module}.Evil", f"{module}.Evil"]},
        "custom_generate": str(folder),
        "attn_implementation": "owner/kernel",
    }
    for name in CONFIGS:
        file = folder / name
        content = json.loads(file.read_text()) if file.exists() else {}
        file.write_text(json.dumps(content | entries))
    return mark


def a_checkpoint(folder: Path) -> Checkpoint:
    """What `read` makes of a folder, whether or not it has weights."""
    return Checkpoint(name=str(folder), folder=folder, config={}, settings={}, tensors={})


@pytest.mark.slow
@pytest.mark.parametrize("adapter", [SmolVlm, MlxVlm])
def test_a_checkpoint_with_planted_code_answers_and_none_of_it_runs(
    copied: Callable[[str], Path],
    adapter: type[MlxVlm],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = copied("smolvlm")
    mark = plant(folder)
    monkeypatch.chdir(folder)
    loaded = adapter()
    loaded.load(ModelRef(model="."))
    assert loaded.answer(ask(picture()), GenerationPlan(max_tokens=2)).token_ids
    loaded.release()
    assert not mark.exists()


@pytest.mark.slow
@pytest.mark.parametrize("adapter", [SmolVlm, MlxVlm])
def test_weights_that_are_pickled_alone_are_refused(
    copied: Callable[[str], Path], adapter: type[MlxVlm]
) -> None:
    folder = copied("smolvlm")
    mark = plant(folder)
    for file in folder.glob("*.safetensors*"):
        file.unlink()
    with pytest.raises(CheckpointError):
        adapter().load(ModelRef(model=str(folder)))
    assert not mark.exists()


@pytest.mark.slow
@pytest.mark.parametrize("model_type", ["got", "internvl_chat", "inkling", "phi3_v"])
def test_a_model_type_that_mlx_vlm_trusts_runs_nothing_either(
    tmp_path: Path, model_type: str
) -> None:
    from transformers import AutoProcessor

    importlib.import_module(f"mlx_vlm.models.{model_type}")
    mark = plant(tmp_path / "folder", f"evil_{model_type}")
    edit(tmp_path / "folder" / "config.json", model_type=model_type)
    with data_of(a_checkpoint(tmp_path / "folder"), ModelRef()) as shown, suppress(Exception):
        AutoProcessor.from_pretrained(str(shown), trust_remote_code=False)
    assert not mark.exists()


@pytest.mark.slow
def test_the_plant_would_have_run(tmp_path: Path) -> None:
    from transformers import AutoProcessor

    importlib.import_module("mlx_vlm.models.got")
    mark = plant(tmp_path / "folder")
    edit(tmp_path / "folder" / "config.json", model_type="got")
    with data_of(a_checkpoint(tmp_path / "folder"), ModelRef(trust_remote_code=True)) as shown:
        assert shown == tmp_path / "folder"
        with suppress(Exception):
            AutoProcessor.from_pretrained(str(shown), trust_remote_code=False)
    assert mark.exists()


def test_a_runtime_that_asks_for_code_of_another_repository_is_refused(tmp_path: Path) -> None:
    from transformers import dynamic_module_utils

    with (
        data_of(a_checkpoint(tmp_path), ModelRef()),
        pytest.raises(PermissionError, match="trust_remote_code"),
    ):
        dynamic_module_utils.get_class_in_module("Evil", "owner/repo/evil.py")


@pytest.fixture
def embedded(tmp_path: Path) -> Path:
    """A copy of the embedded checkpoint, which takes no model library to make."""
    return Path(shutil.copytree(CHECKPOINT, tmp_path / "embedded"))


def test_a_folder_of_data_is_given_as_it_is(embedded: Path) -> None:
    (embedded / "README.md").write_text("# A model")
    with data_of(a_checkpoint(embedded), ModelRef()) as shown:
        assert shown == embedded


def test_the_data_are_shown_whole_and_the_folder_goes_away(embedded: Path) -> None:
    before = {file.name for file in embedded.iterdir()}
    plant(embedded)
    with data_of(a_checkpoint(embedded), ModelRef()) as shown:
        assert shown != embedded
        assert code_in(shown) == []
        assert {file.name for file in shown.iterdir()} == before | set(CONFIGS)
    assert not shown.exists()


@pytest.mark.slow
def test_a_checkpoint_that_cannot_do_without_its_code_says_so(embedded: Path) -> None:
    mark = plant(embedded)
    edit(embedded / "config.json", model_type="evil_vlm")
    with pytest.raises(CheckpointError, match=r"code was not run.*--trust-remote-code"):
        MlxVlm().load(ModelRef(model=str(embedded)))
    assert not mark.exists()
