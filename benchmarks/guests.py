"""What it costs that another package's metric, figures and format run in processes of their own.

python -m benchmarks.guests [COUNT]
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from time import perf_counter

from tests.builders import a_distribution, questions

from vqa_engine import load_questions
from vqa_engine.adapter import Question
from vqa_engine.plugins import entry_points as plugins
from vqa_engine.questions import Source, set_here
from vqa_engine.scoring import Metric, Scoreboard, metric
from vqa_engine.scoring.making import metric_here
from vqa_engine.scoring.metric import together

MODULE = """
from tests.builders import questions
from vqa_engine.questions.given import GivenQuestions
from vqa_engine.scoring.aggregate import Points
from vqa_engine.scoring.metric import StringRule
def guest(): return StringRule(name="guest", score=lambda said, truths: float(said in truths))
def asked(source): return GivenQuestions(questions(int(source.options)))
"""
OFFERED = {
    plugins.METRICS: {"guest": "guest_module:guest"},
    plugins.AGGREGATES: {"sum": "guest_module:Points"},
    plugins.QUESTION_SETS: {"guest": "guest_module:asked"},
}


def main(count: int) -> None:
    """Print microseconds for each question."""
    asked = questions(count)
    started = perf_counter()
    apart = metric("guest")
    print(f"{'start of a process':24} {1000 * (perf_counter() - started):8.0f} ms")
    summed, here = metric("guest+sum"), metric_here("guest")
    timed("grade, here", count, lambda: graded(here, asked))
    timed("grade, apart, together", count, lambda: graded(apart, _together(apart, asked)))
    timed("grade, apart, one by one", count, lambda: graded(apart, asked))
    timed("with figures, apart", count, lambda: graded(summed, _together(summed, asked)))
    source = f"guest:{count}"
    loaded, own = load_questions(source), set_here("guest", Source(text=source, options=str(count)))
    timed("question, here", count, lambda: list(own))
    timed("question, apart", count, lambda: list(loaded))


def graded(by: Metric, asked: Iterable[Question]) -> None:
    """Score every question."""
    board = Scoreboard(by)
    for question in asked:
        board.add("yes", question)
    assert board.snapshot().overall.percent == 100


def timed(what: str, count: int, work: Callable[[], object]) -> None:
    """Print how long each question took."""
    started = perf_counter()
    work()
    print(f"{what:24} {1e6 * (perf_counter() - started) / count:8.1f} µs")


def _together(by: Metric, asked: Iterable[Question]) -> Iterable[Question]:
    return together(asked, [by], lambda question: ("yes", question))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        sys.path.insert(0, folder)
        for number, (group, offered) in enumerate(OFFERED.items()):
            modules = {"guest_module": MODULE}
            a_distribution(Path(folder), f"guest{number}", offered, modules=modules, group=group)
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 200_000)
