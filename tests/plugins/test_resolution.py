"""What an engine accepts as its adapters."""

from __future__ import annotations

import pytest

from tests.fakes import Instant
from vqa_engine import BUILTIN, AdapterSpec, Engine
from vqa_engine.errors import ConfigurationError
from vqa_engine.plugins.resolution import Adapter, resolve


@pytest.mark.parametrize(
    ("one", "label"),
    [
        ("smolvlm", "smolvlm"),
        ("llava-mlx", "llava_mlx"),
        (AdapterSpec(name="llava-mlx", label="mine"), "mine"),
        (Instant, "instant"),
        (Instant(), "instant"),
        (None, "demo"),
    ],
)
def test_a_single_adapter_needs_no_list(one: Adapter | None, label: str) -> None:
    (found,) = resolve(one)
    assert found.label == label


def test_an_engine_accepts_a_name() -> None:
    assert Engine("smolvlm@builtin").labels == ("smolvlm@builtin",)


def test_a_name_may_bring_its_checkpoint() -> None:
    plain, small, big = resolve(["smolvlm", "smolvlm@builtin", "smolvlm@owner/name"])
    assert (plain.spec.model.model, small.spec.model.model) == (None, BUILTIN)
    assert (big.spec.name, big.spec.model.model) == ("smolvlm", "owner/name")


@pytest.mark.parametrize(
    ("adapters", "said"),
    [
        ([], "There is no adapter to run; name at least one"),
        (["smolvlm", "smolvlm"], "Two adapters have the label 'smolvlm'"),
        (["llava_mlx", "llava-mlx"], "Two adapters have the label 'llava_mlx'"),
    ],
)
def test_what_cannot_run_is_refused_at_once(adapters: list[Adapter], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        resolve(adapters)
