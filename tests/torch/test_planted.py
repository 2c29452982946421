"""Nothing that comes with a checkpoint runs in torch either, unless it is trusted."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from tests.checkpoints.test_harmless import plant
from tests.mlx.builders import ask, picture
from tests.torch.conftest import Folder
from tests.torch.inside import Failed, Remote
from vqa_engine.adapter import GenerationPlan, ModelRef

pytestmark = pytest.mark.slow

ADAPTERS = {
    "idefics3": "smolvlm:SmolVlmTorch",
    "llava": "llava:LlavaTorch",
    "qwen2_5_vl": "generic:Transformers",
}
ESCAPE = (
    "{{% for one in ''.__class__.__mro__[1].__subclasses__() %}}{{% endfor %}}"
    "{{{{ cycler.__init__.__globals__.os.system('touch {mark}') }}}}"
)
"""A chat template that leaves the sandbox, if there is none."""


def remote(process: ProcessPoolExecutor, target: str) -> Remote:
    return Remote(process, f"vqa_engine_adapters.torch.{target}")


def planted(folder: Folder, kind: str, tmp_path: Path) -> tuple[Path, Path]:
    """A copy of a checkpoint with code everywhere, and the file that any of it makes."""
    copy = tmp_path / "copy"
    shutil.copytree(folder(kind), copy)
    mark = plant(copy, f"evil_{kind}")
    (copy / "additional_chat_templates").mkdir(exist_ok=True)
    based = {"base_model_name_or_path": str(copy), "peft_type": "LORA"}
    (copy / "adapter_config.json").write_text(json.dumps(based))
    return copy, mark


@pytest.mark.parametrize("kind", ADAPTERS)
def test_planted_code_does_not_run(
    process: ProcessPoolExecutor, folder: Folder, tmp_path: Path, kind: str
) -> None:
    copy, mark = planted(folder, kind, tmp_path)
    adapter = remote(process, ADAPTERS[kind])
    assert adapter.load(copy) is None
    assert adapter.ids(ask(picture()), GenerationPlan(max_tokens=2))
    adapter.call("release")
    assert not mark.exists()


@pytest.mark.parametrize("kind", ADAPTERS)
def test_weights_that_are_pickled_alone_are_refused(
    process: ProcessPoolExecutor, folder: Folder, tmp_path: Path, kind: str
) -> None:
    copy, mark = planted(folder, kind, tmp_path)
    for file in copy.glob("*.safetensors*"):
        file.unlink()
    failed = remote(process, ADAPTERS[kind]).load(copy)
    assert isinstance(failed, Failed)
    assert failed.kind == "CheckpointError"
    assert not mark.exists()


def test_a_chat_template_cannot_leave_its_sandbox(
    process: ProcessPoolExecutor, folder: Folder, tmp_path: Path
) -> None:
    copy, mark = planted(folder, "qwen2_5_vl", tmp_path)
    for name in ("chat_template.jinja", "chat_template.json"):
        text = ESCAPE.format(mark=mark)
        (copy / name).write_text(text if "jinja" in name else json.dumps({"chat_template": text}))
    adapter = remote(process, ADAPTERS["qwen2_5_vl"])
    failed = adapter.load(copy) or adapter.call("answer", ask(picture()), GenerationPlan())
    adapter.call("release")
    assert isinstance(failed, Failed)
    assert not mark.exists()


def test_an_adapter_that_runs_a_checkpoint_s_code_asks_first(
    process: ProcessPoolExecutor, folder: Folder, tmp_path: Path
) -> None:
    copy, mark = planted(folder, "moondream2", tmp_path)
    failed = remote(process, "moondream:Moondream2").call("load", ModelRef(model=str(copy)))
    assert isinstance(failed, Failed)
    assert "trust" in failed.text
    assert not mark.exists()
