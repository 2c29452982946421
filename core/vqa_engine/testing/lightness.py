"""What importing a plugin brings along, seen in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence

from attrs import frozen

LONGEST = 120
"""Seconds until an import counts as hung."""

PROGRAM = """
import importlib, json, sys
path, target, heavy = json.loads(sys.argv[1])
sys.path[:] = path
module, _, name = target.partition(":")
found = importlib.import_module(module)
for part in name.split("."):
    found = getattr(found, part)
found().memory_profile()
print()
print(json.dumps(sorted(set(heavy) & set(sys.modules))))
"""
"""Imports the module, makes the object, and asks for its estimate: all before `load`."""


@frozen
class Weight:
    """What was imported before `load`: heavy modules, or why the import failed."""

    heavy: tuple[str, ...] = ()
    failed: str = ""


def weigh(target: str, heavy: Sequence[str]) -> Weight:
    """Import `module:name` in a fresh interpreter and look at its modules."""
    given = json.dumps([sys.path, target, list(heavy)])
    try:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, given],
            capture_output=True,
            text=True,
            timeout=LONGEST,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Weight(failed=f"it did not end within {LONGEST} seconds")
    if done.returncode:
        return Weight(failed=done.stderr.strip() or f"exit code {done.returncode}")
    return Weight(heavy=tuple(json.loads(done.stdout.splitlines()[-1])))
