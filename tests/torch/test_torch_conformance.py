"""The torch adapters pass the kit, in a process of its own: mlx_vlm changes transformers.

The classes named `Conforms…` are collected in that process only.
"""

from __future__ import annotations

import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.torch import checkpoints, inside
from vqa_engine.adapter import BUILTIN, GenerationPlan, ModelRef
from vqa_engine.testing import AdapterConformance, Capabilities
from vqa_engine_adapters.torch.generic import Transformers
from vqa_engine_adapters.torch.llava import LlavaTorch
from vqa_engine_adapters.torch.moondream import Moondream2
from vqa_engine_adapters.torch.smolvlm import SmolVlmTorch

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1200),
]  # a loaded machine is slow, and that is no fault

PREFIX = "Conforms"
QUESTION = "What colour is the kettle?"
"""Its words are in the tiny checkpoints' vocabulary."""

Folder = Callable[[str], Path]


@pytest.fixture(scope="session", autouse=True)
def _imported(request: pytest.FixtureRequest) -> None:
    """What `quick_collector` shall pass over is imported before it, in that process only."""
    if PREFIX in request.config.getini("python_classes"):
        inside.start()
        import_module("transformers.generation.utils")  # it imports whatever models do


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """The tiny checkpoint of a kind, written in this very process."""
    root = tmp_path_factory.mktemp("conforms")
    return lambda kind: checkpoints.write(root / kind, kind)


class ConformsSmolVlmTorch(AdapterConformance):
    """SmolVLM on torch, on the embedded checkpoint."""

    adapter = SmolVlmTorch
    capabilities = Capabilities(
        model=ModelRef(model=BUILTIN),
        plan=GenerationPlan(max_tokens=4),
        questions=8,
        long_words=100,
    )


class OnTinyCheckpoint(AdapterConformance):
    """An adapter on a checkpoint of random weights, with its real architecture."""

    kind: str

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def _tiny(cls, written: Folder) -> None:
        cls.capabilities = Capabilities(
            model=ModelRef(model=str(written(cls.kind))),
            question=QUESTION,
            questions=8,
            long_words=40,
        )


class ConformsLlavaTorch(OnTinyCheckpoint):
    """LLaVA-NeXT."""

    adapter = LlavaTorch
    kind = "llava_next"


class ConformsTransformers(OnTinyCheckpoint):
    """The generic adapter, on a model of no family of its own."""

    adapter = Transformers
    kind = "idefics2"


class ConformsMoondream2(AdapterConformance):
    """moondream2, on a stand-in for its code."""

    adapter = Moondream2

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def _stand_in(cls, written: Folder) -> None:
        folder = written("moondream2")
        cls.capabilities = Capabilities(
            model=ModelRef(model=str(folder), trust_remote_code=True), questions=8
        )


CLASSES = (ConformsSmolVlmTorch, ConformsLlavaTorch, ConformsTransformers, ConformsMoondream2)

Failures = dict[str, dict[str, str]]
"""By the class's name, the tests that failed, each with its message."""


@pytest.fixture(scope="module")
def failures(tmp_path_factory: pytest.TempPathFactory) -> Failures:
    """One run over all classes, in a process with torch in it and without MLX."""
    report = tmp_path_factory.mktemp("torch-kit") / "report.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short"]
    asked = [f"{__file__}::{one.__name__}" for one in CLASSES]
    done = subprocess.run(
        [*command, "-o", f"python_classes={PREFIX}", f"--junitxml={report}", *asked],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return _read(report)


def _read(report: Path) -> Failures:
    found: Failures = defaultdict(dict)
    for case in ElementTree.parse(report).iter("testcase"):
        name = case.attrib["classname"].rpartition(".")[2]
        found[name].update(
            (case.attrib["name"], part.text or "")
            for part in case
            if part.tag in ("failure", "error")
        )
    return found


@pytest.mark.parametrize("conforms", CLASSES, ids=lambda one: one.adapter.__name__)
def test_passes_the_kit(conforms: type[AdapterConformance], failures: Failures) -> None:
    assert failures.get(conforms.__name__) == {}
