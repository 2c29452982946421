"""An adapter described for people."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vqa_engine.errors import AdapterNotInstalled
from vqa_engine.worker.apart import described
from vqa_engine_adapters.families.family import MANY_IMAGES


def test_an_adapter_names_its_options_needs_and_licence() -> None:
    found = described("smolvlm-torch")
    assert found.name == "smolvlm_torch"
    assert found.licence == "MIT"
    options = {option.name: option.default for option in found.options}
    assert options["prefix_cache"] is None
    assert "`dtype`" in found.notes
    assert found.profile.weights


@pytest.mark.slow
def test_its_checkpoints_in_the_hub_cache_are_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    for name, kind in (("a--small", "smolvlm"), ("b--other", "llava")):
        snapshot = tmp_path / f"models--{name}" / "snapshots" / "1"
        snapshot.mkdir(parents=True)
        (snapshot / "config.json").write_text(json.dumps({"model_type": kind}))
    assert described("smolvlm").cached == ("a/small",)
    assert described("mlx_vlm").cached == ("a/small", "b/other")
    assert described("openai_server").cached is None


@pytest.mark.slow
def test_how_many_images_a_question_may_have_is_the_adapters_or_the_checkpoints() -> None:
    found = [described(name).images for name in ("moondream2", "smolvlm", "mlx_vlm")]
    assert found == [1, MANY_IMAGES, None]


def test_a_mistyped_adapter_is_corrected() -> None:
    with pytest.raises(AdapterNotInstalled, match="Did you mean 'smolvlm'"):
        described("smolvml")
