"""One run from nothing to a checkpoint and its log."""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import Any

import attrs
import torch
from tokenizers import Tokenizer
from transformers import Idefics3ForConditionalGeneration

from tools.train_builtin.layout import (
    Architecture,
    build_model,
    write_checkpoint,
)
from tools.train_builtin.loop import Progress, Recipe, train
from tools.train_builtin.vocabulary import build_tokenizer


@attrs.define
class Run:
    """One training run: what it trains, where to, and its reports so far."""

    output: Path
    log_file: Path
    architecture: Architecture
    recipe: Recipe
    tokenizer: Tokenizer
    model: Idefics3ForConditionalGeneration
    history: list[Progress] = attrs.field(factory=list)

    def report(self, progress: Progress) -> None:
        """Print the progress and save checkpoint and log, so that a broken run leaves both."""
        self.history.append(progress)
        kinds = " ".join(f"{kind} {share:.3f}" for kind, share in progress.accuracy.items())
        print(
            f"step {progress.step} {progress.seconds:.0f} s loss {progress.loss:.4f} {kinds}",
            flush=True,
        )
        write_checkpoint(self.output, self.architecture, self.tokenizer, self.model.state_dict())
        self.log_file.write_text(json.dumps(self.log(), indent=1) + "\n")

    def log(self) -> dict[str, Any]:
        """What the log holds; seconds are wall time, the last report's is the run's."""
        return {
            "seconds": self.history[-1].seconds,
            "steps": self.history[-1].step,
            "parameters": sum(weights.numel() for weights in self.model.parameters()),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "python": platform.python_version(),
            "recipe": attrs.asdict(self.recipe),
            "architecture": attrs.asdict(self.architecture),
            "history": [attrs.asdict(progress) for progress in self.history],
        }


def run(output: Path, log: Path, steps: int, threads: int) -> None:
    """Train from the beginning and leave the checkpoint at `output` and the log at `log`."""
    torch.set_num_threads(threads)
    recipe = Recipe(steps=steps)
    torch.manual_seed(recipe.torch_seed)
    architecture, tokenizer = Architecture(), build_tokenizer()
    model = build_model(architecture, tokenizer)
    started = Run(output, log, architecture, recipe, tokenizer, model)
    train(model, tokenizer, recipe, architecture.image_tokens, started.report)
