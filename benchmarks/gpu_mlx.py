"""LLaVA 1.6, Phi-3.5-vision and SmolVLM on MLX: a loop over `mlx_vlm.generate`, and ours."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Any

import mlx.core as mx
from benchmarks.gpu_checkpoints import SHAPES, TINY
from benchmarks.gpu_table import (
    Counter,
    Ids,
    Row,
    Way,
    about,
    heading,
    photos,
    predictions,
    row,
    through,
    until,
)
from mlx_vlm import generate
from mlx_vlm.models.cache import make_prompt_cache

from vqa_engine.adapter import GenerationPlan, ModelAdapter, ModelRef, Question
from vqa_engine.results import Reply
from vqa_engine.session.local import LocalSession
from vqa_engine_adapters.mlx.device import on_gpu


class MlxCounter(Counter):
    """MLX's peak above what was held before."""

    def __init__(self) -> None:
        self.gpu = on_gpu()

    def reset(self) -> int:
        """Begin to count; bytes held now."""
        mx.reset_peak_memory()
        return int(mx.get_active_memory())

    def peak(self, floor: int) -> int:
        """The most since then."""
        return int(mx.get_peak_memory()) - floor


def rows(images: int, tokens: int, *, large: bool) -> list[Row]:
    """LLaVA 1.6, Phi-3.5-vision and SmolVLM on MLX."""
    table = []
    for name in SHAPES if large else TINY:
        adapter, write = SHAPES[name]
        with tempfile.TemporaryDirectory() as at:
            folder = Path(at)
            model = write(folder / "model", large=large)
            table += _of_one(adapter(), model, folder, images, tokens)
    return table


def _of_one(
    adapter: ModelAdapter, model: Path, folder: Path, images: int, tokens: int
) -> list[Row]:
    plan, counter, table = GenerationPlan(max_tokens=tokens), MlxCounter(), list[Row]()
    limits = _limited((0, 0))
    _limited(limits)
    session = LocalSession(adapter, ModelRef(model=str(model)))
    window = session.load().window
    heading(
        f"MLX {version('mlx')}, {mx.device_info().get('device_name')}, {type(adapter).__name__}"
    )
    files = photos(folder, images)
    once, fives = about(files, 1), about(files[: max(2, images // 4)], 5)
    seen: list[list[Reply]] = []
    ours, plain = through(session, window, plan, seen), plain_loop(adapter, tokens, limits)
    # Kernels are compiled when a shape is first met: every length of question, each way.
    extra = photos(folder, 7, start=images)
    for warm in (about(extra[:5], 1), about(extra[5:], 5)):
        plain(warm)
        ours(warm)
    for name, asked in (("1 per image", once), ("5 per image", fives)):
        line, ids = row(f"mlx_vlm.generate, {name}", plain, asked, (), counter)
        mine, _ = row(f"ours, {name}", ours, asked, ids, counter, seen)
        print(f"  ours is {mine.rate / line.rate:.2f} of plain", flush=True)
        table += [line, mine]
    print(f"\n{predictions(seen)}\n{passes(adapter)}", flush=True)
    print(f"{session.release().residue} bytes after release", flush=True)
    return table


def passes(adapter: Any, context: int = 2400) -> str:
    """Milliseconds of a pass of so many tokens behind a context, the best of four."""
    model, found = adapter._ready().model.language_model, []
    cache = make_prompt_cache(model)
    model(inputs=mx.full((1, context), 5), cache=cache)
    for tokens in (1, 2, 4, 5, 8, 16):
        seconds = []
        for _ in range(4):
            mx.eval([layer.state for layer in cache])
            started = perf_counter()
            mx.eval(model(inputs=mx.full((1, tokens), 5), cache=cache).logits)
            seconds.append(perf_counter() - started)
            for layer in cache:
                layer.trim(tokens)
        found.append(f"{tokens}: {min(seconds) * 1e3:.1f}")
    return f"ms of a pass of so many tokens behind {context}: {', '.join(found)}"


def plain_loop(adapter: Any, tokens: int, limits: tuple[int, int]) -> Way:
    """A loop over `mlx_vlm.generate` on the same model, with MLX's own `limits`."""

    def ask(questions: Sequence[Question]) -> list[Ids]:
        loaded, said, ours = adapter._ready(), [], _limited(limits)
        for question in questions:
            result = generate(
                loaded.model,
                loaded.processor,
                adapter.prompt(question),
                image=[str(question.image)],
                max_tokens=tokens,
                temperature=0.0,
                verbose=False,
            )
            said.append(until(loaded.stop, result.token_ids))
        _limited(ours)
        return said

    return ask


def _limited(limits: tuple[int, int]) -> tuple[int, int]:
    """Bound MLX's pool and its live buffers, in bytes; the bounds that there were."""
    pool, held = limits
    return mx.set_cache_limit(pool), mx.set_memory_limit(held)
