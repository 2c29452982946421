"""What a checkpoint on the hub needs, found out without its weights and without torch."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.checkpoints.fake_hub import FakeHub
from vqa_engine.adapter import ModelRef
from vqa_engine.errors import CheckpointError
from vqa_engine_adapters.builtin import CHECKPOINT
from vqa_engine_adapters.checkpoints.checkpoint import resolve
from vqa_engine_adapters.torch.generic import Transformers
from vqa_engine_adapters.torch.llava import LlavaTorch
from vqa_engine_adapters.torch.loading import unloadable
from vqa_engine_adapters.torch.smolvlm import SmolVlmTorch

pytest_plugins = ("tests.checkpoints.hub_fixtures",)

HUB_ID = "owner/tiny"
CPU = {"device": "cpu"}


@pytest.fixture
def folder() -> Path:
    """What the hub serves."""
    return CHECKPOINT


def test_a_torchvision_that_does_not_fit_torch_is_named() -> None:
    """As transformers 5.23 says it with torchvision's wheel from PyPI beside torch for the CPU."""
    error = ModuleNotFoundError("Could not import module 'AutoProcessor'.")
    error.__cause__ = RuntimeError("operator torchvision::nms does not exist")
    found = resolve(SmolVlmTorch.family, ModelRef(model=str(CHECKPOINT)))
    assert "torchvision is of another torch's build" in str(unloadable(found, error))


@pytest.mark.parametrize("adapter", [SmolVlmTorch, Transformers])
def test_only_headers_are_fetched(adapter: type[SmolVlmTorch], hub: FakeHub, cache: Path) -> None:
    profile = adapter().profile_of(ModelRef(model=HUB_ID, options=CPU))
    weights = (CHECKPOINT / "model.safetensors").stat().st_size
    assert (profile.backend, profile.device, profile.exact) == ("torch", "cpu", True)
    assert profile.weights == pytest.approx(weights, rel=0.01)
    assert hub.sent < weights / 8
    assert not list(cache.glob("**/*.safetensors"))


@pytest.mark.usefixtures("cache")
def test_a_default_that_is_out_of_reach_is_estimated() -> None:
    profile = SmolVlmTorch().profile_of(ModelRef(options=CPU))
    assert (profile.device, profile.exact) == ("cpu", False)
    assert profile.weights == SmolVlmTorch.family.estimate.weights


@pytest.mark.usefixtures("cache")
def test_another_that_is_out_of_reach_is_an_error() -> None:
    with pytest.raises(CheckpointError, match="owner/other"):
        SmolVlmTorch().profile_of(ModelRef(model="owner/other"))


@pytest.mark.usefixtures("hub")
def test_one_of_another_family_is_left_to_the_generic_adapter() -> None:
    with pytest.raises(CheckpointError, match="--adapter transformers"):
        LlavaTorch().profile_of(ModelRef(model=HUB_ID))
