"""Answer files that benchmarks ship with a published score, scored again from a folder.

The folder has, as they lie in the repositories: `eval_tool.zip`
(BradyFU/Awesome-Multimodal-Large-Language-Models, branch Evaluation, tools/) with LaVIN's
answers to MME, `llava_next_yi_34b_MMStar.xlsx` (MMStar-Benchmark/MMStar, eval/submits/), and those
that `benchmarks.scorers.llava` names. MMMU's and BLINK's are scored with the repositories they
are in (`benchmarks.scorers.files`). No answers to HallusionBench with a published score by rules
are known to us: the sample of 254 in its repository has none, and GPT-4 judged the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks.scorers import llava

from vqa_engine.adapter import Question
from vqa_engine.scoring import Scoreboard, metric

_MME = "eval_tool.zip"
_MMSTAR = "llava_next_yi_34b_MMStar.xlsx"
_LETTERS = "ABCD"


def published(folder: Path) -> Iterator[str]:
    """One line for each file that is there: ours beside the published figure."""
    scorers = {
        _MME: mme,
        _MMSTAR: mmstar,
        llava.SCIENCEQA: llava.scienceqa,
        llava.POPE: llava.pope,
        llava.MME: llava.mme,
        llava.MMBENCH: llava.mmbench,
    }
    for name, scored in scorers.items():
        yield from scored(folder / name) if (folder / name).exists() else (f"{name}: not there",)


def mme(file: Path) -> Iterator[str]:
    """LaVIN's 2,374 answers: 963.61 perception and 249.64 cognition by the official tool."""
    board, count = Scoreboard(metric("mme")), 0
    for subtask, image, text, truth, said in llava.lavin(file):
        question = Question(
            question_id=count,
            image=b"",
            text=text,
            answers=truth,
            group=f"{subtask}/{image}",
            labels={"subtask": subtask},
        )
        board.add(said, question)
        count += 1
    figures = board.snapshot().figures
    ours = ", ".join(f"{figures[part].value:.2f}" for part in ("perception", "cognition"))
    yield f"MME LaVIN: {count} answers, published 963.61, 249.64; mme {ours}"


def mmstar(file: Path) -> Iterator[str]:
    """LLaVA-NeXT-34B's 1,500 answers: 52.07 by the official rule, over all questions."""
    import openpyxl

    board, strict, differing = Scoreboard(metric("choice")), 0, list[str]()
    header, *rows = openpyxl.load_workbook(file, read_only=True).active.iter_rows(values_only=True)
    for number, values in enumerate(rows):
        row = dict(zip(header, values, strict=True))
        truth, said = str(row["answer"]).strip(), str(row["prediction"])
        question = Question(
            question_id=number,
            image=b"",
            text="",
            choices=("zzq1", "zzq2", "zzq3", "zzq4"),  # they are inside the question's text
            right=_LETTERS.index(truth),
        )
        board.add(said, question)
        begins = said.strip().lower().removeprefix("(").startswith(truth.lower())
        strict += begins
        if begins != (metric("choice").grade(said, question).value == 1):
            differing.append(said)
    percent = board.snapshot().overall.percent
    yield (
        f"MMStar LLaVA-NeXT-34B: {len(rows)} answers, published 52.07; choice {percent:.2f}, "
        f"first letter {100 * strict / len(rows):.2f}; answers that differ: {differing[:5]}"
    )
