"""Compare every scorer with independent implementations, and re-score shipped answer files.

    python -m benchmarks.scorers [--pairs 20000] [--folder DIR] [--source URL]
    python -m benchmarks.scorers --answers DIR

Prints a table: scorer, oracle, pairs compared, how many differ, and for each intended
difference the reason with the first pairs that show it. Ends with an error if a pair
differs that was not meant to. `--source` is where repositories are cloned from, with
`{owner}` and `{name}`. Needs numpy and pandas, which the oracles import. With `--answers` only
the answer files in that folder are scored (`benchmarks.scorers.shipped` says which).
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

from benchmarks.scorers.cases import Case, Outcome, by_metric, cases
from benchmarks.scorers.files import FILES
from benchmarks.scorers.oracles import Oracles
from benchmarks.scorers.shipped import published

GITHUB = "https://github.com/{owner}/{name}"


def main() -> None:
    """Run all cases and print the tables."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--pairs", type=int, default=20_000)
    arguments.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "oracles")
    arguments.add_argument("--source", default=GITHUB)
    arguments.add_argument("--answers", type=Path)
    given = arguments.parse_args()
    if given.answers is not None:
        print(*published(given.answers), sep="\n")
        return
    oracles = Oracles(given.folder, given.source)
    unmeant = sum(report(case, given.pairs) for case in cases(oracles))
    print()
    for lines in FILES:
        for line in lines(oracles):
            print(line)
    if unmeant:
        sys.exit(f"{unmeant} pairs differ that should not")


def report(case: Case, count: int) -> int:
    """Print one row; how many pairs differ that were not meant to."""
    outcome = compare(case, count)
    different = len(outcome.different)
    print(f"{case.scorer:28} {case.oracle:44} {outcome.compared:6} {different:6}  {case.intended}")
    for said, truth, ours, theirs in outcome.different[:2]:
        print(f"    {said!r} / {truth!r}: ours {ours:.3f}, theirs {theirs:.3f}")
    return 0 if case.intended else different


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
