"""The process boundary: a model lives in a worker, and what kills the worker is one
question's event.

Nothing here imports a model library; only the child does, when its adapter loads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vqa_engine.session.host import Limits
    from vqa_engine.worker.session import WorkerSession
    from vqa_engine.worker.timeouts import Timeouts

__all__ = ["Limits", "Timeouts", "WorkerSession"]


def __getattr__(name: str) -> Any:
    """Import the host's side when it is first used (PEP 562): the child has no use for it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from vqa_engine.session.host import Limits
    from vqa_engine.worker.session import WorkerSession
    from vqa_engine.worker.timeouts import Timeouts

    return {"Limits": Limits, "Timeouts": Timeouts, "WorkerSession": WorkerSession}[name]
