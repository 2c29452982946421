"""The MLX adapters on tiny checkpoints of real architectures, through the real mlx-vlm."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from tests.checkpoints import phi3_v
from tests.checkpoints.smolvlm import TOKENS_PER_TILE
from tests.mlx.builders import ADAPTERS, Checkpoints, Loaded, ask, edit, loaded, picture
from vqa_engine.adapter import GenerationPlan, ModelRef, Question
from vqa_engine.errors import (
    ConfigurationError,
)
from vqa_engine.images import bounded, open_image
from vqa_engine_adapters.mlx.driver import MlxAdapter
from vqa_engine_adapters.mlx.generic import MlxVlm
from vqa_engine_adapters.mlx.llava import LlavaMlx
from vqa_engine_adapters.mlx.phi35_vision import Phi35Vision, fewer_crops
from vqa_engine_adapters.mlx.smolvlm import SmolVlm

pytest_plugins = ("tests.mlx.fixtures",)

PLAN = GenerationPlan(max_tokens=6)
KINDS = ("rgb", "rgba", "palette", "grey", "cmyk", "rotated", "one", "strip")
FAMILIES = [
    pytest.param((model_type, width), marks=[pytest.mark.slow] * (model_type == "phi3_v"))
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
    @pytest.mark.slow
    def test_equal_in_the_precision_of_the_hub(
        self, checkpoints: Checkpoints, image_files: dict[str, Path], model_type: str
    ) -> None:
        question = ask(image_files["rotated"])
        with loaded(checkpoints(model_type, "4bit-half"), ADAPTERS[model_type]()) as adapter:
            answer = adapter.answer(question, PLAN)
            expected = reference(adapter, question, [open_image(question)], PLAN)
        assert answer.token_ids == expected

    @pytest.mark.usefixtures("checkpoints")
    @pytest.mark.slow
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
    """The formats of docs/facts/models.md, with the short-answer instruction."""

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

    @pytest.mark.parametrize("model_type", ["smolvlm", "llava", "phi3_v"])
    def test_a_system_message_comes_first(self, checkpoints: Checkpoints, model_type: str) -> None:
        with loaded(checkpoints(model_type, "float"), ADAPTERS[model_type]()) as adapter:
            prompt = adapter.prompt(ask(picture(), "Who?"), "Be kind.")
        assert 0 <= prompt.index("Be kind.") < prompt.index("Who?")
        assert prompt.count("Who?") == 1

    def test_of_phi_keeps_the_first_word(self, checkpoints: Checkpoints) -> None:
        from vqa_engine_adapters.mlx.preparing import prepare

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
        edit(folder / "generation_config.json", eos_token_id=[49, full[3]])
        with loaded(folder, SmolVlm()) as adapter:
            answer = adapter.answer(question, PLAN)
        assert answer.token_ids == full[: full.index(full[3])]
        assert answer.finish_reason == "stop"

    def test_end_token_that_no_config_names(self, copied: Callable[[str], Path]) -> None:
        """`<end_of_utterance>` must stop by the family's rule alone."""
        folder, question = copied("smolvlm"), ask(picture())
        (folder / "generation_config.json").unlink()
        edit(folder / "tokenizer_config.json", eos_token="<|im_end|>")
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
        edit(folder / "generation_config.json", do_sample=True, temperature=5.0)
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
