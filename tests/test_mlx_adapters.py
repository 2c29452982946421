"""The MLX adapters on tiny checkpoints of real architectures, through the real mlx-vlm."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from tests.checkpoints import phi3_v
from tests.checkpoints.smolvlm import TOKENS_PER_TILE
from tests.mlx_builders import ADAPTERS, Checkpoints, Loaded, ask, loaded, picture
from vqa_engine.adapter import GenerationPlan, ModelAdapter, ModelRef, Question
from vqa_engine.errors import (
    AnswerError,
    BackendError,
    CheckpointError,
    ConfigurationError,
    ImageError,
)
from vqa_engine.images import open_image
from vqa_engine_adapters.mlx.bounding import bounded
from vqa_engine_adapters.mlx.driver import MlxAdapter
from vqa_engine_adapters.mlx.generic import MlxVlm
from vqa_engine_adapters.mlx.llava import LlavaMlx
from vqa_engine_adapters.mlx.phi35_vision import Phi35Vision, fewer_crops
from vqa_engine_adapters.mlx.smolvlm import SmolVlm

pytest_plugins = ("tests.mlx_fixtures",)

PLAN = GenerationPlan(max_tokens=6)
KINDS = ("rgb", "rgba", "palette", "grey", "cmyk", "rotated", "one", "strip")
FAMILIES = [
    (model_type, width)
    for model_type in ("smolvlm", "llava_next", "phi3_v", "llava", "idefics3")
    for width in ("float", "4bit")
]


@pytest.fixture(scope="module", params=FAMILIES, ids="-".join)
def family(
    request: pytest.FixtureRequest, checkpoints: Checkpoints, image_files: dict[str, Path]
) -> Iterator[Loaded]:
    """Each family in each width, loaded once."""
    model_type, width = request.param
    folder = checkpoints(model_type, width)
    with loaded(folder, ADAPTERS[model_type]()) as adapter:
        yield Loaded(adapter, image_files)


@pytest.fixture
def smol(checkpoints: Checkpoints) -> Iterator[MlxAdapter]:
    """The smallest of them, for what does not depend on the family."""
    with loaded(checkpoints("smolvlm", "float"), SmolVlm()) as adapter:
        yield adapter


def reference(adapter: MlxAdapter, question: Question, image: Any, plan: GenerationPlan) -> Any:
    """What `mlx_vlm.generate` makes of the same prompt, without the end token.

    The processor is the adapter's, for mlx-vlm's own of LLaVA 1.5 does not run
    (`vqa_engine_adapters.mlx.llava.mend`).
    """
    from mlx_vlm import generate

    model = adapter._ready()
    result = generate(
        model.model,
        model.processor,
        adapter.prompt(question),
        image=image,
        max_tokens=plan.max_tokens,
        temperature=0.0,
        verbose=False,
    )
    ids = tuple(result.token_ids)
    return ids[:-1] if ids and ids[-1] in model.stop else ids


class TestTokens:
    """Token for token what mlx-vlm gives."""

    @pytest.mark.parametrize("kind", KINDS)
    def test_equal_those_of_mlx_vlm(self, family: Loaded, kind: str) -> None:
        question = ask(family.images[kind])
        image = str(question.image) if kind == "rgb" else [open_image(question)]
        answer = family.answer(kind, PLAN)
        assert answer.token_ids == reference(family.adapter, question, image, PLAN)
        assert len(answer.token_ids) > 0

    @pytest.mark.parametrize("model_type", ["smolvlm", "llava_next", "phi3_v"])
    def test_equal_in_the_precision_of_the_hub(
        self, checkpoints: Checkpoints, image_files: dict[str, Path], model_type: str
    ) -> None:
        question = ask(image_files["rotated"])
        with loaded(checkpoints(model_type, "4bit-half"), ADAPTERS[model_type]()) as adapter:
            answer = adapter.answer(question, PLAN)
            expected = reference(adapter, question, [open_image(question)], PLAN)
        assert answer.token_ids == expected

    @pytest.mark.usefixtures("checkpoints")
    def test_equal_with_several_crops_of_phi(self, tmp_path: Path) -> None:
        """A wide picture is cut in two."""
        question, plan = ask(picture(300, 150)), GenerationPlan(max_tokens=3)
        folder = phi3_v.write(tmp_path / "phi", num_crops=2)
        with loaded(folder, Phi35Vision()) as adapter:
            answer = adapter.answer(question, plan)
            expected = reference(adapter, question, [open_image(question)], plan)
        assert answer.token_ids == expected
        assert answer.tokens
        assert answer.tokens.image == 3 * 144 + 1 + 2 * 12

    def test_depend_on_the_image(self, family: Loaded) -> None:
        kinds = ("rgb", "one", "strip")
        assert len({family.answer(kind, PLAN).token_ids for kind in kinds}) == 3

    def test_are_counted(self, family: Loaded) -> None:
        answer = family.answer("rgb", PLAN)
        rule = family.adapter.memory_profile().image_tokens
        assert answer.tokens
        assert answer.timings
        assert rule
        assert answer.tokens.completion == len(answer.token_ids) == PLAN.max_tokens
        assert answer.finish_reason == "length"
        assert 0 < (answer.tokens.image or 0) <= rule.most
        assert answer.tokens.prompt > (answer.tokens.image or 0)
        assert min(answer.timings.prepare, answer.timings.prefill, answer.timings.decode) > 0

    def test_vary(self, smol: MlxAdapter) -> None:
        """Random weights that repeat one token would prove nothing."""
        answer = smol.answer(ask(picture()), GenerationPlan(max_tokens=16))
        assert len(set(answer.token_ids)) > 8


class TestPrompt:
    """The formats of shared/facts/models.md, with the short-answer instruction."""

    @pytest.mark.parametrize(
        ("model_type", "expected"),
        [
            (
                "smolvlm",
                "<|im_start|>User:<image>Who?\nGive a very brief answer."
                "<end_of_utterance>\nAssistant:",
            ),
            (
                "llava_next",
                "[INST] <image>\nWho?\nAnswer the question using a single word or phrase. [/INST]",
            ),
            (
                "llava",
                "USER: <image>\nWho?\nAnswer the question using a single word or phrase. "
                "ASSISTANT:",
            ),
            (
                "phi3_v",
                "<|user|>\n<|image_1|>\nWho?\nAnswer the question using a single word or phrase."
                "<|end|>\n<|assistant|>\n",
            ),
        ],
    )
    def test_is_the_hubs(
        self,
        checkpoints: Checkpoints,
        copied: Callable[[str], Path],
        model_type: str,
        expected: str,
    ) -> None:
        with loaded(checkpoints(model_type, "float"), ADAPTERS[model_type]()) as adapter:
            assert adapter.prompt(ask(picture(), "Who?")) == expected
        with loaded(_without_template(copied(model_type)), ADAPTERS[model_type]()) as adapter:
            assert adapter.prompt(ask(picture(), "Who?")) == expected
        with loaded(checkpoints(model_type, "float"), MlxVlm()) as generic:
            assert generic.prompt(ask(picture(), "Who?")) == expected

    def test_of_phi_keeps_the_first_word(self, checkpoints: Checkpoints) -> None:
        from vqa_engine_adapters.mlx.generation import prepare

        with loaded(checkpoints("phi3_v", "float"), Phi35Vision()) as adapter:
            model, question = adapter._ready(), ask(picture(), "What colour?")
            ids = prepare(model, adapter.prompt(question), picture()).ids[0].tolist()
            said = model.tokenizer.decode([token for token in ids if token >= 0])
        assert "\nWhat colour?\n" in said

    def test_without_any_template_is_told(
        self, copied: Callable[[str], Path], caplog: pytest.LogCaptureFixture
    ) -> None:
        class Untold(SmolVlm):
            family = evolve(SmolVlm.family, prompt=None)

        with loaded(_without_template(copied("smolvlm")), Untold()):
            assert "no chat template" in caplog.text

    def test_lists_choices(self, smol: MlxAdapter) -> None:
        prompt = smol.prompt(ask(picture(), "Which?", choices=("cat", "dog")))
        assert "Which?\nA. cat\nB. dog\nAnswer with the option's letter" in prompt
        assert "brief" not in prompt

    @pytest.mark.parametrize("instruction", ["", "\nSay it in one word."])
    def test_takes_another_instruction(self, checkpoints: Checkpoints, instruction: str) -> None:
        folder = checkpoints("smolvlm", "float")
        with loaded(folder, SmolVlm(), instruction=instruction) as adapter:
            assert f"Who?{instruction}<end" in adapter.prompt(ask(picture(), "Who?"))

    @pytest.mark.parametrize("options", [{"instructions": ""}, {"instruction": 3}])
    def test_refuses_other_options(self, options: dict[str, Any]) -> None:
        with pytest.raises(ConfigurationError, match="instruction"):
            SmolVlm().load(ModelRef(options=options))


class TestEnd:
    """Where an answer stops."""

    def test_declared_end_token_stops_and_is_left_out(
        self, copied: Callable[[str], Path], checkpoints: Checkpoints
    ) -> None:
        question = ask(picture())
        with loaded(checkpoints("smolvlm", "float"), SmolVlm()) as adapter:
            full = adapter.answer(question, PLAN).token_ids
        folder = copied("smolvlm")
        _edit(folder / "generation_config.json", eos_token_id=[49, full[3]])
        with loaded(folder, SmolVlm()) as adapter:
            answer = adapter.answer(question, PLAN)
        assert answer.token_ids == full[: full.index(full[3])]
        assert answer.finish_reason == "stop"

    def test_end_token_that_no_config_names(self, copied: Callable[[str], Path]) -> None:
        """`<end_of_utterance>` must stop by the family's rule alone."""
        folder, question = copied("smolvlm"), ask(picture())
        (folder / "generation_config.json").unlink()
        _edit(folder / "tokenizer_config.json", eos_token="<|im_end|>")
        with loaded(folder, SmolVlm()) as adapter:
            full = adapter.answer(question, PLAN).token_ids
        assert len(full) == PLAN.max_tokens
        _swap_outputs(folder, full[2], 5)
        with loaded(folder, SmolVlm()) as adapter:
            answer = adapter.answer(question, PLAN)
        assert (answer.token_ids, answer.finish_reason) == (full[:2], "stop")
        assert "<end" not in answer.text

    @pytest.mark.parametrize(
        ("model_type", "ids"),
        [("phi3_v", {2, 32000, 32007}), ("llava_next", {2}), ("smolvlm", {5})],
    )
    def test_end_tokens_are_united(
        self, checkpoints: Checkpoints, model_type: str, ids: set[int]
    ) -> None:
        with loaded(checkpoints(model_type, "float"), ADAPTERS[model_type]()) as adapter:
            assert adapter._ready().stop >= ids

    @pytest.mark.parametrize("limit", [1, 4])
    def test_max_tokens(self, smol: MlxAdapter, limit: int) -> None:
        answer = smol.answer(ask(picture()), GenerationPlan(max_tokens=limit))
        assert (len(answer.token_ids), answer.finish_reason) == (limit, "length")

    @pytest.mark.parametrize(
        ("adapter", "raw", "text"),
        [
            (SmolVlm, " Red.<end_of_utterance>\nUser: and", "Red."),
            (SmolVlm, "\nred\n\nbecause", "red"),
            (LlavaMlx, "A cat. USER: next ASSISTANT: dog", "A cat."),
            (Phi35Vision, "two <|end|><|user|>", "two"),
            (MlxVlm, " blue ", "blue"),
        ],
    )
    def test_text_is_cleaned(self, adapter: type[MlxAdapter], raw: str, text: str) -> None:
        assert adapter.family.clean(raw, brief=True) == text

    def test_long_answers_keep_their_lines(self) -> None:
        assert SmolVlm.family.clean("one\ntwo\n", brief=False) == "one\ntwo"


class TestPlan:
    """The plan is obeyed."""

    def test_prefill_step_lowers_the_peak_and_keeps_the_ids(self, smol: MlxAdapter) -> None:
        import mlx.core as mx

        question = ask(picture(), "Give one word. " * 200)
        seen = []
        for step in (None, 32):
            mx.reset_peak_memory()
            answer = smol.answer(question, evolve(PLAN, prefill_step=step))
            seen.append((answer.token_ids, mx.get_peak_memory()))
        assert seen[0][0] == seen[1][0]
        assert seen[1][1] < seen[0][1] / 2

    @pytest.mark.parametrize(("edge", "tiles"), [(300, 17), (100, 5), (40, 1)])
    def test_image_bound_makes_fewer_tiles(self, smol: MlxAdapter, edge: int, tiles: int) -> None:
        """SmolVLM's processor enlarges what it is given, so the bound has to reach it."""
        plan = evolve(PLAN, image_longest_edge=edge)
        answer = smol.answer(ask(picture(256, 256)), plan)
        assert answer.tokens
        assert answer.tokens.image == tiles * TOKENS_PER_TILE
        unbound = smol.answer(ask(picture(256, 256)), PLAN)
        assert unbound.tokens
        assert unbound.tokens.image == 17 * TOKENS_PER_TILE

    def test_image_bound_makes_fewer_crops(self, checkpoints: Checkpoints) -> None:
        with loaded(checkpoints("phi3_v", "float"), Phi35Vision()) as adapter:
            images = adapter._ready().processor.image_processor
            images.num_crops = 16
            with fewer_crops(images, 512):
                assert images.num_crops == 4
            assert images.num_crops == 16

    def test_image_bound_shrinks_and_never_enlarges(self) -> None:
        image = picture(256, 100)
        assert bounded(image, 256) is image
        assert bounded(image, None) is image
        assert bounded(picture(4000, 50), 40).size == (40, 1)

    def test_temperature_samples_by_the_seed(self, smol: MlxAdapter) -> None:
        question = ask(picture())

        def sampled(seed: int) -> tuple[int, ...]:
            plan = GenerationPlan(max_tokens=6, temperature=1.0, seed=seed)
            return smol.answer(question, plan).token_ids

        assert sampled(1) == sampled(1)
        assert len({sampled(seed) for seed in range(4)}) > 1

    def test_greedy_whatever_the_checkpoint_says(
        self, copied: Callable[[str], Path], smol: MlxAdapter
    ) -> None:
        folder, question = copied("smolvlm"), ask(picture())
        _edit(folder / "generation_config.json", do_sample=True, temperature=5.0)
        with loaded(folder, SmolVlm()) as adapter:
            assert adapter.answer(question, PLAN).token_ids == smol.answer(question, PLAN).token_ids

    def test_kv_cache_is_quantised_from_the_start(self, smol: MlxAdapter) -> None:
        question = ask(picture(), "Give one word. " * 20)
        plain, quantised = (
            smol.answer(question, evolve(PLAN, kv_bits=bits, max_tokens=16)) for bits in (None, 2)
        )
        assert quantised.token_ids != plain.token_ids
        assert quantised.plan.kv_bits == 2

    def test_kv_quantisation_that_a_model_cannot_do(
        self, checkpoints: Checkpoints, caplog: pytest.LogCaptureFixture
    ) -> None:
        with loaded(checkpoints("phi3_v", "float"), Phi35Vision()) as adapter:
            plain = adapter.answer(ask(picture()), PLAN)
            for _ in range(2):
                answer = adapter.answer(ask(picture()), evolve(PLAN, kv_bits=4))
        assert answer.token_ids == plain.token_ids
        assert answer.plan.kv_bits is None
        assert caplog.text.count("phi3_v cannot quantise its KV cache") == 1


class TestMemory:
    """Nothing stays behind."""

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

        floor = mx.get_active_memory()
        for width in (90, 10, 200, 333):
            smol.answer(ask(picture(width, 50)), PLAN)
            assert mx.get_active_memory() - smol.cached_bytes() == floor

    def test_a_failure_inside_the_model_leaves_nothing(self, checkpoints: Checkpoints) -> None:
        """phi3_v's attention breaks on a quantised cache, after the first prefill chunk."""
        import mlx.core as mx

        class Unaware(Phi35Vision):
            family = evolve(Phi35Vision.family, quantises_kv=True)

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
        _edit(folder / "config.json", text_config=text | {"num_hidden_layers": 3})
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

    def test_an_image_marker_in_the_text_costs_one_question(self, smol: MlxAdapter) -> None:
        with pytest.raises(AnswerError, match="<image>"):
            smol.answer(ask(picture(), "What is <image> here?"), PLAN)
        assert smol.answer(ask(picture()), PLAN).token_ids

    def test_a_processor_failure_costs_one_question(self, copied: Callable[[str], Path]) -> None:
        folder = copied("llava")
        _edit(folder / "processor_config.json", patch_size=28)
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


def _edit(file: Path, **entries: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | entries))


def _without_template(folder: Path) -> Path:
    (folder / "chat_template.json").unlink(missing_ok=True)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config.pop("chat_template", None)
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


def _swap_outputs(folder: Path, one: int, other: int) -> None:
    """Make the model say one token where it said the other."""
    import mlx.core as mx

    file = folder / "model.safetensors"
    weights: Any = mx.load(str(file))
    head = weights["language_model.lm_head.weight"]
    order = list(range(head.shape[0]))
    order[one], order[other] = other, one
    weights["language_model.lm_head.weight"] = head[mx.array(order)]
    mx.eval(weights)
    mx.save_safetensors(str(file), weights, metadata={"format": "mlx"})
