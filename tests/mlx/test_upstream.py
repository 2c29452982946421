"""docs/upstream.md: every fault that we work around is still there.

A test that fails here is good news: mlx-vlm or transformers is mended, and the workaround that
the entry names can go, with the entry.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from tests.environments import ROOT

ENTRIES = re.findall(
    r"^## (.*?)$.*?^```python\n(.*?)^```$",
    (ROOT / "docs" / "upstream.md").read_text(encoding="utf-8"),
    re.MULTILINE | re.DOTALL,
)


RUN = """
import json, sys, traceback
failed = {}
for title, code in json.load(open(sys.argv[1])):
    try:
        exec(compile(code, title, "exec"), {"__name__": "__main__"})
    except BaseException:
        failed[title] = traceback.format_exc()[-1500:]
json.dump(failed, open(sys.argv[2], "w"))
"""
"""Runs all of them in one process: importing mlx-vlm is most of their time."""


@pytest.fixture(scope="module")
def mended(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The entries whose reproduction fails, and why; none of them changes mlx-vlm itself."""
    folder = tmp_path_factory.mktemp("upstream")
    entries, failed = folder / "entries.json", folder / "failed.json"
    entries.write_text(json.dumps(ENTRIES), encoding="utf-8")
    subprocess.run([sys.executable, "-c", RUN, entries, failed], check=True, cwd=folder)
    found: dict[str, str] = json.loads(failed.read_text(encoding="utf-8"))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("title", [title for title, _ in ENTRIES])
def test_is_still_wrong(title: str, mended: dict[str, str]) -> None:
    assert title not in mended, f"{title} is mended:\n{mended[title]}"


def test_every_entry_has_a_reproduction() -> None:
    text = (ROOT / "docs" / "upstream.md").read_text(encoding="utf-8")
    assert len(ENTRIES) == text.count("\n## ")


def test_every_entry_names_a_file_of_ours_that_names_the_version() -> None:
    text = (ROOT / "docs" / "upstream.md").read_text(encoding="utf-8")
    named = re.findall(r"^Here: `(\S+?)`", text, re.MULTILINE)
    assert len(named) == len(ENTRIES)
    sources = [(ROOT / "adapters" / file).read_text(encoding="utf-8") for file in named]
    assert all("mlx-vlm 0.7.10" in one or "transformers 5.23.0" in one for one in sources)
