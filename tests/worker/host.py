"""A host to be killed: `python -m tests.worker.host ADAPTER`; run by `test_host_death`.

It loads, prints its worker's pid, asks one `bad` question, and waits for its end.
"""

from __future__ import annotations

import sys
import time

from tests.asking import reply_to
from tests.worker import PLAN, ask
from vqa_engine.plugins.spec import AdapterSpec
from vqa_engine.worker import WorkerSession


def main() -> None:
    """Load, tell, ask, wait."""
    spec = AdapterSpec(name="x", target=f"tests.worker.adapters:{sys.argv[1]}")
    session = WorkerSession(spec)
    session.load()
    sys.stdout.write(f"{session.pid}\n")
    sys.stdout.flush()
    if sys.argv[2:] == ["leave"]:
        return
    reply_to(session, ask("bad"), PLAN)
    time.sleep(3600)


if __name__ == "__main__":
    main()
