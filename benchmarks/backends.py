"""The three backends side by side: `python -m benchmarks.backends [parity|reuse|flight]`.

To be run from the repository's root, for it borrows servers and checkpoints of the tests.
`parity` asks the embedded checkpoint the same questions on MLX, on torch and through mlx-vlm's
server: accuracy, differing answers, seconds and peak memory. `reuse` asks five questions about
each image of a SmolVLM of the 256M shape with random weights, on torch and the CPU, with the
image's prefix kept and without. `flight` measures how the HTTP adapter scales with the
requests in flight. Without a word all three run, each in a process of its own.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter
from typing import TypeVar

import psutil
from attrs import frozen
from PIL import Image

from vqa_engine import load_questions
from vqa_engine.adapter import BUILTIN, Answer, GenerationPlan, ModelRef, Question
from vqa_engine.memory.budget import shown
from vqa_engine.plugins.spec import AdapterSpec
from vqa_engine.scoring import metric
from vqa_engine.worker import WorkerSession
from vqa_engine_adapters.torch.smolvlm import SmolVlmTorch

INSTRUCTION = "\nGive a very brief answer."
PLAN = GenerationPlan(max_tokens=8)
METRIC = "vqa-v2-normalised"
T = TypeVar("T")


@frozen
class Outcome:
    """One backend's answers; seconds and processor's seconds per question, `peak` bytes of the
    process in which the model lives."""

    name: str
    answers: Sequence[Answer]
    seconds: float
    busy: float
    peak: int

    def accuracy(self, questions: Sequence[Question]) -> float:
        """Percent, by `METRIC`."""
        profile = metric(METRIC)
        scores = [
            profile.grade(answer.text, question).value
            for answer, question in zip(self.answers, questions, strict=True)
        ]
        return 100 * sum(scores) / len(scores)


def parity(count: int) -> None:
    """One table for the three backends."""
    from tests.http.mlx_server import running

    questions = list(load_questions(f"shapes:seed=71,count={count}"))
    outcomes = [_in_worker("smolvlm", questions), _in_worker("smolvlm_torch", questions)]
    with running() as server:
        outcomes.append(_over_http(server.url, server.pid, questions))
    print(f"{'backend':16}{'accuracy':>10}{'ids differ':>12}{'text differs':>14}", end="")
    print(f"{'s/question':>12}{'CPU s':>8}{'peak MiB':>10}")
    for outcome in outcomes:
        ids = differing(outcomes[0], outcome, lambda answer: answer.token_ids)
        shown = "none given" if not any(a.token_ids for a in outcome.answers) else str(ids)
        texts = differing(outcomes[0], outcome, lambda answer: answer.text)
        print(
            f"{outcome.name:16}{outcome.accuracy(questions):9.1f}%{shown:>12}{texts:14}"
            f"{outcome.seconds:12.4f}{outcome.busy:8.4f}{outcome.peak / 2**20:10.0f}"
        )


def _in_worker(name: str, questions: Sequence[Question]) -> Outcome:
    session = WorkerSession(AdapterSpec(name=name, model=ModelRef(model=BUILTIN)))
    session.load()
    replies, seconds, busy = _timed(
        lambda: [session.ask([question], PLAN)[0][1] for question in questions], session.pid
    )
    peak = _peak(session.pid)
    session.release()
    answers = [reply.answer for reply in replies if reply.answer is not None]
    return Outcome(name, answers, seconds / len(questions), busy / len(questions), peak)


def _over_http(url: str, pid: int | None, questions: Sequence[Question]) -> Outcome:
    from vqa_engine_adapters.http import openai_server

    openai_server.FIRST_PATIENCE = 200.0  # the server has just been started
    adapter = openai_server.OpenAiServer()
    adapter.load(ModelRef(options={"base_url": url, "instruction": INSTRUCTION, "in_flight": 4}))
    outcomes, seconds, busy = _timed(lambda: adapter.answer_batch(questions, PLAN, None), pid)
    adapter.release()
    answers, count = [one for one in outcomes if isinstance(one, Answer)], len(questions)
    return Outcome("openai_server", answers, seconds / count, busy / count, _peak(pid))


def differing(one: Outcome, other: Outcome, part: Callable[[Answer], object]) -> int:
    """In how many answers a part of them is not the same."""
    pairs = zip(one.answers, other.answers, strict=True)
    return sum(part(a) != part(b) for a, b in pairs)


def _peak(pid: int | None) -> int:
    """The most that a process held: VmHWM on Linux, else what it holds now."""
    status = Path(f"/proc/{pid}/status")
    if status.is_file():
        line = next(ln for ln in status.read_text().splitlines() if ln.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    return int(psutil.Process(pid).memory_info().rss)


def reuse(images: int, edge: int, device: str) -> None:
    """Five questions per image, with the prefix kept and without, in one process.

    On the CPU on one thread: what is compared there is the processor's time, and threads
    that wait for each other on a busy machine burn it. On a GPU the clock is compared.
    """
    import torch

    if device == "cpu":
        torch.set_num_threads(1)
    plan = GenerationPlan(max_tokens=4)
    with tempfile.TemporaryDirectory() as folder:
        write_256m(Path(folder), edge)
        adapter = SmolVlmTorch()
        options = {"prefix_cache": 2**30, "device": device}
        adapter.load(ModelRef(model=folder, options=options))
    profile = adapter.memory_profile()
    questions = [
        Question(question_id=n, image=scene(n // 5), text=f"What is object number {n} there?")
        for n in range(5 * images)
    ]
    adapter.answer(questions[0], plan)  # what the first one of all takes is not compared
    without, *slow = _timed(lambda: [_afresh(adapter, one, plan) for one in questions])
    adapter.drop_caches()
    reused, *quick = _timed(lambda: [adapter.answer(one, plan) for one in questions])
    same = sum(a.token_ids == b.token_ids for a, b in zip(without, reused, strict=True))
    tokens = reused[0].tokens
    length = tokens.prompt if tokens else 0
    print(f"{len(questions)} questions on {images} images, {length} prompt tokens", end=", ")
    print(f"{profile.kv_per_token} bytes of KV per token, weights {shown(profile.weights)}")
    for name, one, other in zip(("clock", "CPU"), slow, quick, strict=True):
        print(f"{name}: afresh {one:.2f} s, reused {other:.2f} s: {one / other:.2f} times as fast")
    print(f"{same} of {len(questions)} with identical ids")


def _afresh(adapter: SmolVlmTorch, question: Question, plan: GenerationPlan) -> Answer:
    adapter.drop_caches()
    return adapter.answer(question, plan)


def scene(seed: int) -> Image.Image:
    """A picture with much in it, another one for each seed."""
    image = Image.effect_mandelbrot((640, 480), (-2 + seed % 20 / 9, -1, 1, 1), 60)
    return image.convert("RGB")


def write_256m(folder: Path, edge: int) -> None:
    """SmolVLM-256M's widths and depths (its config.json), random weights, float32."""
    import json

    from tests.torch.checkpoints import smol_files
    from transformers import Idefics3Config, Idefics3ForConditionalGeneration

    config = smol_files(folder, "idefics3")
    config["text_config"] |= {
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "head_dim": 64,
    }
    config["vision_config"] |= {
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "image_size": 512,
        "patch_size": 16,
    }
    (folder / "config.json").write_text(json.dumps(config))
    _resize(folder, edge)
    Idefics3ForConditionalGeneration(Idefics3Config(**config)).save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps(config))


def _resize(folder: Path, edge: int) -> None:
    import json

    settings = json.loads((folder / "preprocessor_config.json").read_text())
    settings |= {"max_image_size": {"longest_edge": 512}, "size": {"longest_edge": edge}}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    processor = json.loads((folder / "processor_config.json").read_text())
    (folder / "processor_config.json").write_text(json.dumps(processor | {"image_seq_len": 64}))


def flight(count: int) -> None:
    """Questions per second against a server that takes 100 ms for each, all at once."""
    from tests.http.scripted import Reply, Script, serving

    from vqa_engine_adapters.http.openai_server import OpenAiServer

    questions = list(load_questions(f"shapes:seed=5,count={count}"))
    with serving(Script((Reply(delay=0.1),))) as url:
        for most in (1, 2, 4, 8, 16):
            adapter = OpenAiServer()
            adapter.load(ModelRef(options={"base_url": url, "in_flight": most}))
            started = perf_counter()
            adapter.answer_batch(questions, PLAN, None)
            seconds = perf_counter() - started
            adapter.release()
            share = count / seconds / (most / 0.1)
            rate = f"{count / seconds:6.1f} questions/s"
            print(f"{most:3} in flight: {rate}, {share:.0%} of the limit")


def _timed(action: Callable[[], T], pid: int | None = None) -> tuple[T, float, float]:
    """An action's result, its seconds, and the processor's seconds of a process."""
    process = psutil.Process(pid)
    before, started = process.cpu_times(), perf_counter()
    result = action()
    seconds, after = perf_counter() - started, process.cpu_times()
    return result, seconds, after.user + after.system - before.user - before.system


def main() -> None:
    """Run one part, or all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", nargs="?", choices=("parity", "reuse", "flight"))
    parser.add_argument("--questions", type=int, default=500)
    parser.add_argument("--images", type=int, default=2)
    parser.add_argument("--device", default="cpu", help="of `reuse`: cpu, cuda, mps")
    parser.add_argument("--edge", type=int, default=1024, help="longest edge: 512 is one tile")
    given = parser.parse_args()
    if given.part is None:
        for part in ("parity", "reuse", "flight"):
            print(f"== {part}", flush=True)
            subprocess.run([sys.executable, "-m", "benchmarks.backends", part], check=True)
    elif given.part == "parity":
        parity(given.questions)
    elif given.part == "reuse":
        reuse(given.images, given.edge, given.device)
    else:
        flight(64)


if __name__ == "__main__":
    main()
