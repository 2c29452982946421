"""LLaVA-1.5-13B's published answers, scored again: ScienceQA, POPE, MME and MMBench.

They are in LLaVA's eval.zip (haotian-liu/LLaVA, docs/Evaluation.md), unpacked as `eval`. The truths
of POPE are its three files of 2023 (AoiDragon/POPE at e3e3926, output/coco/), which the answers
are for; MME's are in `eval_tool.zip`. The older answers to ScienceQA
(`test_sqa_llava_13b_v0.json` of LLaVA, llava/eval/table/results/, and GPT-3's
`final_test_QCM-ALE_2_seed_3.json` of lupantech/ScienceQA, results/gpt3/) are scored with the truths
that LLaVA-1.5's file states.
"""

from __future__ import annotations

import json
import random
import re
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vqa_engine.adapter import Question
from vqa_engine.scoring import Scoreboard, metric

_LETTERS = "ABCDE"
_TRAIN = 12_726
"""Training questions of ScienceQA, of which its driver draws examples."""

_RESUMED = (0, 80, 110, 530, 1250, 1490, 1550, 1820, 2170)
"""Where GPT-3's run began and was resumed: tens, for it was saved after every ten answers. The
file does not say; these are the fewest beginnings that give all of its draws."""

_SUFFIX = "\nAnswer with the option's letter from the given choices directly."
_ASKED = "Answer the question using a single word or phrase."
_SAID = "llava-v1.5-13b"
SCIENCEQA = f"eval/scienceqa/answers/{_SAID}_output.jsonl"
MMBENCH = f"eval/mmbench/answers_upload/mmbench_dev_20230712/{_SAID}.xlsx"
POPE = f"eval/pope/answers/{_SAID}.jsonl"
MME = f"eval/MME/answers/{_SAID}.jsonl"
OLDER = {
    "test_sqa_llava_13b_v0.json": "LLaVA, published 90.92",
    "final_test_QCM-ALE_2_seed_3.json": "GPT-3, published 75.17, with guesses",
}


def scienceqa(file: Path) -> Iterator[str]:
    """4,241 answers: 74.39 by LLaVA's rule, and the published 71.6 of the 2,017 with a picture."""
    said = json.loads(file.read_text())
    rows = [*said["correct"], *said["incorrect"]]
    asked = {row["question_id"]: _multiple_choice(row) for row in rows}
    board, pictured, differing = _board("choice"), _board("choice"), list[tuple[str, str]]()
    for number, row in enumerate(rows):
        question = asked[row["question_id"]]
        board.add(row["pred"], question)
        if row["is_multimodal"]:
            pictured.add(row["pred"], question)
        right = metric("choice").grade(row["pred"], question).value == 1
        if right != (number < len(said["correct"])):
            differing.append((row["pred"], f"of {len(asked[row['question_id']].choices)}"))
    yield (
        f"ScienceQA LLaVA-1.5-13B: {len(rows)} answers, published 71.6 with a picture, 74.39 in "
        f"all; choice {_percent(pictured)} and {_percent(board)}; answers that differ: {differing}"
    )
    for name, published in OLDER.items():
        yield from _older(file.parents[3] / name, published, asked)


def _older(file: Path, published: str, asked: dict[str, Question]) -> Iterator[str]:
    if not file.exists():
        yield f"{file.name}: not there"
        return
    said = json.loads(file.read_text())
    board = _board("choice")
    for key, answer in said["outputs"].items():
        board.add(answer, asked[key])
    official = sum(said["results"][key] == question.right for key, question in asked.items())
    yield (
        f"ScienceQA {published}: {len(asked)} answers, its own choices "
        f"{100 * official / len(asked):.2f}; choice {_percent(board)}"
    )
    if said.get("args"):
        yield from _driver(said, asked)


def _driver(said: dict[str, Any], asked: dict[str, Question]) -> Iterator[str]:
    """ScienceQA's driver (models/run_gpt3.py) again: its rule, and the draws of its seed.

    Where `The answer is X.` is not there exactly once, it draws a choice. A resumed run seeds
    its generator again, and draws the examples of its prompt again before the first choice.
    """
    seed, same, drawn, read, generator = said["args"]["seed"], 0, Counter[str](), 0, None
    for place, (key, answer) in enumerate(said["outputs"].items()):
        if place in _RESUMED:
            generator = random.Random(seed)
            generator.sample(range(_TRAIN), said["args"]["shot_number"])
        question, found = asked[key], re.findall("The answer is ([A-Z]).", answer)
        if len(found) == 1 and found[0] in _LETTERS[: len(question.choices)]:
            read += _LETTERS.index(found[0]) == question.right
            continue
        assert generator is not None
        choice = generator.choice(range(len(question.choices)))
        same += choice == said["results"][key]
        ours = metric("choice").grade(answer, question).status
        drawn[f"{ours}, draw {'right' if choice == question.right else 'wrong'}"] += 1
    yield (
        f"  the driver's rule reads {read} right and draws {sum(drawn.values())}, {same} of them "
        f"as stored with seed {seed}, resumed at {_RESUMED[1:]}; by ours: {dict(drawn)}"
    )


def _multiple_choice(row: dict[str, Any]) -> Question:
    text = row["question"].removesuffix(_SUFFIX)
    for count in range(len(_LETTERS), 1, -1):
        options = "".join(rf"\n{letter}\. (.*)" for letter in _LETTERS[:count])
        if found := re.search(options + r"\Z", text, re.DOTALL):
            break
    assert found, text
    return Question(
        question_id=row["question_id"],
        image=b"",
        text="",
        choices=found.groups(),
        right=_LETTERS.index(row["ground_truth"]),
    )


def pope(file: Path) -> Iterator[str]:
    """8,910 answers: F1 87.1, 86.2 and 84.5 in the paper's table."""
    kinds = {
        row["question_id"]: row["category"] for row in _lines(file.parents[1], "llava_*.jsonl")
    }
    answers = list(_lines(file.parent, file.name))
    found = []
    for kind in ("random", "popular", "adversarial"):
        board = _board("yes-no-pope")
        rows = [row for row in answers if kinds[row["question_id"]] == kind]
        truths = list(_lines(file.parents[3], f"coco_pope_{kind}.json"))
        for row, truth in zip(rows, truths, strict=True):
            assert row["prompt"].startswith(truth["text"])
            board.add(row["text"], _yes_no(truth["question_id"], truth["label"]))
        found.append(f"{board.snapshot().figures['F1'].value:.2f}")
    yield (
        f"POPE LLaVA-1.5-13B: {len(answers)} answers, published F1 87.1, 86.2, 84.5; "
        f"yes-no-pope {', '.join(found)}"
    )


def mme(file: Path) -> Iterator[str]:
    """2,374 answers: 1531.3 perception and 295.4 cognition."""
    truths = {
        (subtask, image, text.replace("Please answer yes or no.", "").strip()): truth
        for subtask, image, text, truth, _ in lavin(file.parents[3] / "eval_tool.zip")
    }
    board, rows = _board("mme"), list(_lines(file.parent, file.name))
    for number, row in enumerate(rows):
        subtask, image = Path(row["question_id"]).parts[0], Path(row["question_id"]).stem
        text = row["prompt"].removesuffix(_ASKED).strip()
        truth = truths[subtask, image, text]
        board.add(
            row["text"],
            _yes_no(number, truth, group=f"{subtask}/{image}", labels={"subtask": subtask}),
        )
    figures = board.snapshot().figures
    ours = ", ".join(f"{figures[part].value:.2f}" for part in ("perception", "cognition"))
    yield f"MME LLaVA-1.5-13B: {len(rows)} answers, published 1531.3, 295.4; mme {ours}"


def lavin(file: Path) -> Iterator[tuple[str, str, str, str, str]]:
    """LaVIN's rows in MME's tool: subtask, image, text, truth and what it said."""
    with zipfile.ZipFile(file) as archive:
        for name in archive.namelist():
            if "/LaVIN/" in name and name.endswith(".txt"):
                for line in archive.read(name).decode().splitlines():
                    image, text, truth, said = line.split("\t")
                    yield Path(name).stem, Path(image).stem, text, truth, said


def mmbench(file: Path) -> Iterator[str]:
    """4,377 answers to rotations of 1,176 questions: 67.7."""
    import openpyxl

    board = _board("circular")
    header, *rows = openpyxl.load_workbook(file, read_only=True).active.iter_rows(values_only=True)
    for values in rows:
        row = dict(zip(header, values, strict=True))
        question = Question(
            question_id=row["index"],
            image=b"",
            text="",
            choices=[str(row[letter]) for letter in "ABCD" if row[letter] is not None],
            right=_LETTERS.index(row["answer"]),
            group=row["index"] % 1_000_000,
            labels={"rotation": str(row["index"] // 1_000_000)},
        )
        board.add(row["prediction"], question)
    value = board.snapshot().figures["circular"].value
    yield f"MMBench LLaVA-1.5-13B: {len(rows)} answers, published 67.7; circular {value:.2f}"


def _board(name: str) -> Scoreboard:
    return Scoreboard(metric(name))


def _percent(board: Scoreboard) -> str:
    return f"{board.snapshot().overall.percent:.2f}"


def _yes_no(number: int, truth: str, **facts: Any) -> Question:
    return Question(question_id=number, image=b"", text="", answers=truth, **facts)


def _lines(folder: Path, pattern: str) -> Iterator[dict[str, Any]]:
    (file,) = folder.glob(pattern)
    with file.open() as lines:
        yield from map(json.loads, lines)
