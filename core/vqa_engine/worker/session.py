"""A session over a worker process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Event

from vqa_engine.memory.policy import MemoryPolicy
from vqa_engine.plugins.spec import AdapterSpec
from vqa_engine.results import Note
from vqa_engine.session.host import Host, Limits
from vqa_engine.session.protocol import OnBegun, OnTransfer
from vqa_engine.worker.place import WorkerPlace
from vqa_engine.worker.timeouts import Timeouts


class WorkerSession(Host):
    """A session whose model lives in a process of its own.

    `log_directory` keeps what the worker prints, in `<label>.log`. `policy` is what the
    caller allows of memory. `variables` are set in the worker's environment. `on_note` hears
    what the worker logs and `on_transfer` how far the download of its checkpoint is, in the
    caller's thread. One thread at a time may use it; another may set `cancelled`, which
    raises `Cancelled` in it and ends the worker.
    """

    def __init__(  # noqa: PLR0913  settings, by keyword only
        self,
        spec: AdapterSpec,
        *,
        log_directory: Path | None = None,
        policy: MemoryPolicy | None = None,
        timeouts: Timeouts | None = None,
        limits: Limits | None = None,
        variables: Mapping[str, str] | None = None,
        cancelled: Event | None = None,
        on_begun: OnBegun = lambda _questions: None,
        on_note: Callable[[Note], None] = lambda _note: None,
        on_transfer: OnTransfer = lambda _transfer: None,
    ) -> None:
        policy, limits = policy or MemoryPolicy(), limits or Limits()
        self._worker_place = WorkerPlace(
            spec,
            log_directory,
            policy,
            timeouts or Timeouts(),
            loads=limits.loads,
            variables=variables,
            cancelled=cancelled,
            on_note=on_note,
            on_transfer=on_transfer,
        )
        super().__init__(
            spec.label, self._worker_place, limits=limits, lossy=policy.lossy, on_begun=on_begun
        )

    @property
    def pid(self) -> int | None:
        """The worker's process id, None while there is none."""
        return self._worker_place.pid
