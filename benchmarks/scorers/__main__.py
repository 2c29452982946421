"""Compare every scorer with independent implementations, and re-score shipped answer files.

    python -m benchmarks.scorers [--pairs 20000] [--oracles DIR] [--source URL]
    python -m benchmarks.scorers --answers DIR

Prints a table: metric or aggregate, oracle, pairs compared, how many differ, and for each
intended difference the reason with the first pairs that show it. Ends with an error if a pair
differs that was not meant to, or if one that ships was compared with nothing. What is in
`--oracles` already is not downloaded: packages unpacked in `packages/`, repositories in
`repositories/NAME.git`. `--source` is where repositories are cloned from, with `{owner}` and
`{name}`. Needs numpy and pandas, which the oracles import. With `--answers` only the answer
files in that folder are scored (`benchmarks.scorers.shipped` says which).
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

from benchmarks.scorers.aggregates import Figures, aggregates
from benchmarks.scorers.cases import Case, Outcome, by_metric, cases
from benchmarks.scorers.files import FILES
from benchmarks.scorers.oracles import Oracles
from benchmarks.scorers.shipped import published

from vqa_engine.plugins.entry_points import AGGREGATES, METRICS, names

GITHUB = "https://github.com/{owner}/{name}"


def main() -> None:
    """Run all cases and print the tables."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--pairs", type=int, default=20_000)
    arguments.add_argument("--oracles", type=Path, default=Path(tempfile.gettempdir()) / "oracles")
    arguments.add_argument("--source", default=GITHUB)
    arguments.add_argument("--answers", type=Path)
    given = arguments.parse_args()
    if given.answers is not None:
        print(*published(given.answers), sep="\n")
        return
    oracles = Oracles(given.oracles, given.source)
    compared, unmeant = set(), 0
    for case in cases(oracles):
        compared.add(case.scorer)
        unmeant += report(case, compare(case, given.pairs))
    for figures in aggregates(oracles):
        compared.add(figures.aggregate)
        unmeant += report_figures(figures)
    left = [one for group in (METRICS, AGGREGATES) for one in names(group) if one not in compared]
    print(f"compared with nothing: {', '.join(left) or 'none'}\n")
    for lines in FILES:
        for line in lines(oracles):
            print(line)
    if unmeant or left:
        sys.exit(f"{unmeant} pairs differ that should not")


def report(case: Case, outcome: Outcome) -> int:
    """Print one row; how many pairs differ that were not meant to."""
    different = len(outcome.different)
    print(f"{case.scorer:28} {case.oracle:44} {outcome.compared:6} {different:6}  {case.intended}")
    for said, truth, ours, theirs in outcome.different[:2]:
        print(f"    {said!r} / {truth!r}: ours {ours:.3f}, theirs {theirs:.3f}")
    return 0 if case.intended else different


def report_figures(figures: Figures) -> int:
    """Print one row of an aggregate; how many of its figures differ."""
    different = [pair for pair in figures.pairs if abs(pair[0] - pair[1]) > 1e-9]
    shown = ", ".join(f"{ours:.4f}" for ours, _ in figures.pairs[:4])
    print(
        f"{figures.aggregate:28} {figures.oracle:44} {figures.rows:6} {len(different):6}  {shown}"
    )
    return len(different)


def compare(case: Case, count: int) -> Outcome:
    """Score random pairs both ways; the same seed for every case."""
    drawn, outcome = random.Random(0), Outcome(count)
    ours = case.ours or by_metric(case.scorer)
    for _ in range(count):
        said, question = case.pairs(drawn)
        mine, theirs = ours(said, question), float(case.theirs(said, question))
        if abs(mine - theirs) > 1e-9:
            truth = question.answers or (question.choices, question.right)
            outcome.different.append((said, truth, mine, theirs))
    return outcome


if __name__ == "__main__":
    main()
