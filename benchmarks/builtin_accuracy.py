"""How well the embedded checkpoint answers held-out questions, through real mlx-vlm.

Prints the accuracy (`vqa-v2-normalised`) overall and per kind of question, and with
`--transformers` asks the same questions through transformers too and counts the questions whose
answer differs in any token id. Each library runs in a process of its own: importing mlx-vlm
changes transformers.

    python benchmarks/builtin_accuracy.py [--questions N] [--seed S] [--transformers]
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

from PIL import Image

from vqa_engine.adapter import Question
from vqa_engine.questions.shapes import ShapesSet
from vqa_engine.scoring import metric
from vqa_engine_adapters.builtin import CHECKPOINT

QUESTIONS = 2000
HELD_OUT_SEED = 1
METRIC = "vqa-v2-normalised"
INSTRUCTION = "\nGive a very brief answer."
MAX_TOKENS = 8

Ask = Callable[[Question], tuple[str, list[int]]]
"""The text of an answer and its token ids, the end token included."""


def main() -> None:
    arguments = parse()
    shapes = ShapesSet(seed=arguments.seed, count=arguments.questions)
    if arguments.part:
        ask = {"mlx": ask_mlx, "transformers": ask_transformers}[arguments.part](arguments)
        print(json.dumps([ask(question) for question in shapes]))
        return
    answers = run_part("mlx", arguments)
    print_accuracy(shapes, [text for text, _ in answers])
    if arguments.transformers:
        print_agreement(answers, run_part("transformers", arguments), shapes)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--questions", type=int, default=QUESTIONS)
    parser.add_argument("--seed", type=int, default=HELD_OUT_SEED)
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    parser.add_argument("--transformers", action="store_true", help="compare with transformers")
    parser.add_argument("--part", choices=["mlx", "transformers"], help=argparse.SUPPRESS)
    return parser.parse_args()


def run_part(part: str, arguments: argparse.Namespace) -> list[tuple[str, list[int]]]:
    """The answers of one library, given in a fresh process."""
    command = [sys.executable, __file__, "--part", part, "--checkpoint", arguments.checkpoint]
    command += ["--questions", str(arguments.questions), "--seed", str(arguments.seed)]
    started = time.monotonic()
    ran = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    print(f"{part}: {time.monotonic() - started:.0f} s for {arguments.questions} questions")
    answers: list[tuple[str, list[int]]] = json.loads(ran.stdout.splitlines()[-1])
    return answers


def print_accuracy(shapes: ShapesSet, answers: list[str]) -> None:
    """One line over all and one for each kind, in percent."""
    grade = metric(METRIC).grade
    scores = defaultdict[str, list[float]](list)
    for question, answer in zip(shapes, answers, strict=True):
        for group in ("all", str(question.question_type)):
            scores[group].append(100 * grade(answer, question).value)
    print(f"{METRIC}, shapes seed {shapes.seed}, {len(shapes)} questions")
    for group, values in scores.items():
        print(f"  {group:9} {fmean(values):6.2f} %  ({len(values)} questions)")


def print_agreement(
    ours: list[tuple[str, list[int]]], theirs: list[tuple[str, list[int]]], shapes: ShapesSet
) -> None:
    """The count of differing answers, and the first few of them."""
    rows = zip(shapes, ours, theirs, strict=True)
    differing = [(question, one, two) for question, one, two in rows if one[1] != two[1]]
    print(f"answers with differing token ids: {len(differing)} of {len(ours)}")
    for question, one, two in differing[:5]:
        print(f"  {question.origin}: {question.text} mlx {one} transformers {two}")


def ask_mlx(arguments: argparse.Namespace) -> Ask:
    """Load the checkpoint with mlx-vlm."""
    from mlx_vlm import apply_chat_template, load, stream_generate

    model, processor = load(str(arguments.checkpoint))
    file = Path(tempfile.mkdtemp()) / "question.png"

    def ask(question: Question) -> tuple[str, list[int]]:
        picture(question).save(file)
        text = question.text + INSTRUCTION
        prompt = apply_chat_template(processor, model.config, text, num_images=1)
        settings = {"image": [str(file)], "max_tokens": MAX_TOKENS, "temperature": 0.0}
        return collect(stream_generate(model, processor, prompt, **settings))

    return ask


def collect(chunks: Iterator[Any]) -> tuple[str, list[int]]:
    """The joined text and the distinct token events of a stream."""
    text, ids = "", list[int]()
    for chunk in chunks:
        text += chunk.text
        if chunk.generation_tokens > len(ids):
            ids.append(int(chunk.token))
    return text.strip(), ids


def ask_transformers(arguments: argparse.Namespace) -> Ask:
    """Load the checkpoint with transformers, in float32."""
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor

    processor = AutoProcessor.from_pretrained(arguments.checkpoint)
    model = AutoModelForImageTextToText.from_pretrained(arguments.checkpoint, dtype=torch.float32)

    def ask(question: Question) -> tuple[str, list[int]]:
        content = [{"type": "image"}, {"type": "text", "text": question.text + INSTRUCTION}]
        prompt = processor.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True
        )
        inputs = processor(images=[picture(question)], text=prompt, return_tensors="pt")
        output = model.generate(**inputs, max_new_tokens=MAX_TOKENS, do_sample=False)
        ids = output[0, inputs["input_ids"].shape[1] :].tolist()
        return processor.tokenizer.decode(ids, skip_special_tokens=True).strip(), ids

    return ask


def picture(question: Question) -> Image.Image:
    """The question's image; the set holds PNG bytes."""
    assert isinstance(question.image, bytes)
    return Image.open(io.BytesIO(question.image))


if __name__ == "__main__":
    main()
