"""Questions per second on a GPU: ours beside what people have, in one run.

    python -m benchmarks.gpu [torch] [mlx] [--cpu] [--images N] [--tokens N]

To be run from the repository's root, for it borrows checkpoints of the tests. Weights are
random, shapes the published ones. Every part has a process of its own, and every way in it
the same loaded model and the same files on disk, 640 by 480 JPEGs.

- `torch`: LLaVA 1.5 7B in bfloat16. `generate` of transformers on left-padded batches of 1, 8
  and 32 with the checkpoint's own processor, and `llava_torch` in a session, with one question
  per image and with five.
- `mlx`: LLaVA 1.6 7B and Phi-3.5-vision in 4 bits, SmolVLM 256M in float32. A loop over
  `mlx_vlm.generate`, and our session, with one question per image and with five.

The columns: questions per second, the GPU's utilisation as nvidia-smi samples it, processor
cores kept busy, peak memory above the weights, and answers whose ids are not those of one by
one. Under each table: how well our batches' memory was predicted. Under MLX's: what a pass of a
few tokens takes. Under torch's: our batches' sizes, and how far the first token's logits of a
batch are from those of one by one, beside how far apart the two likeliest tokens are. With
`--cpu` the shapes are tiny, and Phi is left out, whose tower has a fixed width: it shows within
a minute that the benchmark works, and no more.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from time import perf_counter
from typing import Any

import psutil
from attrs import asdict, define, field, frozen
from PIL import Image

from vqa_engine.adapter import GenerationPlan, ModelAdapter, ModelRef, Question
from vqa_engine.memory.budget import shown
from vqa_engine.results import Reply
from vqa_engine.session.local import LocalSession

TEXTS = (
    "What colour is the kettle?",
    "How many dogs are there in the image?",
    "Is the cat left of the kettle?",
    "What is this?",
    "Are there two or three white dogs in it?",
)
Ids = tuple[int, ...]
Way = Callable[[Sequence[Question]], list[Ids]]


@define
class Meter:
    """Samples the GPU while a block runs, and counts the processor's seconds."""

    gpu: list[int] = field(factory=list)
    seconds: float = 0.0
    busy: float = 0.0

    @contextmanager
    def running(self, *, gpu: bool) -> Iterator[None]:
        """Measure what runs in the block."""
        sampler = self._sampler() if gpu else None
        process = psutil.Process()
        before, started = process.cpu_times(), perf_counter()
        yield
        self.seconds, after = perf_counter() - started, process.cpu_times()
        self.busy = after.user + after.system - before.user - before.system
        if sampler is not None:
            sampler.terminate()
            sampler.wait()

    def _sampler(self) -> subprocess.Popen[str]:
        query = ["--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "-lms", "200"]
        process = subprocess.Popen(["nvidia-smi", *query], stdout=subprocess.PIPE, text=True)
        Thread(target=self._read, args=(process,), daemon=True).start()
        return process

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self.gpu.extend(int(line) for line in process.stdout if line.strip().isdigit())


@frozen(kw_only=True)
class Row:
    """One way's line of the table."""

    way: str
    rate: float
    gpu: float | None
    cores: float
    peak: int | None
    differ: int | None
    compared: int


def row(  # noqa: PLR0913, PLR0917  one line of the table
    name: str,
    way: Way,
    asked: Sequence[Question],
    expected: Sequence[Ids],
    counter: Any,
    seen: Sequence[Sequence[Reply]] = (),
) -> tuple[Row, list[Ids]]:
    """Run one way over the questions; `expected` are ids of the first of them.

    What the way adds to `seen` knows its peaks: the counter was reset before every batch.
    """
    meter, floor, before = Meter(), counter.reset(), len(seen)
    with meter.running(gpu=counter.gpu):
        ids = way(asked)
    pairs = list(zip(ids, expected, strict=False))
    peaks = [peak - floor for batch in seen[before:] if (peak := _peak(batch)) is not None]
    measured = Row(
        way=name,
        rate=len(asked) / meter.seconds,
        gpu=sum(meter.gpu) / len(meter.gpu) if meter.gpu else None,
        cores=meter.busy / meter.seconds,
        peak=max(peaks, default=counter.peak(floor)),
        differ=sum(one != other for one, other in pairs) if pairs else None,
        compared=len(pairs),
    )
    show(measured)
    return measured, ids


def _peak(batch: Sequence[Reply]) -> int | None:
    memory = next((one.answer.memory for one in batch if one.answer), None)
    return memory.peak if memory else None


def show(measured: Row) -> None:
    """A line of the table."""
    gpu = "" if measured.gpu is None else f"{measured.gpu:.0f} %"
    differ = "" if measured.differ is None else f"{measured.differ} of {measured.compared}"
    print(
        f"| {measured.way:34} | {measured.rate:7.2f} | {gpu:>5} | {measured.cores:5.1f} | "
        f"{shown(measured.peak):>9} | {differ:>9} |",
        flush=True,
    )


def heading(title: str) -> None:
    """The table's head."""
    print(f"\n{title}\n\n| way | questions/s | GPU | cores | peak | ids differ |")
    print("|---|---|---|---|---|---|", flush=True)


class TorchCounter:
    """torch's peak above what was held before."""

    def __init__(self) -> None:
        import torch

        self._torch, self.gpu = torch, torch.cuda.is_available()

    def reset(self) -> int:
        """Begin to count; bytes held now."""
        if not self.gpu:
            return 0
        self._torch.cuda.reset_peak_memory_stats()
        return int(self._torch.cuda.memory_allocated())

    def peak(self, floor: int) -> int | None:
        """The most since then."""
        return int(self._torch.cuda.max_memory_allocated()) - floor if self.gpu else None


class MlxCounter:
    """The same of MLX."""

    def __init__(self) -> None:
        import mlx.core as mx

        self._mx, self.gpu = mx, mx.default_device().type == mx.DeviceType.gpu

    def reset(self) -> int:
        """Begin to count; bytes held now."""
        self._mx.reset_peak_memory()
        return int(self._mx.get_active_memory())

    def peak(self, floor: int) -> int:
        """The most since then."""
        return int(self._mx.get_peak_memory()) - floor


def photos(folder: Path, count: int, start: int = 0) -> list[Path]:
    """As many different pictures of 640 by 480 with much in them."""
    files = []
    for number in range(start, start + count):
        draw = random.Random(number)
        left, low = draw.uniform(-2, 0), draw.uniform(-1, 0)
        fractal = Image.effect_mandelbrot((640, 480), (left, low, left + 1, low + 1), 40)
        noise = Image.effect_noise((640, 480), 40)
        bands = (fractal, noise, fractal.rotate(draw.randrange(360)))
        file = folder / f"{number}.jpg"
        Image.merge("RGB", bands).save(file, quality=90)
        files.append(file)
    return files


def about(files: Sequence[Path], each: int) -> list[Question]:
    """So many questions about every picture."""
    return [
        Question(question_id=f"{file.stem}-{n}", image=file, text=TEXTS[(place + n) % len(TEXTS)])
        for place, file in enumerate(files)
        for n in range(each)
    ]


def through(
    session: LocalSession, window: int, plan: GenerationPlan, seen: list[list[Reply]]
) -> Way:
    """Our session, asked as the engine asks it; the replies to each batch are added to `seen`."""

    def ask(questions: Sequence[Question]) -> list[Ids]:
        waiting, said = list(questions), dict[str | int, Ids]()
        while waiting:
            replies = session.ask(waiting[:window], plan)
            for question, reply in replies:
                assert reply.answer is not None, reply.failure
                said[question.question_id] = reply.answer.token_ids
            waiting = [one for one in waiting if one.question_id not in said]
            seen.append([reply for _, reply in replies])
        return [said[question.question_id] for question in questions]

    return ask


def llava_15(folder: Path, *, large: bool) -> Path:
    """LLaVA 1.5 7B's shape, or a tiny one; in bfloat16, or float32."""
    import torch
    from tests.checkpoints import llama_bpe, llava, write_json
    from tests.torch import checkpoints
    from transformers import LlavaConfig, LlavaForConditionalGeneration

    if not large:
        return checkpoints.write(folder, "llava")
    llava.EDGE = 336
    config = llava._config("llava", 32000)
    config["text_config"] |= {
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
        "rope_theta": 10000.0,
        "vocab_size": 32064,
        "max_position_embeddings": 4096,
    }
    config["vision_config"] |= {
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "projection_dim": 768,
    }
    write_json(folder, "generation_config.json", {"bos_token_id": 1, "eos_token_id": 2})
    llama_bpe({"<image>": 32000, "<pad>": 32001}).save(str(folder / "tokenizer.json"))
    llava._write_processor(folder, "llava")
    write_json(folder, "chat_template.json", {"chat_template": llava.VICUNA_TEMPLATE})
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda"):
        LlavaForConditionalGeneration(LlavaConfig(**config)).save_pretrained(folder)
    torch.set_default_dtype(before)
    torch.cuda.empty_cache()
    write_json(folder, "config.json", config | {"vocab_size": 32064})
    return folder


def transformers_batches(adapter: Any, size: int, tokens: int) -> Way:
    """`generate` on left-padded batches, as in transformers' own documentation."""

    def ask(questions: Sequence[Question]) -> list[Ids]:
        import torch

        loaded, said = adapter._ready(), []
        loaded.steps.step = loaded.tiles.size = None
        loaded.tokenizer.padding_side = "left"
        for start in range(0, len(questions), size):
            batch = questions[start : start + size]
            inputs = loaded.processor(
                text=[adapter.prompt(one) for one in batch],
                images=[Image.open(str(one.image)).convert("RGB") for one in batch],
                padding=True,
                return_tensors="pt",
                add_special_tokens=True,
            ).to(loaded.device, loaded.model.dtype)
            with torch.inference_mode():
                output = loaded.model.generate(
                    **inputs, max_new_tokens=tokens, do_sample=False, pad_token_id=0
                )
            made = output[:, inputs["input_ids"].shape[1] :].tolist()
            said += [_until(loaded.stop, line) for line in made]
        return said

    return ask


def _until(stop: frozenset[int], line: Sequence[int]) -> Ids:
    end = next((at for at, token in enumerate(line) if token in stop), len(line))
    return tuple(line[:end])


def predictions(seen: Sequence[Sequence[Reply]]) -> str:
    """How well the need of our batches was predicted, all but the first few."""
    found = [one.prediction for batch in seen[3:] for one in batch]
    made = [(one.expected, one.bound, one.truth) for one in found if one and one.truth]
    if not made:
        return "no memory was predicted"
    errors = [expected / truth - 1 for expected, _, truth in made]
    return (
        f"memory of {len(made)} batches predicted within "
        f"{sum(map(abs, errors)) / len(errors):.1%} on average, {min(errors):+.0%} to "
        f"{max(errors):+.0%}; {sum(truth > bound for _, bound, truth in made)} past the bound"
    )


def logits_apart(adapter: Any, questions: Sequence[Question], plan: GenerationPlan) -> str:
    """The first token's logits of these questions as one batch, beside one by one."""
    import torch

    from vqa_engine_adapters.torch.prefill import Batch
    from vqa_engine_adapters.torch.prefixes import Prefixes

    def first(asked: Sequence[Question]) -> Any:
        adapter.drop_caches()
        made = adapter._ask()._prepared(asked, plan)
        with torch.inference_mode():
            return Batch(adapter._ready(), made, 1, Prefixes(0)).prefill().float()

    alone, batch = torch.cat([first([one]) for one in questions]), first(questions)
    apart = (alone - batch).abs().amax(dim=-1)
    best = alone.topk(2, dim=-1).values
    gap = best[:, 0] - best[:, 1]
    other = alone.argmax(dim=-1) != batch.argmax(dim=-1)
    lines = [
        f"first logits of a batch of {len(questions)} and of one by one: at most "
        f"{apart.max():.3g} apart (median of the questions' largest {apart.median():.3g}); "
        f"their standard deviation is {alone.std():.3g}",
        f"the two likeliest tokens are {gap.median():.3g} apart (median); {int(other.sum())} first "
        f"ids differ, where they are at most {float(gap[other].max()) if other.any() else 0:.3g} "
        "apart",
    ]
    return "\n".join(lines)


def torch_part(images: int, tokens: int, *, large: bool) -> list[Row]:
    """LLaVA 1.5 on torch."""
    import torch

    from vqa_engine_adapters.growth import Growth
    from vqa_engine_adapters.torch.asking import PICTURES
    from vqa_engine_adapters.torch.llava import LlavaTorch

    plan, rows = GenerationPlan(max_tokens=tokens), []
    with tempfile.TemporaryDirectory() as at:
        folder, counter = Path(at), TorchCounter()
        adapter = LlavaTorch()
        model = ModelRef(model=str(llava_15(folder / "model", large=large)))
        session = LocalSession(adapter, model)
        window = session.load().window
        device = torch.cuda.get_device_name(0) if counter.gpu else "CPU"
        heading(f"torch {torch.__version__}, {device}, {adapter._ready().model.dtype}, LLaVA 1.5")
        files = photos(folder, images)
        once, fives = about(files, 1), about(files[: max(2, images // 2)], 5)
        warm = about(photos(folder, 8, start=images), 1)
        seen: list[list[Reply]] = []
        ours = through(session, window, plan, seen)
        for way in (transformers_batches(adapter, 8, tokens), ours):
            way(warm)
        few, some = once[: max(4, images // 16)], once[: max(8, images // 4)]
        single = transformers_batches(adapter, 1, tokens)
        alone, one = row("generate, batch 1", single, few, (), counter)
        rows.append(alone)
        for size, asked in ((8, some), (32, once)):
            way = transformers_batches(adapter, size, tokens)
            rows.append(row(f"generate, batch {size}", way, asked, one, counter)[0])
        rows.append(row("ours, 1 per image", ours, once, one, counter, seen)[0])
        rows.append(
            row("ours, 1 per image, batch as grown", ours, _again(once), one, counter, seen)[0]
        )
        expected = single(fives[: len(few)])
        # Another set, learned from its own start.
        adapter._ask()._growth = Growth(adapter._ask().rows, PICTURES)
        rows.append(row("ours, 5 per image", ours, fives, expected, counter, seen)[0])
        print(f"\nour batches: {' '.join(str(len(replies)) for replies in seen)}")
        print(predictions(seen))
        print(logits_apart(adapter, once[:32], plan))
        print(f"{session.release().residue} bytes after release")
    best, ours_once, ours_five = rows[2].rate, rows[3].rate, rows[-1].rate
    print(f"1 per image {ours_once / best:.2f} of batch 32 (aim 0.9), 5 per image ", end="")
    print(f"{ours_five / best:.2f} (aim 2.5)", flush=True)
    return rows


def _again(questions: Sequence[Question]) -> list[Question]:
    """The same pictures asked about again; by then all but the last few prefixes are gone."""
    return [
        Question(question_id=f"again-{one.question_id}", image=one.image, text=one.text)
        for one in questions
    ]


def mlx_part(images: int, tokens: int, *, large: bool) -> list[Row]:
    """LLaVA 1.6, Phi-3.5-vision and SmolVLM on MLX."""
    from benchmarks.gpu_checkpoints import llava_16, phi_35, smolvlm_256m

    from vqa_engine_adapters.mlx.llava import LlavaMlx
    from vqa_engine_adapters.mlx.phi35_vision import Phi35Vision
    from vqa_engine_adapters.mlx.smolvlm import SmolVlm

    rows = []
    cases = [(LlavaMlx(), llava_16), (SmolVlm(), smolvlm_256m)]
    if large:
        cases.insert(1, (Phi35Vision(), phi_35))
    for adapter, write in cases:
        with tempfile.TemporaryDirectory() as at:
            folder = Path(at)
            model = write(folder / "model", large=large)
            rows += _mlx_rows(adapter, model, folder, images, tokens)
    return rows


def _mlx_rows(
    adapter: ModelAdapter, model: Path, folder: Path, images: int, tokens: int
) -> list[Row]:
    import mlx.core as mx

    plan, counter, rows = GenerationPlan(max_tokens=tokens), MlxCounter(), []
    session = LocalSession(adapter, ModelRef(model=str(model)))
    window = session.load().window
    heading(
        f"MLX {version('mlx')}, {mx.device_info().get('device_name')}, {type(adapter).__name__}"
    )
    files = photos(folder, images)
    once, fives = about(files, 1), about(files[: max(2, images // 4)], 5)
    seen: list[list[Reply]] = []
    ours, plain = through(session, window, plan, seen), mlx_plain(adapter, tokens)
    # Kernels are compiled when a shape is first met: every length of question, each way.
    extra = photos(folder, 7, start=images)
    for warm in (about(extra[:5], 1), about(extra[5:], 5)):
        plain(warm)
        ours(warm)
    for name, asked in (("1 per image", once), ("5 per image", fives)):
        line, ids = row(f"mlx_vlm.generate, {name}", plain, asked, (), counter)
        mine, _ = row(f"ours, {name}", ours, asked, ids, counter, seen)
        print(f"  ours is {mine.rate / line.rate:.2f} of plain", flush=True)
        rows += [line, mine]
    print(f"\n{predictions(seen)}\n{passes(adapter)}", flush=True)
    print(f"{session.release().residue} bytes after release", flush=True)
    return rows


def passes(adapter: Any, context: int = 2400) -> str:
    """Milliseconds of a pass of so many tokens behind a context, the best of four."""
    import mlx.core as mx
    from mlx_vlm.models.cache import make_prompt_cache

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


def mlx_plain(adapter: Any, tokens: int) -> Way:
    """A loop over `mlx_vlm.generate` on the same model."""

    def ask(questions: Sequence[Question]) -> list[Ids]:
        from mlx_vlm import generate

        loaded, said = adapter._ready(), []
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
            said.append(_until(loaded.stop, result.token_ids))
        return said

    return ask


PARTS = {"torch": torch_part, "mlx": mlx_part}
NEEDS = {"torch": "transformers", "mlx": "mlx_vlm"}


def main() -> None:
    """Run the parts asked for, each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; all that can run if none")
    parser.add_argument("--cpu", action="store_true", help="tiny shapes, to try the benchmark")
    parser.add_argument("--images", type=int, help="256 on torch, 16 on MLX; 6 with --cpu")
    parser.add_argument("--tokens", type=int, default=8)
    parser.add_argument("--json", type=Path, help="write the rows there as well, as JSON lines")
    given = parser.parse_args()
    if len(given.parts) == 1:
        part = given.parts[0]
        images = given.images or (6 if given.cpu else {"torch": 256, "mlx": 16}[part])
        rows = PARTS[part](images, given.tokens, large=not given.cpu)
        if given.json:
            with given.json.open("a") as file:
                file.writelines(f"{json.dumps(_plain(part, one))}\n" for one in rows)
        return
    for part in given.parts or [name for name in PARTS if find_spec(NEEDS[name])]:
        rest = [argument for argument in sys.argv[1:] if argument not in PARTS]
        subprocess.run([sys.executable, "-m", "benchmarks.gpu", part, *rest], check=True)


def _plain(part: str, one: Row) -> dict[str, Any]:
    return {"part": part, **asdict(one)}


if __name__ == "__main__":
    main()
