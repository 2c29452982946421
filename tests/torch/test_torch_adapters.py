"""The torch driver, token for token against transformers' own `generate`."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from PIL import Image, ImageOps

from tests.mlx.builders import ask, picture
from tests.torch import inside
from tests.torch.conftest import Folder
from tests.torch.inside import Remote
from vqa_engine.adapter import LEVERS, GenerationPlan, ModelRef, TokenCounts
from vqa_engine_adapters.torch.llava import LlavaTorch

PLAN = GenerationPlan(max_tokens=6)
TARGETS = {
    "idefics3": "vqa_engine_adapters.torch.smolvlm:SmolVlmTorch",
    "smolvlm": "vqa_engine_adapters.torch.smolvlm:SmolVlmTorch",
    "llava": "vqa_engine_adapters.torch.llava:LlavaTorch",
    "llava_next": "vqa_engine_adapters.torch.llava:LlavaTorch",
    "idefics2": "vqa_engine_adapters.torch.generic:Transformers",
}
PLAIN = ("idefics3", "smolvlm", "llava", "llava_next")
IMAGES = {
    "rgb": picture(),
    "tall": picture(50, 160),
    "one": Image.new("RGB", (1, 1), (200, 30, 90)),
    "inverted": ImageOps.invert(picture()),
}


@pytest.fixture(scope="module", params=TARGETS)
def family(
    request: pytest.FixtureRequest, process: ProcessPoolExecutor, folder: Folder
) -> Iterator[Remote]:
    """Each family, loaded once."""
    remote = Remote(process, TARGETS[request.param])
    assert remote.load(folder(request.param)) is None
    yield remote
    remote.call("release")


@pytest.fixture(params=PLAIN)
def plain(
    request: pytest.FixtureRequest, process: ProcessPoolExecutor, folder: Folder
) -> Iterator[Remote]:
    """Each family that reuses prefixes, loaded afresh."""
    remote = Remote(process, TARGETS[request.param])
    assert remote.load(folder(request.param)) is None
    yield remote
    remote.call("release")


class TestTokens:
    """Token for token what `generate` gives."""

    @pytest.mark.parametrize("kind", IMAGES)
    def test_equal_those_of_generate(self, family: Remote, kind: str) -> None:
        for text in ("What colour is the kettle?", "How many dogs?"):
            question = ask(IMAGES[kind], text)
            ids = family.ids(question, PLAN)
            assert ids == family.reference(question, PLAN)
            assert len(ids) > 0

    def test_depend_on_the_image(self, family: Remote) -> None:
        answers = {family.ids(ask(image), PLAN) for image in IMAGES.values()}
        assert len(answers) == len(IMAGES)

    @pytest.mark.parametrize(("step", "batch"), [(1, 1), (7, 2), (64, 4)])
    def test_are_the_same_in_steps(self, plain: Remote, step: int, batch: int) -> None:
        small = evolve(PLAN, prefill_step=step, encoder_batch=batch)
        for image in IMAGES.values():
            whole = plain.ids(ask(image), PLAN)
            plain.call("drop_caches")
            assert plain.ids(ask(image), small) == whole

    def test_are_counted(self, family: Remote) -> None:
        answer = family.call("answer", ask(picture()), PLAN)
        rule = family.call("memory_profile").image_tokens
        assert answer.image_size == picture().size
        assert answer.tokens.completion == len(answer.token_ids)
        assert answer.tokens.prompt > answer.tokens.image > 0
        assert rule is None or answer.tokens.image <= rule.most
        assert min(answer.timings.prepare, answer.timings.prefill, answer.timings.decode) > 0


class TestReuse:
    """One image's prefix serves every question about it, and no other image's."""

    def test_gives_the_same_ids(self, plain: Remote, folder: Folder) -> None:
        questions = [
            ask(image, text)
            for text in ("Who?", "What colour is the kettle?", "How many?")
            for image in IMAGES.values()  # interleaved, two of them with equal token counts
        ]
        reused = [plain.ids(question, PLAN) for question in questions]
        assert plain.call("cached_bytes") > 0
        for question, ids in zip(questions, reused, strict=True):
            plain.call("drop_caches")
            assert plain.ids(question, PLAN) == ids

    def test_goes_by_content(self, plain: Remote, tmp_path: Path) -> None:
        picture().save(tmp_path / "a.png")
        picture().save(tmp_path / "b.bmp")
        plain.call("answer", ask(tmp_path / "a.png"), PLAN)
        again = plain.call("cost", [ask(tmp_path / "b.bmp", "How many?")], PLAN)
        other = plain.call("cost", [ask(IMAGES["inverted"])], PLAN)
        assert 0 < again.reused_tokens < again.prompt_tokens
        assert (again.image_tiles, other.reused_tokens) == (0, 0)
        assert other.image_tiles > 0

    def test_tells_the_wrong_image_apart(self, plain: Remote) -> None:
        """Placeholders are the same for every image (docs/facts/mlx_vlm.md)."""
        first, second = ask(IMAGES["rgb"]), ask(IMAGES["inverted"])
        plain.ids(first, PLAN)
        assert plain.ids(second, PLAN) == plain.reference(second, PLAN)

    def test_minds_the_bound_on_the_image(self, smol: Remote) -> None:
        whole = smol.call("answer", ask(picture()), PLAN)
        small = smol.call("answer", ask(picture()), evolve(PLAN, image_longest_edge=64))
        assert small.tokens.image < whole.tokens.image

    def test_is_bounded(self, smol: Remote, folder: Folder) -> None:
        smol.call("answer", ask(picture()), PLAN)
        one = smol.call("cached_bytes")
        smol.load(folder("idefics3"), prefix_cache=2 * one)
        for width in range(60, 100, 8):
            smol.call("answer", ask(picture(width, 70)), PLAN)
            assert 0 < smol.call("cached_bytes") <= 2 * one

    def test_can_be_switched_off(self, smol: Remote, folder: Folder) -> None:
        kept = smol.ids(ask(picture()), PLAN)
        smol.load(folder("idefics3"), prefix_cache="0")
        assert smol.ids(ask(picture()), PLAN) == kept
        assert smol.call("cached_bytes") == 0

    def test_outlives_a_question_that_cannot_be_asked(self, smol: Remote) -> None:
        smol.call("answer", ask(picture()), PLAN)
        failed = smol.call("answer", ask(picture(), "What is \ud83d?"), PLAN)
        assert (failed.kind, failed.facts["cause"]) == ("AnswerError", "encoding")
        assert smol.call("cost", [ask(picture())], PLAN).reused_tokens > 0
        assert smol.ids(ask(picture()), PLAN) == smol.reference(ask(picture()), PLAN)


class TestPlan:
    """The plan is obeyed, and the answer records what was really used."""

    def test_stops_at_most_tokens(self, smol: Remote) -> None:
        answer = smol.call("answer", ask(picture()), GenerationPlan(max_tokens=3))
        assert (len(answer.token_ids), answer.finish_reason) == (3, "length")

    def test_ends_at_a_stop_text(self, family: Remote) -> None:
        plan = evolve(PLAN, max_tokens=12)
        whole = family.call("answer", ask(picture()), plan)
        middle = family.pool.submit(inside.decoded, family.target, whole.token_ids[3:5]).result()
        stop = middle.strip()
        assert stop
        questions = [ask(picture()), ask(picture(50, 160))]
        said, other = family.call("answer_batch", questions, evolve(plan, stop=(stop,)), None)
        assert said.token_ids == whole.token_ids[: len(said.token_ids)]
        assert len(said.token_ids) <= 5 < len(whole.token_ids)
        assert said.finish_reason == "stop"
        assert other.token_ids

    def test_draws_with_the_seed(self, smol: Remote) -> None:
        warm = GenerationPlan(max_tokens=8, temperature=1.0, seed=4)
        first = smol.ids(ask(picture()), warm)
        assert smol.ids(ask(picture()), warm) == first
        assert smol.ids(ask(picture()), evolve(warm, seed=5)) != first

    def test_levers_are_what_is_obeyed(self, family: Remote) -> None:
        asked = evolve(PLAN, kv_bits=8, prefill_step=32, encoder_batch=2, image_longest_edge=64)
        used = family.call("answer", ask(picture()), asked).plan
        levers = family.call("memory_profile").levers
        assert {lever for lever in LEVERS if getattr(used, lever) is not None} == set(levers)

    def test_leaves_out_what_it_cannot_do(self, smol: Remote) -> None:
        asked = evolve(PLAN, kv_bits=8, prefill_step=32, encoder_batch=2)
        answer = smol.call("answer", ask(picture()), asked)
        assert answer.plan == evolve(asked, kv_bits=None)

    def test_leaves_steps_to_plain_models(
        self, process: ProcessPoolExecutor, folder: Folder
    ) -> None:
        remote = Remote(process, TARGETS["idefics2"])
        remote.load(folder("idefics2"))
        asked = evolve(PLAN, prefill_step=32, encoder_batch=2)
        plan = remote.call("answer", ask(picture()), asked).plan
        assert plan == PLAN
        remote.call("release")


class TestOptions:
    """Device, precision and the rest, checked before anything loads."""

    def test_that_are_unknown_are_refused(self, smol: Remote, folder: Folder) -> None:
        failed = smol.load(folder("idefics3"), devise="cpu")
        assert failed.kind == "ConfigurationError"
        assert "devise" in failed.text
        assert "device, dtype, attn_implementation, quantization" in failed.text

    @pytest.mark.parametrize(
        ("options", "named"),
        [
            ({"device": "cuda:99"}, "cuda"),
            ({"device": "abacus"}, "abacus"),
            ({"dtype": "int4"}, "dtype"),
            ({"prefix_cache": "many"}, "prefix_cache"),
            ({"instruction": 3}, "instruction"),
            ({"quantization": "{"}, "quantization"),
        ],
    )
    def test_that_cannot_be_are_refused(
        self, smol: Remote, folder: Folder, options: dict[str, Any], named: str
    ) -> None:
        failed = smol.load(folder("idefics3"), **options)
        assert failed.kind == "ConfigurationError"
        assert named in failed.text

    @pytest.mark.parametrize("attention", ["eager", "sdpa"])
    def test_reach_the_model(self, smol: Remote, folder: Folder, attention: str) -> None:
        whole = smol.call("memory_profile")
        assert not smol.load(
            folder("idefics3"), dtype="bfloat16", attn_implementation=attention, device="cpu"
        )
        half = smol.call("memory_profile")
        assert half.kv_per_token * 2 == whole.kv_per_token
        assert half.weights < 0.6 * whole.weights
        assert len(smol.ids(ask(picture()), PLAN)) > 0

    @pytest.mark.parametrize("attention", ["eager", "sdpa"])
    def test_attention_is_computed_as_asked(
        self, smol: Remote, folder: Folder, attention: str
    ) -> None:
        smol.load(folder("idefics3"), attn_implementation=attention)
        job = smol.pool.submit(inside.functions, smol.target, ask(picture()), PLAN)
        assert ("scaled_dot_product_attention" in job.result()) == (attention == "sdpa")

    @pytest.mark.skipif(
        not (find_spec("torchao") and find_spec("accelerate")), reason="needs torchao, accelerate"
    )
    def test_quantisation_is_real(self, smol: Remote, folder: Folder) -> None:
        whole, ids = smol.call("memory_profile"), smol.ids(ask(picture()), PLAN)
        eight = {"_type": "Int8WeightOnlyConfig", "_version": 2, "_data": {}}
        asked = json.dumps({"quant_method": "torchao", "quant_type": {"default": eight}})
        assert smol.load(folder("idefics3"), quantization=asked) is None
        held = smol.pool.submit(inside.numbers, smol.target).result()
        assert held["Int8Tensor"] > held["Tensor"]
        small = smol.call("memory_profile")
        assert 0.25 * whole.weights < small.weights < 0.5 * whole.weights
        first, second = smol.ids(ask(picture()), PLAN), smol.ids(ask(picture()), PLAN)
        assert first == second
        assert first[0] == ids[0]

    def test_quantisation_is_passed_on(self, smol: Remote, folder: Folder) -> None:
        """Its package is not installed here, so transformers names it."""
        failed = smol.load(folder("idefics3"), quantization="4bit")
        assert failed.kind == "CheckpointError"
        assert "bitsandbytes" in failed.text or "accelerate" in failed.text

    def test_an_instruction_replaces_the_familys(self, smol: Remote, folder: Folder) -> None:
        smol.load(folder("idefics3"), instruction="")
        prompt = smol.call("prompt", ask(picture(), "Who?"))
        assert prompt == "<|im_start|>User:<image>Who?<end_of_utterance>\nAssistant:"
        kind = smol.call("prompt", ask(picture(), "Who?"), "Be kind.")
        assert kind.startswith("<|im_start|>System: Be kind.<end_of_utterance>\nUser:<image>")


class TestErrors:
    """One typed error for each way in which it can go wrong."""

    def test_not_loaded(self, process: ProcessPoolExecutor) -> None:
        remote = Remote(process, TARGETS["idefics3"])
        assert remote.call("answer", ask(picture()), PLAN).kind == "AnswerError"
        assert remote.call("release") is None

    def test_another_family(self, smol: Remote, folder: Folder) -> None:
        failed = smol.load(folder("llava"))
        assert failed.kind == "CheckpointError"
        assert "--adapter transformers" in failed.text

    @pytest.mark.skipif(bool(find_spec("torchvision")), reason="torchvision is here")
    def test_a_processor_that_needs_torchvision(
        self, process: ProcessPoolExecutor, folder: Folder
    ) -> None:
        failed = Remote(process, TARGETS["idefics2"]).load(folder("pixtral"))
        assert failed.kind == "CheckpointError"
        assert "pip install torchvision" in failed.text

    def test_an_image_that_is_none(self, smol: Remote, tmp_path: Path) -> None:
        assert smol.call("answer", ask(tmp_path / "none.png"), PLAN).kind == "ImageError"

    def test_no_default_model(self, process: ProcessPoolExecutor) -> None:
        failed = Remote(process, TARGETS["idefics2"]).load(None)
        assert "Name one with --model" in failed.text

    @pytest.mark.parametrize(
        ("statement", "kind"),
        [
            ("torch.empty(10**16)", "OutOfMemory"),  # the CPU allocator's own text
            ("raise torch.OutOfMemoryError('Allocation on device')", "OutOfMemory"),
            (
                "raise RuntimeError('MPS backend out of memory (MPS allocated: 1 GB)')",
                "OutOfMemory",
            ),
            ("raise RuntimeError('CUDA error: out of memory')", "OutOfMemory"),
            ("raise RuntimeError('CUBLAS_STATUS_ALLOC_FAILED when calling x')", "OutOfMemory"),
            ("raise RuntimeError('Invalid buffer size: 12.00 GiB')", "OutOfMemory"),
            ("raise MemoryError()", "OutOfMemory"),
            ("raise RuntimeError('CUDA error: device-side assert triggered')", "BackendError"),
            ("torch.ones(2) @ torch.ones(3)", "AnswerError"),
        ],
    )
    def test_of_torch_are_classified(
        self, process: ProcessPoolExecutor, statement: str, kind: str
    ) -> None:
        assert process.submit(inside.classified, statement).result().kind == kind


class TestProfile:
    """What the engine is told of a checkpoint."""

    def test_is_exact_once_loaded(self, smol: Remote, folder: Folder) -> None:
        profile = smol.call("memory_profile")
        assert (profile.backend, profile.exact) == ("torch", True)
        assert profile.kv_per_token == 2 * 2 * 1 * 32 * 4  # K and V, layers, heads, width, bytes
        held = smol.call("cached_bytes")
        answer = smol.call("answer", ask(picture()), PLAN)
        tail = smol.call("cost", [ask(picture())], PLAN)
        assert (held, answer.tokens.prompt) == (0, tail.prompt_tokens)
        assert smol.call("cached_bytes") == tail.reused_tokens * profile.kv_per_token

    def test_needs_no_torch_before(self, smol: Remote, folder: Folder) -> None:
        """The host asks it, and must stay light."""
        code = (
            "import sys; from vqa_engine.adapter import ModelRef\n"
            "from vqa_engine_adapters.torch import generic, moondream\n"
            "adapter = generic.Transformers()\n"
            f"print(adapter.profile_of(ModelRef(model={str(folder('idefics3'))!r})).weights)\n"
            "moondream.Moondream2().memory_profile()\n"
            "print([m for m in ('torch', 'transformers', 'mlx', 'httpx2') if m in sys.modules])"
        )
        lines = subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, text=True
        ).stdout.splitlines()
        assert abs(int(lines[0]) - smol.call("memory_profile").weights) < 1024
        assert lines[1] == "[]"

    def test_of_llava_knows_its_rows(self) -> None:
        rule = LlavaTorch().memory_profile().image_tokens
        assert rule is not None
        assert rule.most == 5 * 576 + 3 * 24


class TestMoondream:
    """A model that brings its code, through that code's own methods."""

    TARGET = "vqa_engine_adapters.torch.moondream:Moondream2"

    @pytest.fixture
    def moondream(self, process: ProcessPoolExecutor, folder: Folder) -> Iterator[Remote]:
        remote = Remote(process, self.TARGET)
        assert remote.load(folder("moondream2"), trust=True, dtype="bfloat16") is None
        yield remote
        remote.call("release")

    def test_wants_to_hear_that_its_code_is_trusted(
        self, process: ProcessPoolExecutor, folder: Folder
    ) -> None:
        failed = Remote(process, self.TARGET).load(folder("moondream2"), dtype="bfloat16")
        assert failed.kind == "ConfigurationError"
        assert "--trust-remote-code" in failed.text
        assert "2025-06-21" in failed.text

    def test_answers_and_encodes_an_image_once(self, moondream: Remote) -> None:
        red = Image.new("RGB", (8, 8), (255, 0, 0))
        first = moondream.call("answer", ask(red, "Is it red?"), PLAN)
        assert first.text == "#ff0000 Is it red?"
        again = moondream.call("answer", ask(red, "Who?"), PLAN)
        other = moondream.call("answer", ask(picture()), PLAN)
        assert [one.tokens.reused for one in (first, again, other)] == [0, 10, 0]
        assert moondream.call("cached_bytes") == 2 * 24 * 4
        moondream.call("release")
        assert moondream.call("cached_bytes") == 0

    def test_counts_what_its_code_does_not_return(self, moondream: Remote) -> None:
        """One start token, nine positions of the image, and the question between two marks."""
        red = Image.new("RGB", (24, 16), (255, 0, 0))
        answer = moondream.call("answer", ask(red, "Is it red?"), PLAN)
        assert answer.tokens == TokenCounts(prompt=10 + 6, completion=5, image=9)
        assert (answer.image_size, answer.finish_reason) == (red.size, "stop")
        assert answer.prompt == "<ask> Is it red?\nAnswer briefly. <answer>"
        trace = moondream.call("trace", ask(red, "Is it red?"), PLAN)
        assert len(trace.prompt_ids) == answer.tokens.prompt
        assert (trace.image_positions, trace.pixel_shape) == ((1, 9), (1 + 3 * 2, 3, 8, 8))
        assert trace.first[0][1] == max(score for _, score in trace.first)

    @pytest.mark.parametrize(
        ("most", "stop", "text", "count", "reason"),
        [
            (2, (), "#ff0000 Is", 2, "length"),
            (9, ("it",), "#ff0000 Is it", 4, "stop"),
            (9, ("briefly",), "#ff0000 Is it red?", 5, "stop"),
        ],
    )
    def test_ends_where_the_plan_says(  # noqa: PLR0913, PLR0917  what a case consists of
        self,
        moondream: Remote,
        most: int,
        stop: tuple[str, ...],
        text: str,
        count: int,
        reason: str,
    ) -> None:
        """Its code says a word when it has begun the next one, which is counted as well."""
        red = Image.new("RGB", (8, 8), (255, 0, 0))
        plan = GenerationPlan(max_tokens=most, stop=stop)
        answer = moondream.call("answer", ask(red, "Is it red?"), plan)
        assert (answer.text.strip(), answer.finish_reason) == (text, reason)
        assert answer.tokens.completion == count

    def test_pins_its_default(self) -> None:
        from vqa_engine_adapters.torch.moondream import FAMILY, REVISION, _pinned

        assert _pinned(ModelRef()).revision == REVISION
        assert _pinned(ModelRef(model=FAMILY.model)).revision == REVISION
        assert _pinned(ModelRef(revision="main")).revision == "main"
        assert _pinned(ModelRef(model="/tmp/mine")).revision is None


def test_the_torch_process_has_no_mlx(smol: Remote) -> None:
    assert "mlx" not in smol.pool.submit(inside.imported).result()
