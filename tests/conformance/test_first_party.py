"""The adapters that come with vqa-engine pass the kit like anybody's."""

from __future__ import annotations

import pytest

from tests.mlx.builders import Checkpoints
from vqa_engine.adapter import BUILTIN, ModelRef
from vqa_engine.testing import AdapterConformance, Capabilities
from vqa_engine_adapters.mlx.generic import MlxVlm
from vqa_engine_adapters.mlx.llava import LlavaMlx
from vqa_engine_adapters.mlx.phi35_vision import Phi35Vision
from vqa_engine_adapters.mlx.smolvlm import SmolVlm

pytest_plugins = ("tests.mlx.fixtures",)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1200),
]  # a loaded machine is slow, and that is no fault

QUESTION = "What colour is the kettle?"
"""Its words are in the tiny checkpoints' vocabulary."""


class OnTinyCheckpoint(AdapterConformance):
    """An adapter on a checkpoint of random weights, with its real architecture."""

    __test__ = False
    model_type: str
    questions = 16

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def _tiny(cls, checkpoints: Checkpoints) -> None:
        cls.capabilities = Capabilities(
            model=ModelRef(model=str(checkpoints(cls.model_type, "float"))),
            question=QUESTION,
            questions=cls.questions,
            long_words=40,
        )


class TestSmolVlm(AdapterConformance):
    """The default: the embedded checkpoint."""

    adapter = SmolVlm
    capabilities = Capabilities(model=ModelRef(model=BUILTIN), questions=16, long_words=100)


class TestLlavaMlx(OnTinyCheckpoint):
    """LLaVA-NeXT."""

    __test__ = True
    adapter = LlavaMlx
    model_type = "llava_next"


class TestPhi35Vision(OnTinyCheckpoint):
    """Phi-3.5-vision."""

    __test__ = True
    adapter = Phi35Vision
    model_type = "phi3_v"
    questions = 8  # each takes half a second of processor time, even on the tiny checkpoint


class TestMlxVlm(OnTinyCheckpoint):
    """The generic adapter, on a model of no family of its own."""

    __test__ = True
    adapter = MlxVlm
    model_type = "idefics3"
