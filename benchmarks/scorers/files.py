"""Shipped answer files scored again, and figures over groups against official aggregates."""

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


def hallusion_groups(oracles: Oracles) -> Iterator[str]:
    """Random correctness on HallusionBench's real structure: official aggregates and ours."""
    utils = oracles.script("hallusion", "utils.py")
    data = json.loads(oracles.text("hallusion", "HallusionBench.json") or "[]")
    if utils is None or not data:
        return
    drawn, board = random.Random(0), Scoreboard(metric("hallusion"))
    for number, row in enumerate(data):
        row["correct"] = drawn.random() < 0.8
        row["model"] = str(int(row["correct"]))
        row["same"] = "1"
        labels = {name: str(row[name]) for name in ("category", "subcategory", "set_id",
                                                   "figure_id", "question_id")}  # fmt: skip
        truth = ("no", "yes")[int(row["gt_answer"])]
        said = truth if row["correct"] else {"yes": "no", "no": "yes"}[truth]
        board.add(said, Question(question_id=number, image=b"", text="", answers=(truth,),
                                 labels=labels))  # fmt: skip
    figure = utils.get_eval_fig(data)
    pair = utils.get_eval_pair_all(data, "model")
    ours = board.snapshot().figures
    yield (
        f"HallusionBench groups: {len(data)} rows, official fAcc "
        f"{100 * figure['correct'] / figure['total']:.4f} of {figure['total']}, qAcc "
        f"{100 * pair['correct'] / pair['total']:.4f} of {pair['total']}; ours "
        f"{ours['fAcc'].value:.4f} and {ours['qAcc'].value:.4f}"
    )


class _Rows(list[dict[str, Any]]):
    """Rows as the part of a data frame that MMBench's evaluator looks at."""

    @property
    def iloc(self) -> _Rows:
        return self


def circular_groups(oracles: Oracles) -> Iterator[str]:
    """Letters for rotated questions: right throughout by lmms-eval's MMBench and by ours."""
    evaluator = oracles.module("lmms_eval.tasks.mmbench.mmbench_evals").MMBench_Evaluator()
    evaluator.build_choices = lambda row: dict(row["choices"])
    drawn, board, hits = random.Random(0), Scoreboard(metric("circular")), 0
    groups = 1000
    for group in range(groups):
        choices = tuple("wxyz"[: drawn.randint(2, 4)])
        letters = "ABCD"[: len(choices)]
        rows = _Rows()
        for rotation in range(len(choices)):
            right = drawn.randrange(len(choices))
            said = letters[right] if drawn.random() < 0.8 else drawn.choice(letters)
            named = zip(letters, choices, strict=True)
            rows.append({"index": rotation, "prediction": said, "choices": tuple(named)})
            board.add(said, Question(
                question_id=f"{group}@{rotation}", image=b"", text="", choices=choices, group=group,
                right=right, labels={"rotation": str(rotation)}))  # fmt: skip
            rows[-1]["answer"] = letters[right]
        truths = {row["index"]: row["answer"] for row in rows}
        hits += evaluator.eval_sub_data(rows, truths, static_only=True)
    ours = board.snapshot().figures["circular"].value
    theirs = 100 * hits / groups
    yield f"MMBench rotations: {groups} groups, lmms-eval {theirs:.4f}; ours {ours:.4f}"


def mme_groups(oracles: Oracles) -> Iterator[str]:
    """Random answers to MME's 1,187 images: points by lmms-eval and ours."""
    utils = oracles.module("lmms_eval.tasks.mme.utils")
    drawn, board, rows = random.Random(0), Scoreboard(metric("mme")), []
    subtasks = [one for part in utils.eval_type_dict.values() for one in part]
    for number in range(1187):
        subtask = drawn.choice(subtasks)
        for truth in ("yes", "no"):
            right = drawn.random() < 0.8
            said = truth if right else "maybe"
            rows.append({"question_id": number, "category": subtask, "score": float(right)})
            board.add(said, Question(question_id=len(rows), image=b"", text="", answers=(truth,),
                                     image_id=number, labels={"subtask": subtask}))  # fmt: skip
    theirs = [
        utils.mme_aggregate_results([one for one in rows if one["category"] in part])
        for part in utils.eval_type_dict.values()
    ]
    ours = board.snapshot().figures
    yield (
        f"MME groups: {len(rows)} rows, lmms-eval {theirs[0]:.4f} and {theirs[1]:.4f}; ours "
        f"{ours['perception'].value:.4f} and {ours['cognition'].value:.4f}"
    )


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
    hallusion_groups,
    mme_groups,
    circular_groups,
    standard_errors,
)
"""What is printed below the table."""
