"""A whole command beside a script around mlx-vlm.

    python -m benchmarks.whole_command [--runs 3] [--without-torch] [--crops] [--gpu SHAPE]

Both ask the embedded checkpoint 100 questions, each about a picture of its own, from the start
of their process to its end: imports, load, pictures, answers. Ours journals and scores them as
well. The script is what mlx-vlm's README has: load once, then `generate` in a loop, with the
same prompt as ours. The two take turns, after a round of two questions that is not counted. With
`--crops` the model is LLaVA 1.6 on thin layers, with random weights and five crops a picture,
which is ten times the work and still little beside a model that answers. With `--gpu` it is
one of those of `benchmarks.gpu`, with random weights and photos of 640 by 480.

transformers, which mlx-vlm imports, imports torch where it is installed, and that takes longer
than all else at the start; our workers do without. `--without-torch` hides it from the script
as well, as on a machine that has only `vqa-engine[mlx]`.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.gpu_checkpoints import SHAPES
from benchmarks.gpu_table import photos
from benchmarks.image_reuse import llava_next_five
from PIL import Image

import vqa_engine_adapters.builtin

CHECKPOINT = Path(vqa_engine_adapters.builtin.__file__).parent / "checkpoint"
OFFLINE = {**os.environ, "HF_HUB_OFFLINE": "1"}
COLOURS = ("red", "green", "blue", "yellow", "white")
QUESTION = "What colour is the picture?"
HIDDEN = "import sys; sys.modules['torch'] = None"
TOKENS = 16

SCRIPT = """
import json, sys
from mlx_vlm import generate, load
from mlx_vlm.prompt_utils import apply_chat_template

folder, questions, tokens = sys.argv[1:]
model, processor = load(folder)
for line in open(questions):
    asked = json.loads(line)
    prompt = apply_chat_template(processor, model.config, asked["question"], num_images=1)
    said = generate(model, processor, prompt, image=[asked["image"]], max_tokens=int(tokens),
                    temperature=0.0, verbose=False)
    print(said.text)
"""


def plain(folder: Path, count: int, size: tuple[int, int]) -> list[Path]:
    """Pictures of one colour, of which no two are the same."""
    pictures = [folder / f"{number}.png" for number in range(count)]
    for number, picture in enumerate(pictures):
        image = Image.new("RGB", size, COLOURS[number % len(COLOURS)])
        image.putpixel((number % 64, number // 64), (9, 9, 9))
        image.save(picture)
    return pictures


def write(file: Path, pictures: Sequence[Path]) -> Path:
    """A question about each picture."""
    lines = []
    for number, picture in enumerate(pictures):
        asked = {"question_id": number, "image": str(picture), "question": QUESTION}
        lines.append(json.dumps({**asked, "answers": [COLOURS[number % len(COLOURS)]]}))
    file.write_text("\n".join(lines))
    return file


def _empty(folder: Path) -> Path:
    folder.mkdir()
    return folder


def wait(line: list[str]) -> tuple[float, float]:
    """Seconds on the clock and of the processor, the process's children included."""
    before, began = _processor(), time.perf_counter()
    done = subprocess.run(line, env=OFFLINE, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(f"{line[:3]} ended with {done.returncode}: {done.stderr[-2000:]}")
    return seconds, _processor() - before


def _processor() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--questions", type=int, default=100)
    parser.add_argument("--without-torch", action="store_true", help="hide it from the script")
    parser.add_argument("--crops", action="store_true", help="LLaVA 1.6 with five crops")
    parser.add_argument("--gpu", choices=SHAPES, help="a published shape")
    given = parser.parse_args()
    script = HIDDEN + SCRIPT if given.without_torch else SCRIPT
    ours = [sys.executable, "-m", "vqa_engine_cli"]
    best = {"mlx_vlm.generate in a loop": (1e9, 1e9), "vqa-engine": (1e9, 1e9)}
    with tempfile.TemporaryDirectory() as at:
        folder = Path(at)
        if given.gpu:
            name, (_, made) = given.gpu, SHAPES[given.gpu]
            model, pictures = made(folder / "model", large=True), photos(folder, given.questions)
        else:
            name = "llava_mlx" if given.crops else "smolvlm"
            model = llava_next_five(_empty(folder / "model")) if given.crops else CHECKPOINT
            pictures = plain(folder, given.questions, (672, 640) if given.crops else (64, 64))
        few, asked = folder / "few.jsonl", folder / "questions.jsonl"
        rounds = [write(few, pictures[:2])] + [write(asked, pictures)] * given.runs
        for number, file in enumerate(map(str, rounds)):
            run = ["run", "--adapter", f"{name}@{model}", "--questions", file, "--quiet"]
            run += ["--max-tokens", str(TOKENS), "--adapter-option", "instruction="]
            lines = {
                "mlx_vlm.generate in a loop": [
                    *(sys.executable, "-c", script),
                    *(str(model), file, str(TOKENS)),
                ],
                "vqa-engine": [*ours, *run, "--output", str(folder / f"run{number}")],
            }
            for way, line in lines.items():
                took = wait(line)
                if number:
                    print(f"round {number}, {way}: {took[0]:.2f} s", file=sys.stderr, flush=True)
                    best[way] = (min(best[way][0], took[0]), min(best[way][1], took[1]))
    print(
        f"{given.questions} questions, best of {given.runs}: seconds on the clock, of the processor"
    )
    for name, (clock, processor) in best.items():
        print(f"{name:<28}{clock:8.2f}{processor:8.2f}")
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
