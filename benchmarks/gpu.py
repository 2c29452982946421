"""Questions per second on a GPU: ours beside what people have, in one run.

    python -m benchmarks.gpu [torch] [mlx] [--cpu] [--images N] [--tokens N]

To be run from the repository's root, for it borrows checkpoints of the tests. Weights are
random, shapes the published ones. Every part has a process of its own, and every way in it
the same loaded model and the same files on disk, 640 by 480 JPEGs.

- `torch`: LLaVA 1.5 7B in bfloat16. `generate` of transformers on left-padded batches of 1, 8
  and 32 with the checkpoint's own processor, and `llava_torch` in a session, with one question
  per image and with five.
- `mlx`: LLaVA 1.6 7B and Phi-3.5-vision in 4 bits, SmolVLM 256M in float32. A loop over
  `mlx_vlm.generate`, and our session, with one question per image and with five.

The columns: questions per second, the GPU's utilisation as nvidia-smi samples it, processor
cores kept busy, peak memory above the weights, and answers whose ids are not those of one by
one. Under each table: how well our batches' memory was predicted. Under MLX's: what a pass of a
few tokens takes. Under torch's: our batches' sizes, and how far the first token's logits of a
batch are from those of one by one, beside how far apart the two likeliest tokens are. With
`--cpu` the shapes are tiny, and Phi is left out, whose tower has a fixed width: it shows within
a minute that the benchmark works, and no more.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from attrs import asdict
from benchmarks.gpu_table import Row

PARTS = {"torch": "transformers", "mlx": "mlx_vlm"}
"""What a part needs; its code is `benchmarks.gpu_PART`."""


def main() -> None:
    """Run the parts asked for, each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; all that can run if none")
    parser.add_argument("--cpu", action="store_true", help="tiny shapes, to try the benchmark")
    parser.add_argument("--images", type=int, help="256 on torch, 16 on MLX; 6 with --cpu")
    parser.add_argument("--tokens", type=int, default=8)
    parser.add_argument("--json", type=Path, help="write the rows there as well, as JSON lines")
    given = parser.parse_args()
    if len(given.parts) == 1:
        part = given.parts[0]
        images = given.images or (6 if given.cpu else {"torch": 256, "mlx": 16}[part])
        module = import_module(f"benchmarks.gpu_{part}")
        rows = module.rows(images, given.tokens, large=not given.cpu)
        if given.json:
            with given.json.open("a") as file:
                file.writelines(f"{json.dumps(_plain(part, one))}\n" for one in rows)
        return
    for part in given.parts or [name for name, library in PARTS.items() if find_spec(library)]:
        rest = [argument for argument in sys.argv[1:] if argument not in PARTS]
        subprocess.run([sys.executable, "-m", "benchmarks.gpu", part, *rest], check=True)


def _plain(part: str, one: Row) -> dict[str, Any]:
    return {"part": part, **asdict(one)}


if __name__ == "__main__":
    main()
