"""The process boundary: a model lives in a worker, and what kills the worker is one
question's event.

Nothing here imports a model library; only the child does, when its adapter loads.
"""

from vqa_engine.session.host import Limits
from vqa_engine.worker.session import WorkerSession
from vqa_engine.worker.timeouts import Timeouts

__all__ = ["Limits", "Timeouts", "WorkerSession"]
