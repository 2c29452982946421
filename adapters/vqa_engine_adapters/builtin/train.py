"""Train the embedded checkpoint: `python -m vqa_engine_adapters.builtin.train`.

Draws its scenes, trains on two CPU cores, and writes the checkpoint folder with the run's log
(`training.json`) beside it. Needs the `train` extra (torch, transformers).
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from vqa_engine_adapters.builtin import CHECKPOINT

STEPS = 2600
"""Steps of the shipped checkpoint."""


def main() -> None:
    """The command: parse, train, save."""
    arguments = parse()
    # Read once, when torch loads: threads that spin at barriers make a shared machine crawl.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from vqa_engine_adapters.builtin.training.run import run

    run(arguments.output, arguments.steps, arguments.threads)


def parse() -> argparse.Namespace:
    """The command line; the defaults are those of the shipped checkpoint."""
    parser = argparse.ArgumentParser(description="Train the embedded checkpoint.")
    parser.add_argument("--output", type=Path, default=CHECKPOINT, help="checkpoint folder")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    return parser.parse_args()


if __name__ == "__main__":
    main()
