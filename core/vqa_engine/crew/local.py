"""Places on this machine: `cuda:0`, `cpu`, `local://cuda:0,cuda:1`, `local://?count=2`.

How a device reaches an adapter: a worker for `cuda:N` sees that GPU alone, by
CUDA_VISIBLE_DEVICES, so that every adapter and library uses it, whether or not it has an
option for that. Any other device (`cpu`, `mps`, `xpu:1`) is given as the adapter's option
`device`.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Sequence
from pathlib import Path

from attrs import evolve, frozen

from vqa_engine.crew.place import Address, Presence, Terms
from vqa_engine.errors import ConfigurationError
from vqa_engine.plugins.spec import AdapterSpec
from vqa_engine.session.protocol import Session
from vqa_engine.worker.session import WorkerSession

VISIBLE = "CUDA_VISIBLE_DEVICES"
"""CUDA's own variable (CUDA C++ Programming Guide, "CUDA Environment Variables"); ROCm's
torch obeys it too."""

_CUDA = re.compile(r"cuda:(\d+)")


class LocalPlaces:
    """Worker processes of this machine, see `vqa_engine.crew.place.Places`.

    The target is a list of devices, separated by commas. `count` is how many workers each
    gets. Without a device the workers spread over the NVIDIA GPUs that there are.
    """

    def __init__(self, address: Address) -> None:
        unknown = sorted(address.options.keys() - {"count"})
        if unknown:
            raise ConfigurationError(
                f"--place {address} has the unknown option {unknown[0]!r}; `count` is the only one."
            )
        self._devices = [device for device in address.target.split(",") if device]
        self._count = address.count(1)

    def open(self) -> Sequence[LocalSite]:
        if not self._devices:
            gpus = _gpus()
            return [
                LocalSite(f"worker-{number + 1}", f"cuda:{number % gpus}" if gpus else "")
                for number in range(self._count)
            ]
        if self._count == 1:
            return [LocalSite(device, device) for device in self._devices]
        numbers = range(1, self._count + 1)
        return [LocalSite(f"{one}/{number}", one) for one in self._devices for number in numbers]

    def close(self) -> None:
        """A worker ends with its session."""


@frozen
class LocalSite:
    """One worker process at a time, on one device; an empty `device` is the adapter's choice."""

    name: str
    device: str

    def session(self, terms: Terms) -> Session:
        variables = _visible(self.device)
        return WorkerSession(
            terms.spec if variables else _on(self.device, terms.spec),
            log_directory=terms.logs and terms.logs / re.sub(r"\W", "_", self.name),
            policy=terms.policy,
            timeouts=terms.timeouts,
            variables=variables,
            cancelled=terms.cancelled,
            on_note=terms.on_note,
        )

    def presence(self) -> Presence:
        device = {"device": self.device} if self.device else {}
        return Presence(name=self.name, facts={"host": socket.gethostname(), **device})


def _visible(device: str) -> dict[str, str]:
    """What hides all other GPUs from a worker; `cuda:1` is the second that we see ourselves."""
    match = _CUDA.fullmatch(device)
    if match is None:
        return {}
    number, ours = int(match[1]), os.environ.get(VISIBLE)
    seen = [one.strip() for one in ours.split(",") if one.strip()] if ours is not None else None
    if seen is None:
        return {VISIBLE: str(number)}
    if number >= len(seen):
        raise ConfigurationError(
            f"There is no place {device}: {VISIBLE} names {len(seen)} GPUs ({ours})."
        )
    return {VISIBLE: seen[number]}


def _on(device: str, spec: AdapterSpec) -> AdapterSpec:
    if not device:
        return spec
    options = {**spec.model.options, "device": device}
    return evolve(spec, model=evolve(spec.model, options=options))


def _gpus() -> int:
    """How many NVIDIA GPUs a worker could see, without asking CUDA."""
    ours = os.environ.get(VISIBLE)
    if ours is not None:
        return len([one for one in ours.split(",") if one.strip()])
    return sum(1 for device in Path("/dev").glob("nvidia*") if device.name[6:].isdigit())
