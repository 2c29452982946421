"""Places on this machine: `cuda:0`, `cpu`, `local://cuda:0,cuda:1`, `local://?count=2`, and
`local://?name=mac&base_url=http://mac:8931/v1`.

How a device reaches an adapter: a worker for `cuda:N` sees that GPU alone, by
CUDA_VISIBLE_DEVICES, so that every adapter and library uses it, whether or not it has an
option for that. Any other device (`cpu`, `mps`, `xpu:1`) is given as the adapter's option
`device`.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import evolve, field, frozen

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
    gets, `name` what they are called. Every other option is given to the adapter, so that
    two places may ask two servers. Without a device the workers spread over the NVIDIA GPUs
    that there are.
    """

    def __init__(self, address: Address) -> None:
        self._devices = [device for device in address.target.split(",") if device]
        self._count = address.count(1)
        self._name = address.options.get("name", "")
        self._options = {
            name: value for name, value in address.options.items() if name not in {"count", "name"}
        }

    def open(self) -> Sequence[LocalSite]:
        devices = self._devices or [""]
        gpus = 0 if self._devices else _gpus()
        made = []
        for device in devices:
            for number in range(1, self._count + 1):
                here = f"cuda:{(number - 1) % gpus}" if gpus else device
                made.append(LocalSite(self._called(device, number), here, self._options))
        return made

    def close(self) -> None:
        """A worker ends with its session."""

    def _called(self, device: str, number: int) -> str:
        parts = [part for part in (self._name, device) if part]
        if not parts:
            return f"worker-{number}"
        return "/".join([*parts, str(number)] if self._count > 1 else parts)


@frozen
class LocalSite:
    """One worker process at a time, on one device; an empty `device` is the adapter's choice.

    `options` are added to the adapter's own.
    """

    name: str
    device: str
    options: Mapping[str, str] = field(factory=dict)

    def session(self, terms: Terms) -> Session:
        variables = _visible(self.device)
        given = {} if variables or not self.device else {"device": self.device}
        return WorkerSession(
            _with(terms.spec, {**self.options, **given}),
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
            f"There is no place {device}: {VISIBLE} is {ours!r}, and cuda:0 is its first entry."
        )
    return {VISIBLE: seen[number]}


def _with(spec: AdapterSpec, options: Mapping[str, str]) -> AdapterSpec:
    if not options:
        return spec
    return evolve(spec, model=evolve(spec.model, options={**spec.model.options, **options}))


def _gpus() -> int:
    """How many NVIDIA GPUs a worker could see, without asking CUDA."""
    ours = os.environ.get(VISIBLE)
    if ours is not None:
        return len([one for one in ours.split(",") if one.strip()])
    return sum(1 for device in Path("/dev").glob("nvidia*") if device.name[6:].isdigit())
