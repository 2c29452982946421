"""docs/upstream.md: every fault that we work around is still there.

A test that fails here is good news: mlx-vlm is mended, and the workaround that the entry names
can go, with the entry.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.environments import ROOT

ENTRIES = re.findall(
    r"^## (.*?)$.*?^```python\n(.*?)^```$",
    (ROOT / "docs" / "upstream.md").read_text(encoding="utf-8"),
    re.MULTILINE | re.DOTALL,
)


@pytest.mark.slow
@pytest.mark.parametrize(("title", "code"), ENTRIES, ids=[title for title, _ in ENTRIES])
def test_is_still_wrong(title: str, code: str, tmp_path: Path) -> None:
    script = tmp_path / "reproduction.py"
    script.write_text(code, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, f"{title} is mended:\n{done.stderr[-1500:]}"


def test_every_entry_has_a_reproduction() -> None:
    text = (ROOT / "docs" / "upstream.md").read_text(encoding="utf-8")
    assert len(ENTRIES) == text.count("\n## ")


def test_every_entry_names_a_file_of_ours_that_names_the_version() -> None:
    text = (ROOT / "docs" / "upstream.md").read_text(encoding="utf-8")
    named = re.findall(r"^Here: `(\S+?)`", text, re.MULTILINE)
    assert len(named) == len(ENTRIES)
    sources = [(ROOT / "adapters" / file).read_text(encoding="utf-8") for file in named]
    assert all("0.7.10" in source for source in sources)
