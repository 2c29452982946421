"""Answer files of MMMU and BLINK scored again, and the clustered standard error."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.scorers.oracles import Oracles

from vqa_engine.adapter import Question
from vqa_engine.scoring import Scoreboard, metric
from vqa_engine.scoring.letters import read_choice


def mmmu_files(oracles: Oracles) -> Iterator[str]:
    """The shipped MMMU answers: our expectation, and the official parser over many seeds."""
    official = oracles.script("mmmu", "mmmu/utils/eval_utils.py")
    for model in ("llava1.5_13b", "qwen_vl"):
        rows = [
            row
            for path in oracles.paths("mmmu", f"mmmu/example_outputs/{model}")
            if path.endswith("output.json")
            for row in json.loads(oracles.text("mmmu", path) or "[]")
            if isinstance(row, dict)
        ]
        if not rows:
            continue
        board = Scoreboard(metric("mmmu-official"))
        for row in rows:
            board.add(row["response"], mmmu_question(row))
        table = board.snapshot()
        runs = [official_mmmu(official, rows, seed) for seed in range(20)]
        yield (
            f"MMMU {model}: {len(rows)} answers, mmmu-official {table.overall.percent:.2f} "
            f"({table.credited} credited 1/k), official over 20 seeds {min(runs):.2f} to "
            f"{max(runs):.2f}, mean {sum(runs) / len(runs):.2f}"
        )


def mmmu_question(row: dict[str, Any]) -> Question:
    answer = row["answer"]
    if row["question_type"] != "multiple-choice":
        answers = tuple(answer) if isinstance(answer, list) else (str(answer),)
        return Question(question_id=row["id"], image=b"", text="", answers=answers)
    choices = tuple(row["index2ans"].values())
    right = row["all_choices"].index(answer)
    return Question(question_id=row["id"], image=b"", text="", choices=choices, right=right)


def official_mmmu(official: Any, rows: Sequence[dict[str, Any]], seed: int) -> float:
    official.random = random.Random(seed)
    right = 0
    for row in rows:
        if row["question_type"] == "multiple-choice":
            said = official.parse_multi_choice_response(
                row["response"], row["all_choices"], row["index2ans"]
            )
            right += official.eval_multi_choice(row["answer"], said)
        else:
            right += official.eval_open(
                row["answer"], official.parse_open_response(row["response"])
            )
    return 100 * right / len(rows)


def blink_files(oracles: Oracles) -> Iterator[str]:
    """The shipped answers of GPT-4 Turbo to BLINK, macro mean over the tasks.

    The published figure is of predictions equal to the truth; `choice` also reads the two
    that say `(C) Point C`.
    """
    boards = [Scoreboard(metric(f"{name}+macro:task")) for name in ("exact-raw", "choice")]
    for path in oracles.paths("blink", "eval/saved_outputs/GPT4Turbo"):
        if not path.endswith(".json"):
            continue
        for row in json.loads(oracles.text("blink", path) or "{}").get("val", []):
            question = Question(
                question_id=row["idx"],
                image=b"",
                text="",
                choices=("first", "second", "third", "fourth", "fifth", "sixth"),
                right="ABCDEF".index(row["answer"].strip("()")),
                answers=(row["answer"],),
                labels={"task": Path(path).stem},
            )
            for board in boards:
                board.add(row["prediction"], question)
    for table in (board.snapshot() for board in boards):
        if table.overall.count:
            macro = table.figures["mean over task"].value
            yield (
                f"BLINK GPT-4 Turbo: {table.overall.count} answers, published macro 54.61; "
                f"{table.metric} {macro:.2f}, micro {table.overall.percent:.2f}"
            )


def letters_of_reasoning(oracles: Oracles) -> Iterator[str]:
    """The letter rule on BLINK's long answers, beside the letter that GPT extracted."""
    found: Counter[str] = Counter()
    choices = ("zzq1", "zzq2", "zzq3", "zzq4")  # the shipped files do not have them
    paths = oracles.paths("blink", "eval/saved_outputs/GPT4Turbo")
    for path in (one for one in paths if one.endswith(".json")):
        for row in json.loads(oracles.text("blink", path) or "{}").get("val", []):
            read = read_choice(row["full_prediction"], choices)
            same = read.letter == row["prediction"][:3].strip("()")
            found[read.status if read.status != "parsed" or same else "parsed, not as GPT"] += 1
    if found:
        yield f"BLINK GPT-4 Turbo, long answers: {dict(found)}"


def standard_errors(oracles: Oracles) -> Iterator[str]:
    """The clustered standard error against lmms-eval's, whose small-sample factor differs."""
    theirs = oracles.module("lmms_eval.api.metrics").clustered_stderr
    drawn, worst = random.Random(0), 0.0
    for _ in range(200):
        clusters = [drawn.randrange(300) for _ in range(1500)]
        level = {cluster: drawn.random() for cluster in clusters}
        scores = [float(drawn.random() < level[cluster]) for cluster in clusters]
        board = Scoreboard(metric("exact"))
        for number, (cluster, score) in enumerate(zip(clusters, scores, strict=True)):
            board.add(str(int(score)), Question(question_id=number, image=b"", text="",
                                                answers=("1",), image_id=cluster))  # fmt: skip
        ours = board.snapshot().overall
        factor = ours.clusters / (ours.clusters - 1)
        worst = max(
            worst, abs(ours.standard_error / 100 / factor**0.5 / theirs(scores, clusters) - 1)
        )
    yield f"clustered standard error: 200 sets of 1,500, lmms-eval's within {100 * worst:.3f} %"


FILES = (
    mmmu_files,
    blink_files,
    letters_of_reasoning,
    standard_errors,
)
"""What is printed below the table."""
