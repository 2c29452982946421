"""A run under random SIGKILLs: `python -m benchmarks.survival [--kills 100] [--questions 300]`.

Kills the worker or the host at random while a run goes on, continues it each time, and
compares the rows with an undisturbed run's. Prints the table of issue 3.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from tests.survival import Account, recorded, torment


def main() -> None:
    """Run twice, once in peace, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--questions", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        calm, wild = Path(folder) / "calm", Path(folder) / "wild"
        peace = torment(calm, count=given.questions, kills=0, seed=given.seed)
        war = torment(wild, count=given.questions, kills=given.kills, seed=given.seed)
        show(peace, war, given.questions, calm, wild)


def show(peace: Account, war: Account, count: int, calm: Path, wild: Path) -> None:
    """The table: kills, rows lost, doubled and changed, and the time a kill costs."""
    before, after = recorded(calm), recorded(wild)
    ids = [key for key, _ in after]
    print(f"kills               {war.kills} ({war.workers} of workers, {war.hosts} of hosts)")
    print(f"hosts started       {war.starts}")
    print(f"questions           {count}")
    print(f"lost                {count - len(set(ids))}")
    print(f"doubled             {len(ids) - len(set(ids))}")
    print(f"changed answers     {sum(a != b for a, b in zip(before, after, strict=False))}")
    print(f"undisturbed         {peace.seconds:.1f} s")
    print(f"with the kills      {war.seconds:.1f} s")
    print(f"time lost per kill  {(war.seconds - peace.seconds) / max(1, war.kills):.2f} s")


if __name__ == "__main__":
    main()
