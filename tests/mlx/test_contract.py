"""What MLX adapters hold and let go of, and what they promise the engine."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from attrs import evolve

from tests.mlx.builders import ADAPTERS, Checkpoints, ask, edit, loaded, picture
from vqa_engine.adapter import LEVERS, GenerationPlan, ModelAdapter, ModelRef
from vqa_engine.errors import (
    AnswerError,
    BackendError,
    CheckpointError,
    ImageError,
)
from vqa_engine_adapters.mlx.driver import MlxAdapter
from vqa_engine_adapters.mlx.generic import MlxVlm
from vqa_engine_adapters.mlx.llava import LlavaMlx
from vqa_engine_adapters.mlx.phi35_vision import Phi35Vision
from vqa_engine_adapters.mlx.smolvlm import SmolVlm

pytest_plugins = ("tests.mlx.fixtures",)

PLAN = GenerationPlan(max_tokens=6)
KINDS = ("rgb", "rgba", "palette", "grey", "cmyk", "rotated", "one", "strip")
FAMILIES = [
    (model_type, width)
    for model_type in ("smolvlm", "llava_next", "phi3_v", "llava", "idefics3")
    for width in ("float", "4bit")
]


class TestMemory:
    """Nothing stays behind."""

    @pytest.mark.slow
    def test_release_returns_to_the_floor(self, checkpoints: Checkpoints) -> None:
        """Switching models; the first round pays for constants that libraries keep."""
        import mlx.core as mx

        floors = []
        for model_type in ("smolvlm", "llava_next") * 3:
            adapter = ADAPTERS[model_type]()
            with loaded(checkpoints(model_type, "float"), adapter):
                adapter.answer(ask(picture()), PLAN)
                assert mx.get_active_memory() > 1_000_000
            floors.append(mx.get_active_memory())
            assert mx.get_cache_memory() == 0
        assert len(set(floors[2:])) == 1

    def test_questions_leave_nothing(self, smol: MlxAdapter) -> None:
        import mlx.core as mx

        smol.answer(ask(picture(64, 64)), PLAN)  # whatever is made once, is made
        floor = mx.get_active_memory() - smol.cached_bytes()
        for width in (90, 10, 200, 333):
            smol.answer(ask(picture(width, 50)), PLAN)
            assert mx.get_active_memory() - smol.cached_bytes() == floor

    @pytest.mark.slow
    def test_a_failure_inside_the_model_leaves_nothing(self, checkpoints: Checkpoints) -> None:
        """phi3_v's attention breaks on a quantised cache, after the first prefill chunk."""
        import mlx.core as mx

        class Unaware(Phi35Vision):
            family = evolve(
                Phi35Vision.family, estimate=evolve(Phi35Vision.family.estimate, levers=LEVERS)
            )

        with loaded(checkpoints("phi3_v", "float"), Unaware()) as adapter:
            before = adapter.answer(ask(picture()), PLAN)
            floor = mx.get_active_memory() - adapter.cached_bytes()
            with pytest.raises(AnswerError) as caught:
                adapter.answer(ask(picture()), evolve(PLAN, kv_bits=4, prefill_step=64))
            assert caught.value.__cause__ is not None
            assert (mx.get_active_memory(), mx.get_cache_memory()) == (floor, 0)
            assert adapter.answer(ask(picture()), PLAN).token_ids == before.token_ids

    def test_a_failed_load_leaves_nothing(self, copied: Callable[[str], Path]) -> None:
        import mlx.core as mx

        folder, adapter = copied("smolvlm"), SmolVlm()
        with loaded(folder, adapter):
            pass
        text = json.loads((folder / "config.json").read_text())["text_config"]
        edit(folder / "config.json", text_config=text | {"num_hidden_layers": 3})
        floor = mx.get_active_memory()
        with pytest.raises(CheckpointError, match="Missing") as caught:
            adapter.load(ModelRef(model=str(folder)))
        assert "\n" not in str(caught.value)
        assert (mx.get_active_memory(), mx.get_cache_memory()) == (floor, 0)
        with pytest.raises(AnswerError, match="not loaded"):
            adapter.answer(ask(picture()), PLAN)

    def test_profile_is_an_estimate_until_loaded(self, checkpoints: Checkpoints) -> None:
        adapter = SmolVlm()
        before = adapter.memory_profile()
        assert (before.exact, before.backend) == (False, "mlx")
        with loaded(checkpoints("smolvlm", "4bit"), adapter):
            assert adapter.memory_profile().exact
        assert adapter.memory_profile() == before


class TestContract:
    """What every adapter owes the engine."""

    @pytest.mark.parametrize("adapter", [SmolVlm, LlavaMlx, Phi35Vision, MlxVlm])
    def test_is_a_model_adapter(self, adapter: type[MlxAdapter]) -> None:
        assert isinstance(adapter(), ModelAdapter)
        assert adapter().memory_profile().strategies

    def test_answer_before_load(self) -> None:
        with pytest.raises(AnswerError, match="not loaded"):
            SmolVlm().answer(ask(picture()), PLAN)

    def test_release_without_load_and_twice(self, checkpoints: Checkpoints) -> None:
        adapter = SmolVlm()
        adapter.release()
        adapter.load(ModelRef(model=str(checkpoints("smolvlm", "float"))))
        adapter.release()
        adapter.release()
        with pytest.raises(AnswerError, match="not loaded"):
            adapter.answer(ask(picture()), PLAN)

    def test_load_replaces_the_model(self, checkpoints: Checkpoints) -> None:
        with loaded(checkpoints("smolvlm", "float"), SmolVlm()) as adapter:
            adapter.load(ModelRef(model=str(checkpoints("smolvlm", "4bit"))))
            assert (adapter.memory_profile().weights or 0) < 500_000

    def test_a_bad_image_costs_one_question(self, smol: MlxAdapter, tmp_path: Path) -> None:
        (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
        with pytest.raises(ImageError) as caught:
            smol.answer(ask(tmp_path / "broken.png"), PLAN)
        assert caught.value.__cause__ is not caught.value
        assert smol.answer(ask(picture()), PLAN).token_ids

    @pytest.mark.parametrize("mark", ["<image>", "<end_of_utterance>", "<|im_end|>"])
    def test_a_special_token_in_the_text_is_text(self, smol: MlxAdapter, mark: str) -> None:
        known = smol._ready().tokenizer
        ordinary, hostile = (smol.prompt(ask(picture(), said)) for said in ("What?", f"{mark}?"))

        def special(prompt: str) -> list[int]:
            ids = known(prompt)["input_ids"]
            return [one for one in ids if known.added_tokens_decoder.get(one, None)]

        assert special(hostile) == special(ordinary)
        assert smol.answer(ask(picture(), f"What is {mark} here?"), PLAN).token_ids

    def test_a_processor_failure_costs_one_question(self, copied: Callable[[str], Path]) -> None:
        folder = copied("llava")
        edit(folder / "processor_config.json", patch_size=28)
        with loaded(folder, LlavaMlx()) as adapter, pytest.raises(AnswerError, match="image"):
            adapter.answer(ask(picture()), PLAN)

    def test_mlx_vlm_is_not_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "mlx_vlm", None)
        with pytest.raises(BackendError, match=r"pip install 'vqa-engine\[mlx\]'"):
            SmolVlm().load(ModelRef())

    def test_runs_on_another_thread(self, checkpoints: Checkpoints, smol: MlxAdapter) -> None:
        question = ask(picture())

        def elsewhere() -> tuple[int, ...]:
            with loaded(checkpoints("smolvlm", "float"), SmolVlm()) as adapter:
                return adapter.answer(question, PLAN).token_ids

        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(elsewhere).result() == smol.answer(question, PLAN).token_ids

    @pytest.mark.slow
    def test_is_silent(self, checkpoints: Checkpoints, image_files: dict[str, Path]) -> None:
        """In a process of its own: nothing of the libraries' chatter reaches the user."""
        code = (
            "import sys\n"
            "from pathlib import Path\n"
            "from vqa_engine.adapter import GenerationPlan, ModelRef, Question\n"
            "from vqa_engine_adapters.mlx.generic import MlxVlm\n"
            "adapter = MlxVlm()\n"
            "for folder in sys.argv[2:]:\n"
            "    adapter.load(ModelRef(model=folder))\n"
            "    question = Question(question_id=1, image=Path(sys.argv[1]), text='Who?')\n"
            "    adapter.answer(question, GenerationPlan(max_tokens=2))\n"
            "adapter.release()\n"
        )
        folders = [str(checkpoints(name, "float")) for name in ("smolvlm", "llava")]
        done = _python(code, str(image_files["rgb"]), *folders)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

    def test_importing_stays_light(self) -> None:
        code = (
            "import importlib, pkgutil, sys\n"
            "import vqa_engine_adapters.mlx as package\n"
            "for module in pkgutil.iter_modules(package.__path__, package.__name__ + '.'):\n"
            "    importlib.import_module(module.name)\n"
            "from vqa_engine_adapters.mlx import generic, llava, phi35_vision, smolvlm\n"
            "for made in (generic.MlxVlm(), llava.LlavaMlx(), phi35_vision.Phi35Vision(),\n"
            "             smolvlm.SmolVlm()):\n"
            "    made.memory_profile(), made.release()\n"
            "heavy = {'mlx', 'mlx_vlm', 'transformers', 'huggingface_hub', 'torch', 'numpy'}\n"
            "print(sorted(heavy & set(sys.modules)))\n"
        )
        assert _python(code).stdout.strip() == "[]"


def _python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
