"""Train the embedded checkpoint: `python -m tools.train_builtin`.

Draws its scenes, trains on two CPU cores, and writes the checkpoint folder and the run's log.
Run it from the root of the repository; it needs torch and transformers.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from vqa_engine_adapters.builtin import CHECKPOINT

LOG = Path(__file__).with_name("training.json")
"""The shipped checkpoint's log."""

STEPS = 2600
"""Steps of the shipped checkpoint."""


def main() -> None:
    """The command: parse, train, save."""
    arguments = parse()
    # Read once, when torch loads: threads that spin at barriers make a shared machine crawl.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from tools.train_builtin.run import run

    run(arguments.output, arguments.log, arguments.steps, arguments.threads)


def parse() -> argparse.Namespace:
    """The command line; the defaults are those of the shipped checkpoint."""
    parser = argparse.ArgumentParser(description="Train the embedded checkpoint.")
    parser.add_argument("--output", type=Path, default=CHECKPOINT, help="checkpoint folder")
    parser.add_argument("--log", type=Path, default=LOG, help="the run's log")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    return parser.parse_args()


if __name__ == "__main__":
    main()
