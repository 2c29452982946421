"""Several questions per image: a session against mlx-vlm's own loop, and the limit.

    LD_PRELOAD=libopenblas.so.0 OPENBLAS_THREAD_TIMEOUT=4 python benchmarks/image_reuse.py
        [--case NAME] [--images N] [--questions N] [--tokens N] [--choose]

Per image the ways take turns, in one process and on the same loaded model, so what else
the machine does falls on all of them. A first picture warms them up and does not count.

- `plain`: `mlx_vlm.generate`, question by question;
- `reuse`: a session that is offered one question at a time, from the undecoded file on;
- `batched`: a session that is offered what comes next as well, as the engine does: questions
  about one picture go together, and the next picture is opened and cut meanwhile;
- `limit`: the arithmetic alone, with everything else made before the clock starts: one
  encoding and one prefill of the prefix, in the pieces of `reuse`, and per question its own
  tokens and its decoding, one question after the other. What is batched may be quicker.

With `--choose` each question has four options, which are scored by letters and by texts, one
question after the other and together, behind a prefix that is kept already.

The weights are random and float32. The token ids have to be the same in all ways.
Without `--case` the small cases run; `smolvlm-256m` and `smolvlm-256m-one-tile` have the real
model's sizes and want a fast BLAS. OpenBLAS's threads wait for work by turning in circles, by
default for so long that processor time counts little else; the timeout ends that.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from attrs import define, evolve, field, frozen
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.gpu_table import TEXTS
from tests.checkpoints import llava, phi3_v, smolvlm

from vqa_engine.adapter import Answer, ChoiceScores, GenerationPlan, ModelRef, Question
from vqa_engine.images import open_image
from vqa_engine.session.local import LocalSession
from vqa_engine_adapters.mlx.driver import MlxAdapter
from vqa_engine_adapters.mlx.llava import LlavaMlx
from vqa_engine_adapters.mlx.phi35_vision import Phi35Vision
from vqa_engine_adapters.mlx.picture import Picture
from vqa_engine_adapters.mlx.prefill import steps
from vqa_engine_adapters.mlx.smolvlm import SmolVlm

OPTIONS = ("red", "a kettle on the table", "7", "two white dogs")
VOCABULARY = 49_280
"""SmolVLM's; the tokenizer has to cover it."""

TOWER_LAYERS = 6
"""CLIP layers of the small Phi; the real one has 24."""

WAYS = ("plain", "reuse", "batched", "limit")


@frozen
class Case:
    """A checkpoint's shape and the pictures it is asked about."""

    adapter: type[MlxAdapter]
    write: Callable[[Path], Path]
    edges: tuple[int, int]


@define
class Times:
    """Seconds on the clock and of the processor, by way."""

    wall: dict[str, float] = field(factory=lambda: dict.fromkeys(WAYS, 0.0))
    processor: dict[str, float] = field(factory=lambda: dict.fromkeys(WAYS, 0.0))

    @contextmanager
    def of(self, way: str) -> Iterator[None]:
        """Count what runs in the block as that way's."""
        wall, processor = time.perf_counter(), time.process_time()
        yield
        self.wall[way] += time.perf_counter() - wall
        self.processor[way] += time.process_time() - processor


def _smolvlm_256m(folder: Path) -> Path:
    """SmolVLM-256M: 30 layers of 576, SigLIP of 12 layers of 768, 17 tiles of 512 px."""
    text = {"hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30}
    text |= {"num_attention_heads": 9, "num_key_value_heads": 3, "head_dim": 64}
    vision = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12}
    vision |= {"num_attention_heads": 12}
    return _smolvlm(folder, text, vision, VOCABULARY)


def _smolvlm_256m_one(folder: Path) -> Path:
    """The same body, a picture in one tile: least to be saved, as measured in
    docs/facts/mlx_vlm.md (plain loop 27.6 s, reuse 7.1 s)."""
    settings = _smolvlm_256m(folder) / "preprocessor_config.json"
    changed = json.loads(settings.read_text()) | {"size": {"longest_edge": 512}}
    settings.write_text(json.dumps(changed))
    return folder


def _smolvlm_small(folder: Path) -> Path:
    """The same 17 tiles, 1,024 patches and 64 tokens each, on thin layers."""
    text = {"hidden_size": 192, "intermediate_size": 512, "num_hidden_layers": 6}
    text |= {"num_attention_heads": 3, "num_key_value_heads": 1, "head_dim": 64}
    vision = {"hidden_size": 192, "intermediate_size": 768, "num_hidden_layers": 3}
    vision |= {"num_attention_heads": 3}
    return _smolvlm(folder, text, vision, 1024)


def _smolvlm(folder: Path, text: dict[str, int], vision: dict[str, int], words: int) -> Path:
    made, base = smolvlm._config, len(smolvlm.SPECIALS)
    fillers = tuple(f"<filler_{n}>" for n in range(words - base - 400))

    def config(model_type: str, vocabulary: int, *sizes: int) -> dict[str, Any]:
        whole = made(model_type, vocabulary, *sizes)
        whole["text_config"] |= text
        whole["vision_config"] |= vision
        return whole

    with (
        patch.object(smolvlm, "_config", config),
        patch.object(smolvlm, "SPECIALS", (*smolvlm.SPECIALS, *fillers)),
        patch.object(smolvlm, "PATCH", 16),
    ):
        return smolvlm.write(folder, tile=512)


def llava_next_five(folder: Path) -> Path:
    """LLaVA 1.6: five crops of 336 px, 2,880 patches, on a thin body."""
    grids = [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]]
    with (
        patch.object(llava, "EDGE", 336),
        patch.object(llava, "PATCHES", 576),
        patch.object(llava, "GRIDS", grids),
    ):
        return llava.write(folder)


CASES = {
    "smolvlm": Case(SmolVlm, _smolvlm_small, (512, 384)),
    "llava_next": Case(LlavaMlx, llava_next_five, (672, 640)),
    "phi3_v": Case(Phi35Vision, lambda folder: phi3_v.write(folder, num_crops=2), (640, 480)),
    "smolvlm-256m": Case(SmolVlm, _smolvlm_256m, (512, 384)),
    "smolvlm-256m-one-tile": Case(SmolVlm, _smolvlm_256m_one, (512, 384)),
}
LARGE = ("smolvlm-256m", "smolvlm-256m-one-tile")


def pictures(case: Case, folder: Path, count: int) -> Iterator[Path]:
    """As many different pictures of one size."""
    across = Image.linear_gradient("L").resize(case.edges)
    round_ = Image.radial_gradient("L").resize(case.edges)
    for number in range(count):
        turned = across.rotate(360 / count * number)
        file = folder / f"{number}.jpg"
        Image.merge("RGB", (across, turned, round_)).save(file, quality=95)
        yield file


class Ways:
    """The ways to ask one loaded model all questions about one picture."""

    def __init__(self, adapter: MlxAdapter, model: Path, tokens: int) -> None:
        self._adapter, self._tokens = adapter, tokens
        self._plan, self._pool = GenerationPlan(max_tokens=tokens), _pool(0)
        _pool(self._pool)
        self.session = LocalSession(adapter, ModelRef(model=str(model)))
        self.session.load()
        self._loaded = adapter._ready()

    def plain(self, questions: Sequence[Question]) -> list[tuple[int, ...]]:
        """As mlx-vlm is used, with the pool that MLX keeps by itself."""
        from mlx_vlm import generate

        def one(question: Question) -> tuple[int, ...]:
            result = generate(
                self._loaded.model,
                self._loaded.processor,
                self._adapter.prompt(question),
                image=[str(question.image)],
                max_tokens=self._tokens,
                temperature=0.0,
                verbose=False,
            )
            ids = tuple(result.token_ids)
            return ids[:-1] if ids and ids[-1] in self._loaded.stop else ids

        ours = _pool(self._pool)
        said = [one(question) for question in questions]
        _pool(ours)
        return said

    def reuse(self, questions: Sequence[Question]) -> list[tuple[int, ...]]:
        """A session that knows of one question at a time.

        It gets bytes, so that it is not served what was opened ahead for `batched`.
        """
        assert isinstance(questions[0].image, Path)
        image = questions[0].image.read_bytes()
        return [self._answered([evolve(one, image=image)])[0].token_ids for one in questions]

    def batched(
        self, questions: Sequence[Question], following: Sequence[Question]
    ) -> list[tuple[int, ...]]:
        """A session that knows what follows."""
        said: list[tuple[int, ...]] = []
        while left := questions[len(said) :]:
            said += [one.token_ids for one in self._answered([*left, *following])]
        return said

    def _answered(self, upcoming: Sequence[Question]) -> list[Answer]:
        replies = [reply for _, reply in self.session.ask(upcoming, self._plan)]
        return [reply.answer for reply in replies if reply.answer is not None]

    def limit(self, questions: Sequence[Question], times: Times) -> None:
        """The arithmetic alone."""
        from vqa_engine_adapters.mlx.prefix import split

        plan = self._answered(questions[:1])[0].plan
        readying, image = self._adapter._ask().answering.readying, open_image(questions[0])
        prompts = [self._adapter.prompt(one) for one in questions]
        all_ids = [readying.prepare(text, Picture(image), plan) for text in prompts]
        end = split(self._loaded, all_ids[0].ids[0].tolist())
        with times.of("limit"):
            cache, positions = self._prefix(all_ids[0], end, plan)
            for prepared in all_ids:
                self._finish(cache, prepared.ids[:, end:])
                for layer in cache:
                    layer.trim(layer.offset - positions)

    def _prefix(self, prepared: Any, end: int, plan: GenerationPlan) -> tuple[list[Any], int]:
        import mlx.core as mx
        from mlx_vlm.models.cache import make_prompt_cache

        model = self._loaded.model
        cache = make_prompt_cache(model.language_model)
        ids, mask = prepared.ids[:, :end], prepared.mask[:, :end]
        with prepared.encoding():
            made = model.get_input_embeddings(ids, prepared.pixels, mask=mask, **prepared.rest)
        embeddings = made.inputs_embeds
        for start, stop in steps(embeddings.shape[1], plan.prefill_step):
            part = slice(start, stop)
            model.language_model(ids[:, part], inputs_embeds=embeddings[:, part], cache=cache)
            mx.eval([layer.state for layer in cache])
        return cache, cache[0].offset

    def _finish(self, cache: list[Any], ids: Any) -> None:
        import mlx.core as mx

        for _ in range(self._tokens):
            logits = self._loaded.model.language_model(ids, cache=cache).logits
            ids = mx.argmax(logits[:, -1:, :], axis=-1)
            mx.eval(ids)


def run(name: str, images: int, count: int, tokens: int) -> None:
    """One case, and its line of the table."""
    case, times, same = CASES[name], Times(), True
    with tempfile.TemporaryDirectory() as at, phi3_v.small_tower(TOWER_LAYERS):
        folder = Path(at)
        adapter = case.adapter()
        ways = Ways(adapter, case.write(folder / "model"), tokens)
        warm, *rest = [_about(file, count) for file in pictures(case, folder, images + 1)]
        ways.plain(warm)
        ways.reuse(warm)
        adapter.drop_caches()
        ways.batched(warm, rest[0])
        for asked, following in zip(rest, [*rest[1:], []], strict=True):
            with times.of("plain"):
                expected = ways.plain(asked)
            with times.of("reuse"):
                single = ways.reuse(asked)
            adapter.drop_caches()
            with times.of("batched"):
                together = ways.batched(asked, following)
            ways.limit(asked, times)
            same = same and single == together == expected
        ways.session.release()
    _print(name, images * count, times, same)


def _pool(limit: int) -> int:
    """Bound MLX's pool, in bytes; the bound that there was."""
    import mlx.core as mx

    return int(mx.set_cache_limit(limit))


def _about(file: Path, count: int) -> list[Question]:
    return [
        Question(question_id=f"{file.stem}-{n}", image=file, text=text)
        for n, text in enumerate(TEXTS[:count])
    ]


def run_choosing(name: str, images: int, count: int) -> None:
    """One case scored by likelihood, and its lines of the table."""
    case = CASES[name]
    with tempfile.TemporaryDirectory() as at, phi3_v.small_tower(TOWER_LAYERS):
        folder = Path(at)
        adapter = case.adapter()
        adapter.load(ModelRef(model=str(case.write(folder / "model"))))
        files = list(pictures(case, folder, images))
        for plan, each in (
            (GenerationPlan(choose="likelihood"), tuple("ABCD")),
            (GenerationPlan(choose="likelihood-text"), OPTIONS),
        ):
            rounds, apart = [], 0.0
            for file in files * 3:
                asked = [
                    Question(question_id=n, image=file, text=text, choices=OPTIONS)
                    for n, text in enumerate(TEXTS[:count])
                ]
                times = Times()
                adapter.score_choices(asked[0], each, plan)
                with times.of("reuse"):
                    alone = [adapter.score_choices(one, each, plan) for one in asked]
                with times.of("batched"):
                    together = adapter.score_choices_batch(asked, [each] * count, plan)
                rounds.append(times.processor)
                for single, other in zip(alone, together, strict=True):
                    assert isinstance(other, ChoiceScores)
                    pairs = zip(single.loglikelihoods, other.loglikelihoods, strict=True)
                    apart = max(apart, *(abs(left - right) for left, right in pairs))
            one, all_ = (min(each[way] for each in rounds) / count for way in ("reuse", "batched"))
            figures = f"{one * 1e3:8.1f} | {all_ * 1e3:8.1f} | {one / all_:5.2f} | {apart:.1e}"
            print(f"| {name:<13} | {plan.choose:<15} | {figures} |", flush=True)
        adapter.release()


def _print(name: str, asked: int, times: Times, same: bool) -> None:
    cells = [f"{times.wall[way]:8.2f} ({times.processor[way]:7.2f})" for way in WAYS]
    ratios = [times.wall["plain"] / times.wall[way] for way in ("reuse", "batched")]
    shares = [times.wall["limit"] / times.wall[way] for way in ("reuse", "batched")]
    figures = " | ".join(f"{figure:5.2f}" for figure in ratios + shares)
    ids = "identical" if same else "DIFFERENT"
    print(f"| {name:<13} | {asked:>3} | {' | '.join(cells)} | {figures} | {ids} |", flush=True)


def main() -> None:
    """Run the cases asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--case", choices=CASES, action="append")
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--questions", type=int, default=len(TEXTS), choices=range(1, 6))
    parser.add_argument("--tokens", type=int, default=4)
    parser.add_argument("--choose", action="store_true")
    given = parser.parse_args()
    cases = given.case or [name for name in CASES if name not in LARGE]
    if given.choose:
        print("Milliseconds of the processor per question, best of three rounds.")
        print("| case | options | one by one | together | ratio | furthest apart |")
        print("|---" * 6 + "|")
        for name in cases:
            run_choosing(name, given.images, given.questions)
        return
    print("Seconds on the clock (of the processor) for all questions.")
    compared = ("plain/reuse", "plain/batched", "limit/reuse", "limit/batched")
    print(f"| case | questions | {' | '.join((*WAYS, *compared))} | ids |")
    print("|---" * (3 + len(WAYS) + len(compared)) + "|")
    for name in cases:
        run(name, given.images, given.questions, given.tokens)


if __name__ == "__main__":
    main()
