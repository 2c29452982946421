"""What a question costs and a checkpoint needs, told before against what it then takes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from attrs import evolve
from PIL import Image

from tests.mlx.builders import ADAPTERS, Checkpoints, ask, loaded, picture
from vqa_engine.adapter import CostAware, GenerationPlan, ModelRef, Question, Sizable
from vqa_engine.errors import AnswerError, ImageError
from vqa_engine.images import open_image
from vqa_engine_adapters.families import phi35
from vqa_engine_adapters.mlx import picture as picture_module
from vqa_engine_adapters.mlx.driver import MlxAdapter
from vqa_engine_adapters.mlx.generic import MlxVlm
from vqa_engine_adapters.mlx.pieces import small_pieces
from vqa_engine_adapters.mlx.smolvlm import SmolVlm

pytest_plugins = ("tests.mlx.fixtures",)

PLAN = GenerationPlan(max_tokens=1)
SHAPES = [(90, 70), (70, 90), (400, 50), (30, 200), (64, 64), (1, 1)]
SPARE = 2
"""Tokens by which an upper bound may be above: SmolVLM's line ends merge."""


def prompt_tokens(adapter: MlxAdapter, question: Question, plan: GenerationPlan) -> int:
    """What the answer says its prompt took."""
    answer = adapter.answer(question, plan)
    assert answer.tokens
    return answer.tokens.prompt


class TestCost:
    """Tokens are never fewer than told, and tiles are those of the processor."""

    @pytest.mark.parametrize("model_type", ["smolvlm", "idefics3", "llava", "llava_next"])
    @pytest.mark.parametrize("edge", [None, 64])
    def test_before_and_after(
        self, checkpoints: Checkpoints, model_type: str, edge: int | None
    ) -> None:
        plan = evolve(PLAN, image_longest_edge=edge)
        with loaded(checkpoints(model_type, "float"), ADAPTERS[model_type]()) as adapter:
            assert isinstance(adapter, CostAware)
            for shape in SHAPES:
                question = ask(picture(*shape))
                adapter.drop_caches()
                told = adapter.cost([question], plan)
                taken = prompt_tokens(adapter, question, plan)
                assert taken <= told.prompt_tokens <= taken + SPARE
                assert told.image_tiles == _tiles(adapter, shape, edge)
                again = adapter.cost([question], plan)
                assert again.prompt_tokens == taken
                assert again.image_tiles == 0
                assert 0 < again.reused_tokens < taken

    def test_of_phi(self, checkpoints: Checkpoints) -> None:
        with loaded(checkpoints("phi3_v", "float"), ADAPTERS["phi3_v"]()) as adapter:
            question = ask(picture(90, 40))
            told = adapter.cost([question], PLAN)
            assert prompt_tokens(adapter, question, PLAN) == told.prompt_tokens
            assert told.image_tiles == 2

    @pytest.mark.parametrize("crops", [1, 4, 16])
    def test_of_phi_is_its_processors(self, crops: int) -> None:
        from mlx_vlm.models.phi3_v.processing_phi3_v import Phi3VImageProcessor

        processor = Phi3VImageProcessor(num_crops=crops)
        for shape in [*SHAPES, (1920, 1080), (337, 336)]:
            told, tiles = phi35.sizes({}, {"num_crops": crops}, shape, None)
            assert told == processor.calc_num_image_tokens(picture(*shape))
            assert tiles <= crops + 1

    def test_of_an_unknown_family(self, checkpoints: Checkpoints) -> None:
        """The first image is a guess; after it, what images took."""

        class Unknown(MlxVlm):
            family = evolve(MlxVlm.family, relatives=())

        with loaded(checkpoints("smolvlm", "float"), Unknown()) as adapter:
            taken = prompt_tokens(adapter, ask(picture()), PLAN)
            assert adapter.cost([ask(picture(91, 70))], PLAN).prompt_tokens >= taken

    def test_with_reuse_off(self, checkpoints: Checkpoints) -> None:
        with loaded(checkpoints("smolvlm", "float"), SmolVlm(), reuse="off") as adapter:
            question = ask(picture())
            adapter.answer(question, PLAN)
            assert adapter.cost([question], PLAN).reused_tokens == 0

    def test_grows_with_the_question(self, checkpoints: Checkpoints) -> None:
        with loaded(checkpoints("smolvlm", "float"), SmolVlm()) as adapter:
            short, long = (ask(picture(), "What? " * times) for times in (1, 100))
            told = [adapter.cost([question], PLAN).prompt_tokens for question in (short, long)]
            assert told[1] > told[0] + 100


class TestWork:
    """A cost takes no work that the answer then does again."""

    def test_the_image_is_opened_once(
        self, checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        opened = []

        def counted(question: Question, place: int = 0) -> Image.Image:
            opened.append(question)
            return open_image(question, place)

        monkeypatch.setattr(picture_module, "open_image", counted)
        with loaded(checkpoints("smolvlm", "float"), SmolVlm()) as adapter:
            question = ask(picture())
            for edge in (None, 64, 32):
                adapter.cost([question], evolve(PLAN, image_longest_edge=edge))
            adapter.answer(question, PLAN)
            assert len(opened) == 1
            adapter.answer(question, PLAN)
            assert len(opened) == 2  # it may have changed since

    def test_errors_are_those_of_the_answer(self, checkpoints: Checkpoints) -> None:
        with loaded(checkpoints("smolvlm", "float"), SmolVlm()) as adapter:
            with pytest.raises(ImageError):
                adapter.cost([ask(Path("nowhere.png"))], PLAN)
            with pytest.raises(AnswerError):
                adapter.cost([ask(picture(), "\ud800?")], PLAN)


class TestProfile:
    """A checkpoint's needs, before it is loaded."""

    @pytest.mark.parametrize("model_type", ["smolvlm", "llava_next", "llava", "phi3_v"])
    @pytest.mark.parametrize("width", ["float", "4bit"])
    def test_is_the_loaded_models(
        self, checkpoints: Checkpoints, model_type: str, width: str
    ) -> None:
        folder = checkpoints(model_type, width)
        for adapter in (ADAPTERS[model_type](), MlxVlm()):
            assert isinstance(adapter, Sizable)
            told = adapter.profile_of(ModelRef(model=str(folder)))
            with loaded(folder, adapter):
                # The device, on which the pieces depend, is known only then.
                pieces = small_pieces(adapter._family)
                whole = evolve(told, strategies=(*pieces, *told.strategies))
                assert adapter.memory_profile() == whole
            assert told.exact
            assert told.attention_per_pair
            assert told.per_tile

    def test_of_known_shapes(self, checkpoints: Checkpoints) -> None:
        """Two heads in float32; tiles of 64 patches (tests/checkpoints/smolvlm.py)."""
        told = SmolVlm().profile_of(ModelRef(model=str(checkpoints("smolvlm", "float"))))
        assert told.attention_per_pair == 2 * 4
        assert told.activations_per_token == (4 * 64 + 3 * 128) * 4
        assert told.per_tile == 2 * 64**2 * 4

    def test_imports_no_model_library(self, checkpoints: Checkpoints) -> None:
        code = (
            "import sys\n"
            "from vqa_engine.adapter import ModelRef\n"
            "from vqa_engine_adapters.mlx.smolvlm import SmolVlm\n"
            "assert SmolVlm().profile_of(ModelRef(model=sys.argv[1])).exact\n"
            "print(sorted({'mlx', 'mlx_vlm', 'transformers', 'torch'} & set(sys.modules)))\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, str(checkpoints("smolvlm", "float"))],
            capture_output=True, text=True, timeout=200, check=True,
        )  # fmt: skip
        assert done.stdout.strip() == "[]"


def _tiles(adapter: MlxAdapter, shape: tuple[int, int], edge: int | None) -> int:
    """How many tiles the processor really cuts."""
    prepared = adapter._ask().answering.readying.prepare(
        adapter.prompt(ask(picture())),
        adapter._ask().preparation.picture(ask(picture(*shape)), edge),
        evolve(PLAN, image_longest_edge=edge),
    )
    pixels = prepared.pixels
    return int(pixels.shape[1] if pixels.ndim == 5 else pixels.shape[0])
