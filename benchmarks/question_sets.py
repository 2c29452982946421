"""What a question set of VQA v2's validation size costs: seconds, and growth of memory.

Makes up 214,354 questions on 40,504 images with ten ground truths each (as many as
val2014), as the official pair and as JSONL, and loads each in a process of its own:

    python benchmarks/question_sets.py [--questions N]
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import psutil

from vqa_engine.questions import load_questions
from vqa_engine.scoring import score_results

T = TypeVar("T")

QUESTIONS, IMAGES = 214_354, 40_504
WORDS = [f"word{number}" for number in range(20_000)]
MIB = 1 << 20
METRICS = ("vqa-v2-official", "vqa-v2-normalised")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--questions", type=int, default=QUESTIONS)
    parser.add_argument("--part", choices=["files", "pair", "jsonl"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part == "files":
        make_up(arguments.folder, arguments.questions)
    elif arguments.part:
        measure(arguments.part, arguments.folder)
    else:
        run_parts(arguments.questions)


def run_parts(questions: int) -> None:
    """Each part in a process of its own, for a child inherits the peak of its parent."""
    with tempfile.TemporaryDirectory() as folder:
        for part in ("files", "pair", "jsonl"):
            fixed = [sys.executable, __file__, "--questions", str(questions)]
            subprocess.run([*fixed, "--part", part, "--folder", folder], check=True)


def make_up(folder: Path, count: int) -> None:
    """Write questions.json, annotations.json, set.jsonl and results.json."""
    rng = random.Random(0)
    rows = [row(rng, number) for number in range(count)]
    asked = [{key: one[key] for key in ("image_id", "question", "question_id")} for one in rows]
    known = [{key: one[key] for key in one if key != "question"} for one in rows]
    said = [{"question_id": one["question_id"], "answer": rng.choice(WORDS)} for one in rows]
    for name, content in (
        ("questions", {"data_subtype": "val2014", "questions": asked}),
        ("annotations", {"data_subtype": "val2014", "annotations": known}),
        ("results", said),
    ):
        (folder / f"{name}.json").write_text(json.dumps(content))
    with (folder / "set.jsonl").open("w") as file:
        for one in rows:
            file.write(json.dumps(one | {"image": f"{one['image_id']}.jpg"}) + "\n")


def row(rng: random.Random, number: int) -> dict[str, object]:
    """A question and its annotation; every third has unanimous ground truths."""
    pool = [rng.choice(WORDS) for _ in range(1 if number % 3 == 0 else 4)]
    answers = [
        {"answer": rng.choice(pool), "answer_confidence": "yes", "answer_id": place}
        for place in range(1, 11)
    ]
    return {
        "question_id": number * 10,
        "image_id": number % IMAGES,
        "question": "What is " + " ".join(rng.choices(WORDS, k=4)) + "?",
        "question_type": f"what {number % 65}",
        "answer_type": ("yes/no", "number", "other")[number % 3],
        "multiple_choice_answer": pool[0],
        "answers": answers,
    }


def measure(kind: str, folder: Path) -> None:
    pair = kind == "pair"
    source = folder / ("questions.json" if pair else "set.jsonl")
    annotations = folder / "annotations.json" if pair else None
    process = psutil.Process()
    before = process.memory_info().rss
    questions, seconds = timed(lambda: load_questions(source, annotations=annotations))
    held = (process.memory_info().rss - before) / MIB
    print(f"{kind}: {len(questions):,} questions")
    print(f"  load {seconds:.2f} s, memory after it +{held:.0f} MiB, at its peak {peak():.0f} MiB")
    count, seconds = timed(lambda: sum(1 for _ in questions))
    after = (process.memory_info().rss - before) / MIB
    print(
        f"  iterate {seconds:.2f} s ({seconds / count * 1e6:.1f} µs a question), +{after:.0f} MiB"
    )
    _, seconds = timed(questions.digest)
    print(f"  digest {seconds:.2f} s")
    for name in METRICS:
        score = partial(score_results, questions, folder / "results.json", [name])
        print(f"  score a result file, {name}: {timed(score)[1]:.2f} s")


def timed(call: Callable[[], T]) -> tuple[T, float]:
    start = time.perf_counter()
    result = call()
    return result, time.perf_counter() - start


def peak() -> float:
    """The process's highest resident set so far, MiB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MIB


if __name__ == "__main__":
    main()
