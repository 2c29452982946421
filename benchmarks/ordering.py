"""What grouping by image costs before the first question: `python -m benchmarks.ordering`.

Makes up questions of VQA v2's validation size (214,354 on 40,504 images, which do not exist:
none is opened), as the official pair and as JSONL. Prints the seconds from `by_image` to its
first question, of a new run and of one that is half done, and what the process grew by.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import psutil
from benchmarks.question_sets import QUESTIONS, make_up

from vqa_engine.questions import QuestionSet, load_questions
from vqa_engine.questions.ordering import by_image


def first(questions: QuestionSet, done: int) -> tuple[float, int]:
    """Seconds to the first question that is not settled, and bytes that the process grew by."""
    settled = bytearray(len(questions))
    settled[:done] = b"\1" * done
    process = psutil.Process()
    before, started = process.memory_info().rss, time.perf_counter()
    next(by_image(questions, lambda place: bool(settled[place])))
    return time.perf_counter() - started, process.memory_info().rss - before


def show(name: str, questions: QuestionSet) -> None:
    """Two lines, each the best of three."""
    for what, done in (("new", 0), ("half done", len(questions) // 2)):
        runs = [first(questions, done) for _ in range(3)]
        seconds, grown = min(one for one, _ in runs), max(grown for _, grown in runs)
        print(f"{name:<8}{what:<12}{seconds:>6.2f} s{grown / 2**20:>8.1f} MiB grown")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--questions", type=int, default=QUESTIONS)
    count = parser.parse_args().questions
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        make_up(folder, count)
        annotations = folder / "annotations.json"
        show("pair", load_questions(folder / "questions.json", annotations=annotations))
        show("jsonl", load_questions(folder / "set.jsonl"))


if __name__ == "__main__":
    main()
