"""How large a report is, how long it takes to make, and how quick its page is in Chromium.

    python benchmarks/report.py --rows 200000 --models 2

The rows are random, and so compress worse than those of a real run. The page is measured if
playwright and a Chromium of the system are there.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
from pathlib import Path
from time import perf_counter

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.reporting.browser import chromium
from tests.reporting.builders import METRICS, a_run, many

from vqa_engine import reporting

VIEWS = {
    "wrong": "show=wrong",
    "failed": "show=failed",
    "disagree": "show=differ",
    "first right, second wrong": "right=0&wrong=1",
    "text": "q=kettle",
    "rare text": "q=kettle%201999",
    "slow": "slow=0.3",
    "slowest first": "sort=slow",
}


def main() -> None:
    """Make a run, report it, and print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--models", type=int, default=2)
    asked = parser.parse_args()
    labels = [f"model-{number}" for number in range(asked.models)]
    with tempfile.TemporaryDirectory() as folder:
        run = a_run(Path(folder) / "run", many(asked.rows, labels), labels=labels)
        print(f"{asked.rows:,} rows × {asked.models} models")
        page = Path(folder) / "report.html"
        began = perf_counter()
        with reporting.opened([run]) as runs:
            reporting.write(runs, page, metrics=METRICS)
        print(f"made in          {perf_counter() - began:8.1f} s")
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(f"peak memory      {peak / 1e6:8.0f} MB (making the run included)")
        print(f"file             {page.stat().st_size / 1e6:8.2f} MB")
        measure(page)


def measure(page: Path) -> None:
    """Open the page, and time what its script does."""
    with chromium() as browser:
        if isinstance(browser, str):
            print(f"page not measured: {browser}")
            return
        tab = browser.new_page()
        began = perf_counter()
        tab.goto(page.as_uri())
        tab.wait_for_selector("html[data-ready]", timeout=60_000)
        ready = int(tab.evaluate("Number(document.documentElement.dataset.ready)"))
        print(f"ready            {ready:8d} ms ({perf_counter() - began:.1f} s from the outside)")
        heap = tab.evaluate("performance.memory.usedJSHeapSize") / 1e6
        print(f"heap             {heap:8.0f} MB")
        for name, view in VIEWS.items():
            began = perf_counter()
            tab.evaluate("view => { location.hash = view }", view)
            tab.wait_for_function(
                "view => document.documentElement.dataset.view === view", arg=view
            )
            whole = 1000 * (perf_counter() - began)
            spent = float(tab.evaluate("Number(document.documentElement.dataset.filtered)"))
            count = tab.inner_text("#found")
            print(f"{name:26} {spent:7.1f} ms, drawn {whole:7.1f} ms after the click: {count}")


if __name__ == "__main__":
    main()
