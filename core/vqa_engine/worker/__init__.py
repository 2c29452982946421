"""The process boundary: a model lives in a worker, and what kills the worker is one
question's event.

Nothing here imports a model library; only the child does, when its adapter loads.
"""

from vqa_engine.worker.limits import Limits, Timeouts
from vqa_engine.worker.session import Restart, WorkerSession

__all__ = ["Limits", "Restart", "Timeouts", "WorkerSession"]
